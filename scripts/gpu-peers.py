#!/usr/bin/env python3
"""Times torch, PEFT, bitsandbytes and liger-kernel on a GPU, on the shapes that `cargo bench` times tunesmith's kernels on.

All run in one process and take turns on every case. What is not installed is left out, with a line that says so. Results are
lines of JSON as the benchmarks write them, so that scripts/gpu-results can put both into one table.
"""

import argparse
import json
import sys

import reference_shapes
import gpu_peers
from gpu_peers import timing


def available(peers):
    """The peers that can run; says why others cannot."""
    for peer in peers:
        reason = peer.missing()
        if reason:
            print(f"{peer.PROGRAM} is left out: {reason}", file=sys.stderr)
        else:
            yield peer


def all_runs(peers, case, device):
    for peer in peers:
        for name, make in peer.runs(case, device):
            yield peer.PROGRAM, name, make


def result(device, case, program, run):
    machine_share = reference_shapes.H100.floor_us(case) / run.microseconds if "H100" in device else None
    rate, unit = (case.flops, "FLOP/s") if case.flops else (case.bytes, "B/s")
    return {
        "program": program,
        "device": device,
        "family": case.family,
        "case": f"{case.name}, {run.name}",
        "microseconds": run.microseconds,
        "rate": rate / (1e-6 * run.microseconds),
        "unit": unit,
        "share_of_roofline": machine_share,
    }


def measure(peers, cases, rounds, output):
    import torch

    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU; --dry-run runs the same code once on the CPU, with small shapes in TUNESMITH_BENCH_SHAPES")
    device = torch.cuda.get_device_name()
    for case in cases:
        runs = list(all_runs(peers, case, "cuda"))
        # Whole models are one after another in the GPU's memory, and do not take turns.
        for group in [[run] for run in runs] if case.family == "step" else [runs]:
            torch.cuda.reset_peak_memory_stats()
            measure_together(device, case, group, rounds, output)
            if case.family == "step":
                peak = torch.cuda.max_memory_allocated() / 2**30
                print(f"{group[0][0]}, {group[0][1]}: {case.key}, {peak:.2f} GiB at its peak", file=sys.stderr)
            torch.cuda.empty_cache()


def measure_together(device, case, runs, rounds, output):
    """Times runs that take turns."""
    prepared = []
    for program, name, make in runs:
        try:
            run = timing.Run(name, make, case)
            run.warm_up()
            prepared.append((program, run))
        except Exception as error:  # A backend that does not take the case, or no memory: others go on.
            print(f"{program}, {name}: {case.key} cannot run: {str(error).splitlines()[0]}", file=sys.stderr)
    timing.interleave([run for _, run in prepared], rounds)
    for program, run in prepared:
        print(json.dumps(result(device, case, program, run)), file=output, flush=True)


def dry_run(peers, cases):
    """Runs every case once on the CPU: nothing is timed."""
    for case in cases:
        for program, name, make in all_runs(peers, case, "cpu"):
            make()()
            print(f"{program}, {name}: {case.key}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--list", action="store_true", help="print the cases and what would run them; nothing is imported")
    arguments.add_argument("--dry-run", action="store_true", help="run everything once on the CPU")
    arguments.add_argument("--rounds", type=int, default=20, help="turns of each run (default %(default)s)")
    arguments.add_argument("--output", type=argparse.FileType("w"), default=sys.stdout, help="where the results go")
    arguments.add_argument("families", nargs="*", help="such as lora; all by default")
    arguments = arguments.parse_args()
    cases = [case for case in reference_shapes.cases() if not arguments.families or case.family in arguments.families]
    if arguments.list:
        for case in cases:
            for program, name, _ in all_runs(gpu_peers.PEERS, case, "cuda"):
                print(f"{case.key}: {program}, {name}")
        return
    peers = list(available(gpu_peers.PEERS))
    dry_run(peers, cases) if arguments.dry_run else measure(peers, cases, arguments.rounds, arguments.output)


if __name__ == "__main__":
    main()
