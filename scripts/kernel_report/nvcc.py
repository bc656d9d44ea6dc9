"""Compiling a kernel file for one architecture, and what ptxas says of it."""

import dataclasses
import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# A source of this ending is compiled for Hopper alone.
HOPPER = "_sm90a"
# ptxas speaks of each kernel in this order.
KERNEL = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<spill_stores>\d+) bytes spill stores, (?P<spill_loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.DOTALL,
)
ENTRY = re.compile(r"\.entry (\w+)\(")
THREADS = re.compile(r"\.maxntid (\d+)")
# Registers of each thread that a warpgroup gives back or claims.
REGISTERS = re.compile(r"setmaxnreg\.(dec|inc)\.sync\.aligned\.u32 (\d+)")
WARPGROUP = 128
# What ptxas says where it makes asynchronous products of a warpgroup wait for each other, as information and not as a warning.
SERIALIZED = re.compile(r"warning|Potential Performance Loss", re.IGNORECASE)
# What `shared_memory` in cuda/common/device.cuh writes into the PTX.
SHARED = re.compile(r"// shared memory: (\d+) bytes")


@dataclasses.dataclass
class Kernel:
    """One kernel for one architecture."""

    name: str
    architecture: str
    registers: int
    spill_stores: int
    spill_loads: int
    stack: int
    threads: int
    shared_bytes: int
    # Registers that the block's threads have together after they are given back and claimed, or 0.
    claimed: int = 0

    @property
    def spills(self):
        return self.spill_stores + self.spill_loads


class CompileError(Exception):
    """What the compiler printed."""


def find():
    """`$NVCC`, or the compiler that scripts/setup-cuda installs."""
    if os.environ.get("NVCC"):
        return pathlib.Path(os.environ["NVCC"])
    setup = subprocess.run([ROOT / "scripts/setup-cuda"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(setup.stdout.strip())


def architectures(source):
    """For what a source is compiled."""
    return ["sm_90a"] if source.stem.endswith(HOPPER) else ["sm_80", "sm_90a"]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise CompileError(done.stdout)
    return done.stdout


def compile_kernels(nvcc, source, architecture, cubin):
    """Compiles `source` to `cubin`; its kernels, and the compiler's warnings."""
    ptx = cubin.with_suffix(".ptx")
    virtual = architecture.replace("sm_", "compute_")
    said = run([nvcc, "-std=c++20", "-O3", "-ptx", f"-arch={virtual}", "-I", ROOT / "cuda", source, "-o", ptx])
    assembler = nvcc.with_name("ptxas")
    assembled = run([assembler, "-O3", f"-arch={architecture}", "-v", "-warn-spills", ptx, "-o", cubin])
    described = describe(ptx.read_text())
    kernels = [kernel(match, architecture, described) for match in KERNEL.finditer(assembled)]
    return kernels, [line for line in (said + assembled).splitlines() if SERIALIZED.search(line)]


def kernel(match, architecture, described):
    counts = {key: int(value) for key, value in match.groupdict().items() if key != "name"}
    threads, shared_bytes, claimed = described[match["name"]]
    return Kernel(match["name"], architecture, threads=threads, shared_bytes=shared_bytes, claimed=claimed, **counts)


def claimed(ptx, threads):
    """Registers of a block of which one warpgroup gives some back and the others claim them; 0 where none does."""
    counts = {way: int(count) for way, count in REGISTERS.findall(ptx)}
    return WARPGROUP * counts["dec"] + (threads - WARPGROUP) * counts["inc"] if counts else 0


def describe(ptx):
    """Threads and dynamic shared memory of a block, and the registers that it claims, by kernel."""
    starts = [*ENTRY.finditer(ptx)]
    ends = [start.start() for start in starts[1:]] + [len(ptx)]
    described = {}
    for start, end in zip(starts, ends):
        text = ptx[start.start() : end]
        threads = THREADS.search(text)
        threads = int(threads[1]) if threads else 0
        described[start[1]] = (threads, max(map(int, SHARED.findall(text)), default=0), claimed(text, threads))
    return described
