#!/usr/bin/env python3
"""Times generation by tunesmith and by transformers (+ PEFT) on the same model files and prompts, in turns.

    scripts/generation-peers [--arch smollm2-135m] [--dtype bfloat16] [--adapter] [--prompt 512] [--new 128] [--batch 1] ...

Prompts are random tokens, decoding is greedy. Every run is a process that continues the same prompts, one batch of them
after another; the first warms up and does not count. The programs take turns within each round, because machines drift; compare
the ratios.
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys

from peer_cases import KEEPS_FREED_MEMORY
from peer_train import ARCHITECTURES
from peers import ROOT

# Tokens of prompts that tunesmith reads in one pass, so that the prompts of a batch all begin at once.
READ_AT_ONCE = 2048


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", choices=ARCHITECTURES, default="smollm2-135m")
    parser.add_argument("--storage", choices=["float32", "bfloat16"], default="bfloat16", help="dtype of the file")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="dtype of the computation")
    parser.add_argument("--adapter", action="store_true", help="with LoRA of rank 16 on every linear layer")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--new", type=int, default=128, help="tokens to write")
    parser.add_argument("--prompts", type=int, default=3, help="batches of prompts in a run; the first does not count")
    parser.add_argument("--batch", type=int, default=1, help="prompts of a batch, which are continued at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/peers", help="folder for models and runs")
    arguments = parser.parse_args()
    if arguments.prompts < 2 or arguments.new < 2:
        parser.error("--prompts and --new must be at least 2")
    if arguments.batch > 1 and arguments.batch * arguments.prompt > READ_AT_ONCE:
        parser.error(f"tunesmith reads at most {READ_AT_ONCE} tokens of several prompts at once")
    if not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    return arguments


def prepare(arguments):
    """The model, its adapter and the prompts, made once and kept."""
    model = arguments.work / f"{arguments.arch}-{arguments.storage}"
    adapter = arguments.work / f"{arguments.arch}-adapter"
    if not (model / "config.json").is_file():
        script = [sys.executable, ROOT / "scripts/peer_train.py", "create", "--arch", arguments.arch]
        subprocess.run([*script, "--storage", arguments.storage, "--output", model], check=True)
    if not (model / "tokenizer.json").is_file() or not adapter.is_dir():
        script = [sys.executable, ROOT / "scripts/peer_generate.py", "prepare"]
        subprocess.run([*script, "--model", model, "--adapter", adapter], check=True)
    size = json.loads((model / "config.json").read_text())["vocab_size"]
    generator = random.Random(arguments.prompt)
    prompts = arguments.work / f"prompts-{arguments.arch}-{arguments.prompt}-{arguments.batch}.jsonl"
    with open(prompts, "w") as file:
        for _ in range(arguments.prompts * arguments.batch):
            words = (f"t{generator.randrange(size)}" for _ in range(arguments.prompt))
            print(json.dumps({"prompt": " ".join(words)}), file=file)
    return model, adapter if arguments.adapter else None, prompts


def tunesmith_command(arguments, model, adapter, prompts):
    command = [arguments.tunesmith, "generate", "--model", model, "--prompts", prompts, "--dtype", arguments.dtype,
               "--max-new-tokens", arguments.new, "--threads", arguments.threads, "--batch-size", arguments.batch, "--json"]
    return command + (["--adapter", adapter] if adapter else [])


def peer_command(arguments, model, adapter, prompts):
    command = [sys.executable, ROOT / "scripts/peer_generate.py", "run", "--model", model, "--prompts", prompts,
               "--dtype", arguments.dtype, "--max-new-tokens", arguments.new, "--threads", arguments.threads,
               "--batch-size", arguments.batch]
    return command + (["--adapter", adapter] if adapter else [])


class Contender:
    """One program under one setting, with what its runs have shown so far."""

    def __init__(self, name, command, environment):
        self.name, self.command, self.environment = name, command, environment
        self.prompt_rates, self.decode_rates, self.peaks, self.token_ids = [], [], [], None

    def run(self, arguments, *files):
        command = [str(part) for part in self.command(arguments, *files)]
        log = arguments.work / "generation.log"
        with open(log, "w") as errors:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, env=os.environ | self.environment
            )
            printed = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed with {process.returncode}:\n{log.read_text()[-2000:]}")
        rows = [json.loads(line) for line in printed.splitlines()]
        rows = rows[0]["rows"] if "rows" in rows[0] else rows
        for start in range(arguments.batch, len(rows), arguments.batch):
            batch = rows[start : start + arguments.batch]
            first = max(row["seconds_to_first_token"] for row in batch)
            self.prompt_rates.append(sum(row["prompt_tokens"] for row in batch) / first)
            written = sum(row["completion_tokens"] - 1 for row in batch)
            self.decode_rates.append(written / (max(row["seconds"] for row in batch) - first))
        self.peaks.append(usage.ru_maxrss / 1024)
        self.token_ids = [row["token_ids"] for row in rows]


def agreeing(ours, theirs):
    """How many tokens come before the first difference, over all prompts, and how many there are."""
    before = 0
    for a, b in zip(ours, theirs):
        before += next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), len(a))
    return before, sum(map(len, ours))


def print_table(arguments, contenders):
    adapter = "LoRA r=16 on every linear layer" if arguments.adapter else "no adapter"
    print(f"\n{arguments.arch}, {adapter}, {arguments.dtype} (file {arguments.storage}), {arguments.prompt} tokens read, "
          f"{arguments.new} written, {arguments.batch} at once, {arguments.threads} threads, {arguments.rounds} rounds in turns")
    print(f"{'':34}{'read/s':>9}{'x':>6}{'written/s':>11}{'min-max':>15}{'x':>6}{'peak MiB':>10}{'same tokens':>14}")
    ours = contenders[0]
    for one in contenders:
        read, written = statistics.median(one.prompt_rates), statistics.median(one.decode_rates)
        spread = f"{min(one.decode_rates):.1f}-{max(one.decode_rates):.1f}"
        same = "{} of {}".format(*agreeing(ours.token_ids, one.token_ids))
        print(f"{one.name:34}{read:9.0f}{statistics.median(ours.prompt_rates) / read:6.2f}{written:11.1f}{spread:>15}"
              f"{statistics.median(ours.decode_rates) / written:6.2f}{max(one.peaks):10.0f}{same:>14}")


def main():
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    files = prepare(arguments)
    contenders = [
        Contender("tunesmith", tunesmith_command, {}),
        Contender("transformers + PEFT", peer_command, {}),
        Contender("transformers + PEFT, keeps memory", peer_command, KEEPS_FREED_MEMORY),
    ]
    for round_number in range(arguments.rounds):
        for contender in contenders:
            contender.run(arguments, *files)
            print(f"round {round_number + 1}: {contender.name}", file=sys.stderr)
    print_table(arguments, contenders)
    # In bfloat16 the likeliest tokens of random weights are often tied; in f32 both must have written the same.
    same, all_tokens = agreeing(contenders[0].token_ids, contenders[1].token_ids)
    if arguments.dtype == "float32" and same < 0.9 * all_tokens:
        sys.exit(f"only {same} of {all_tokens} tokens agree: the programs did not do the same work")


if __name__ == "__main__":
    main()
