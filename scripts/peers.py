#!/usr/bin/env python3
"""Times tunesmith and transformers + PEFT on the same model files and rows, in turns, and prints a table.

    scripts/peers [--arch smollm2-135m] [--batch 4] [--seq 256] [--rounds 3] ...

Every run is a process of its own, watched from outside: a step ends when its line appears in `metrics.jsonl`, memory is
the kernel's high-water mark of the process. The programs take turns within each round, because machines drift; compare
the ratios. Two peers are run: as installed, and with an allocator setting that keeps freed memory, which makes PyTorch on
a CPU faster at the price of memory.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

from peer_train import ARCHITECTURES

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEEPS_FREED_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "68719476736", "MALLOC_ARENA_MAX": "1"}
POLL_SECONDS = 0.004


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", choices=ARCHITECTURES, default="smollm2-135m")
    parser.add_argument("--storage", choices=["float32", "bfloat16"], default="bfloat16", help="dtype of the file")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="dtype of the computation")
    parser.add_argument("--method", choices=["lora", "full"], default="lora")
    parser.add_argument("--r", type=int, default=16)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2, help="first steps of a run that do not count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/peers", help="folder for models and runs")
    arguments = parser.parse_args()
    if not 0 < arguments.warmup < arguments.steps:
        parser.error("--warmup must lie between 0 and --steps")
    if not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    return arguments


def prepare(arguments):
    """The model folder and the rows, made once and kept."""
    model = arguments.work / f"{arguments.arch}-{arguments.storage}"
    if not (model / "config.json").is_file():
        subprocess.run(
            [sys.executable, ROOT / "scripts/peer_train.py", "create", "--arch", arguments.arch,
             "--storage", arguments.storage, "--output", model],
            check=True,
        )
    config = json.loads((model / "config.json").read_text())
    generator = random.Random(arguments.seq)
    data = arguments.work / f"rows-{arguments.arch}-{arguments.seq}.jsonl"
    with open(data, "w") as file:
        for _ in range(arguments.batch * arguments.steps):
            tokens = [generator.randrange(config["vocab_size"]) for _ in range(arguments.seq)]
            print(json.dumps({"input_ids": tokens, "labels": tokens}), file=file)
    return model, data


def tunesmith_command(arguments, model, data, output):
    config = {
        "model": {"path": str(model), "dtype": arguments.dtype},
        "adapter": {"method": arguments.method},
        "data": {"train": str(data), "max_length": arguments.seq, "shuffle": False},
        "training": {
            "output_dir": str(output), "max_steps": arguments.steps, "per_device_train_batch_size": arguments.batch,
            "learning_rate": 2e-4, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "device": "cpu",
            "threads": arguments.threads, "gradient_checkpointing": arguments.gradient_checkpointing, "resume": "never",
        },
    }
    if arguments.method == "lora":
        config["adapter"] |= {"r": arguments.r, "lora_alpha": 2 * arguments.r, "target_modules": "all-linear"}
    path = output.with_suffix(".toml")
    # JSON's spelling of strings, numbers and booleans is TOML's too.
    path.write_text("".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
        for name, table in config.items()
    ))
    return [arguments.tunesmith, "train", path]


def peer_command(arguments, model, data, output):
    command = [
        sys.executable, ROOT / "scripts/peer_train.py", "train", "--model", model, "--data", data, "--output", output,
        "--method", arguments.method, "--r", arguments.r, "--dtype", arguments.dtype, "--batch", arguments.batch,
        "--steps", arguments.steps, "--threads", arguments.threads,
    ]
    return command + ["--gradient-checkpointing"] * arguments.gradient_checkpointing


def watch(command, output, environment):
    """Runs one process; returns when each step ended after its start, its losses, and its peak memory in MiB."""
    shutil.rmtree(output, ignore_errors=True)
    metrics, log = output / "metrics.jsonl", output.with_suffix(".log")
    ends = []
    with open(log, "w") as sink:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=sink, stderr=sink, env=os.environ | environment
        )
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seen = metrics.read_text().count("\n") if metrics.is_file() else 0
            ends += [time.monotonic() - start] * (seen - len(ends))
            if pid:
                break
            time.sleep(POLL_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} failed with {process.returncode}; see {log}:\n{log.read_text()[-2000:]}")
    losses = [row["loss"] for row in map(json.loads, metrics.read_text().splitlines()) if "loss" in row]
    return ends, losses, usage.ru_maxrss / 1024


class Contender:
    """One program under one setting, with what its runs have shown so far."""

    def __init__(self, name, command, environment):
        self.name, self.command, self.environment = name, command, environment
        self.steps, self.firsts, self.peaks, self.first_loss = [], [], [], None

    def run(self, arguments, model, data):
        output = arguments.work / self.name.replace(" ", "-").replace("+", "")
        ends, losses, peak = watch(self.command(arguments, model, data, output), output, self.environment)
        self.steps += [after - before for before, after in zip(ends[arguments.warmup - 1 :], ends[arguments.warmup :])]
        self.firsts.append(ends[0])
        self.peaks.append(peak)
        self.first_loss = losses[0]


def print_table(arguments, contenders):
    tokens = arguments.batch * arguments.seq
    ours = statistics.median(contenders[0].steps)
    print(f"\n{arguments.arch}, {arguments.method}, {arguments.dtype} (file {arguments.storage}), batch {arguments.batch} x "
          f"{arguments.seq} tokens, {arguments.threads} threads, {arguments.rounds} rounds in turns")
    print(f"{'':28}{'step s':>9}{'min-max':>17}{'tokens/s':>10}{'time x':>8}{'peak MiB':>10}{'memory x':>10}"
          f"{'first step s':>14}{'loss 1':>9}")
    for one in contenders:
        step = statistics.median(one.steps)
        spread = f"{min(one.steps):.3f}-{max(one.steps):.3f}"
        print(f"{one.name:28}{step:9.3f}{spread:>17}{tokens / step:10.0f}{step / ours:8.2f}{max(one.peaks):10.0f}"
              f"{max(one.peaks) / max(contenders[0].peaks):10.2f}{statistics.median(one.firsts):14.2f}"
              f"{one.first_loss:9.4f}")


def main():
    arguments = parse_arguments()
    arguments.work.mkdir(parents=True, exist_ok=True)
    model, data = prepare(arguments)
    contenders = [
        Contender("tunesmith", tunesmith_command, {}),
        Contender("PyTorch + PEFT", peer_command, {}),
        Contender("PyTorch + PEFT, keeps memory", peer_command, KEEPS_FREED_MEMORY),
    ]
    for round_number in range(arguments.rounds):
        for contender in contenders:
            contender.run(arguments, model, data)
            print(f"round {round_number + 1}: {contender.name}", file=sys.stderr)
    print_table(arguments, contenders)
    # Before the first update an adapter changes nothing, so both must have computed the same loss.
    losses = [contender.first_loss for contender in contenders]
    tolerance = 1e-3 if arguments.dtype == "float32" else 2e-2
    if not max(losses) - min(losses) <= tolerance * max(losses):
        sys.exit(f"the first losses differ ({losses}): the programs did not do the same work")


if __name__ == "__main__":
    main()
