#!/usr/bin/env python3
"""Times tunesmith and transformers + PEFT on the same model files and rows, in turns, and prints a table.

    scripts/peers --table [--only qlora] [--rounds 2] [--output benches/results/2026-11-23-cpu-peers.md]
    scripts/peers [--arch smollm2-135m] [--method lora] [--dtype float32] [--batch 4] [--seq 256] ...

`--table` runs every case of peer_cases.py (`--list` shows them), the second form the one that it describes. Every run is a
process of its own, watched from outside: a step ends when its line appears in `metrics.jsonl`; memory is the kernel's
high-water mark of the process, and the most that it held without pages of files. The programs take turns within each
round, every other round in reverse, because machines drift; compare the ratios.
"""

import argparse
import os
import pathlib
import statistics
import sys

from peer_cases import METHODS, STARTS_AT_RANDOM, Case, peer_modes, table
from peer_runs import Contender, PeerProgram, Tunesmith, prepare
from peer_train import ARCHITECTURES

ROOT = pathlib.Path(__file__).resolve().parent.parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--table", action="store_true", help="run all cases")
    parser.add_argument("--only", default="", help="of the table's cases, those whose name contains this")
    parser.add_argument("--list", action="store_true", help="print the names of the table's cases")
    parser.add_argument("--arch", choices=ARCHITECTURES, default="smollm2-135m")
    parser.add_argument("--method", choices=METHODS, default="lora")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="dtype of the computation")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--unsupervised", type=float, default=0.0, help="part of each row without labels")
    parser.add_argument("--r", type=int, default=16, help="rank of LoRA, on every linear layer")
    parser.add_argument("--steps", type=int, default=4, help="steps of a run")
    parser.add_argument("--warmup", type=int, default=1, help="first steps of a run that do not count")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    parser.add_argument("--before", type=pathlib.Path, help="an older binary to compare with instead of PEFT")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/peers", help="folder for models and runs")
    parser.add_argument("--output", type=pathlib.Path, help="write the table here as well, after each case")
    arguments = parser.parse_args()
    if not 0 < arguments.warmup < arguments.steps:
        parser.error("--warmup must lie between 0 and --steps")
    if not 0 <= arguments.unsupervised < 1:
        parser.error("--unsupervised must be at least 0 and below 1")
    if not arguments.list and not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    return arguments


def contenders_of(case, arguments):
    ours = Contender(Tunesmith("tunesmith", arguments.tunesmith))
    if arguments.before:
        return [ours, Contender(Tunesmith("before", arguments.before))]
    return [ours] + [Contender(PeerProgram(mode)) for mode in peer_modes(case)]


def compare(case, arguments):
    """Runs all programs of a case in turns; the first of those returned is tunesmith."""
    model, data = prepare(case, arguments)
    contenders = contenders_of(case, arguments)
    for round_number in range(arguments.rounds):
        for contender in contenders if round_number % 2 == 0 else reversed(contenders):
            contender.run(case, arguments, model, data)
            print(f"{case.name}, round {round_number + 1}: {contender.line(case)}", file=sys.stderr)
    if case.method not in STARTS_AT_RANDOM:
        check_first_losses(case, contenders)
    return contenders


def check_first_losses(case, contenders):
    """Before the first update these adapters change nothing, so all must have computed the same loss."""
    losses = [contender.first_loss for contender in contenders]
    tolerance = 1e-3 if case.dtype == "float32" else 2e-2
    if not max(losses) - min(losses) <= tolerance * max(losses):
        sys.exit(f"{case.name}: the first losses differ ({losses}): the programs did not do the same work")


COLUMNS = (
    "case", "program", "step s", "min-max", "tokens/s", "time x", "peak MiB", "anonymous MiB", "memory x", "first step s"
)


def rows_of(case, contenders):
    """A line of the table for each program. `memory x` is of what is held without pages of files."""
    ours = contenders[0]
    for one in contenders:
        yield (
            case.name if one is ours else "", one.name, f"{one.step:.3f}", f"{min(one.steps):.2f}-{max(one.steps):.2f}",
            f"{case.tokens / one.step:.0f}", f"{one.step / ours.step:.2f}", f"{max(one.peaks):.0f}",
            f"{max(one.anonymous):.0f}", f"{max(one.anonymous) / max(ours.anonymous):.2f}",
            f"{statistics.median(one.firsts):.2f}",
        )


def markdown(rows):
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main():
    arguments = parse_arguments()
    cases = [case for case in table() if arguments.only in case.name]
    if arguments.list:
        print("\n".join(case.name for case in cases))
        return
    if not arguments.table:
        cases = [Case(arguments.arch, arguments.method, arguments.dtype, arguments.batch, arguments.seq,
                      arguments.unsupervised)]
    arguments.work.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in cases:
        rows += rows_of(case, compare(case, arguments))
        if arguments.output:
            arguments.output.write_text(f"`scripts/peers {' '.join(sys.argv[1:])}`\n\n{markdown(rows)}")
    print(markdown(rows), end="")


if __name__ == "__main__":
    main()
