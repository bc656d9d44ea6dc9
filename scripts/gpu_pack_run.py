#!/usr/bin/env python3
"""Runs what scripts/gpu-pack put beside it: the kernels' tests, then the benchmarks, then those of other programs that are
installed here. Logs and results go to `results`, and packed to `results.tar.gz` beside it. Fails if a test fails.
"""

import argparse
import ctypes
import os
import pathlib
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


class Runner:
    """Runs programs into logs until the time is over."""

    def __init__(self, results, minutes):
        self.results = results
        self.end = time.monotonic() + 60 * minutes if minutes is not None else None
        self.failed = []

    def left(self):
        """Seconds until the end, if there is one."""
        return None if self.end is None else self.end - time.monotonic()

    def run(self, name, command, done="passed", needed=True, **environment):
        """Runs a command and says how it went; it counts as failed if it is needed."""
        start, left = time.monotonic(), self.left()
        if left is not None and left <= 0:
            outcome = "NOT RUN"
        else:
            with (self.results / f"{name}.log").open("w") as output:
                started = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment})
                try:
                    outcome = "FAILED" if started.wait(left) else done
                except subprocess.TimeoutExpired:
                    started.kill()
                    started.wait()
                    outcome = "STOPPED"
        print(f"{outcome}  {name}  {time.monotonic() - start:.0f} s", flush=True)
        if needed and outcome != done:
            self.failed.append(name)


def gpu():
    """What the driver calls its first GPU; exits with a reason if there is none."""
    tried = "; `run --device emulated` runs the tests on a machine without a GPU"
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        sys.exit(f"no GPU: libcuda.so.1 was not found, which comes with the NVIDIA driver{tried}")
    status, count, name, version = cuda.cuInit(0), ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    if status or cuda.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        sys.exit(f"no GPU: the driver is there and finds none (cuInit returned {status}){tried}")
    cuda.cuDeviceGetName(name, len(name), 0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return f"{name.value.decode()}, driver for CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def programs(folder, chosen):
    """The programs in a folder whose names contain a word that was chosen."""
    found = [path for path in sorted((HERE / folder).glob("*")) if os.access(path, os.X_OK) and path.is_file()]
    return [path for path in found if not chosen or any(word in path.name for word in chosen)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--device", default="cuda", help="cuda, cuda:N, or emulated to try the folder out (default %(default)s)")
    arguments.add_argument("--results", type=pathlib.Path, default=HERE / "results")
    arguments.add_argument("--list", action="store_true", help="print the names of what would run")
    arguments.add_argument("--tests-only", action="store_true", help="run no benchmark")
    arguments.add_argument("--benches-only", action="store_true", help="run no test")
    arguments.add_argument("--seconds", type=float, default=1, help="for each case of a benchmark (default %(default)s)")
    arguments.add_argument("--minutes", type=float, help="stop what runs after so long, start nothing more, and write the results")
    arguments.add_argument("--python", default=sys.executable, help="the Python that has torch and others (default: this one)")
    arguments.add_argument("names", nargs="*", help="words that a program's name contains, `peers` for other programs; all by default")
    arguments = arguments.parse_args()
    tests = [] if arguments.benches_only else programs("tests", arguments.names)
    # Shapes of large models would take the emulator days.
    times_nothing = arguments.tests_only or arguments.device == "emulated" and "TUNESMITH_BENCH_SHAPES" not in os.environ
    benches = [] if times_nothing else programs("benches", arguments.names)
    peers = not times_nothing and (not arguments.names or "peers" in arguments.names)
    if arguments.list:
        print("\n".join([*(f"test-{path.name}" for path in tests), *(f"bench-{path.name}" for path in benches), *["peers"] * peers]))
        return
    if not tests and not benches and not peers:
        sys.exit(f"nothing here has a name with {' or '.join(arguments.names)}; `run --list` prints all")
    if arguments.device.startswith("cuda"):
        print(gpu(), flush=True)

    results = arguments.results
    results.mkdir(parents=True, exist_ok=True)
    runner = Runner(results, arguments.minutes)
    environment = {"TUNESMITH_TEST_DEVICE": arguments.device, "TUNESMITH_TEST_DATA": str(HERE / "tests/data")}
    for program in tests:
        runner.run(f"test-{program.name}", [program], **environment)
    times, others = results / "tunesmith.jsonl", results / "peers.jsonl"
    for earlier in (times, others):
        earlier.unlink(missing_ok=True)
    device = "cuda:0" if arguments.device == "cuda" else arguments.device
    environment = {"TUNESMITH_BENCH_DEVICE": device, "TUNESMITH_BENCH_RESULTS": str(times)}
    measured = [f"--warm-up-time={0.3 * arguments.seconds}", f"--measurement-time={arguments.seconds}", "--sample-size=20", "--nresamples=1000"]
    for program in benches:
        runner.run(f"bench-{program.name}", [program, "--bench", "--noplot", *measured], done="timed", **environment)
    if peers:
        command = [arguments.python, HERE / "scripts/gpu-peers.py", "--output", others]
        runner.run("peers", command, done="timed", needed=False)
    files = [path for path in (times, others) if path.exists()]
    if files:
        table = subprocess.run([sys.executable, HERE / "scripts/gpu-results", *files], check=True, stdout=subprocess.PIPE, text=True)
        (results / "results.md").write_text(table.stdout)
    packed = shutil.make_archive(str(results), "gztar", results.parent, results.name)
    if runner.failed:
        sys.exit(f"failed: {', '.join(runner.failed)}; see {results} or {packed}")


if __name__ == "__main__":
    main()
