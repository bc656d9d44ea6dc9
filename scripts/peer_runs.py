"""One run of a program that `scripts/peers` compares: its command, its rows, and what is seen of it from outside."""

import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

from peer_cases import NUM_VIRTUAL_TOKENS

SCRIPTS = pathlib.Path(__file__).resolve().parent
POLL_SECONDS = 0.004
IGNORED = -100


def prepare(case, arguments):
    """The model folder and the rows, made where they are missing."""
    model = arguments.work / f"{case.arch}-{case.storage}"
    if not (model / "config.json").is_file():
        command = ["create", "--arch", case.arch, "--storage", case.storage, "--output", model]
        subprocess.run([sys.executable, SCRIPTS / "peer_train.py", *command], check=True)
    vocab_size = json.loads((model / "config.json").read_text())["vocab_size"]
    generator = random.Random(case.seq)
    unsupervised = int(case.seq * case.unsupervised)
    data = arguments.work / f"{case.name}.jsonl"
    with open(data, "w") as file:
        for _ in range(case.batch * arguments.steps):
            tokens = [generator.randrange(vocab_size) for _ in range(case.seq)]
            labels = [IGNORED] * unsupervised + tokens[unsupervised:]
            print(json.dumps({"input_ids": tokens, "labels": labels}), file=file)
    return model, data


class Tunesmith:
    """A binary of tunesmith."""

    environment = {}

    def __init__(self, name, binary):
        self.name, self.binary = name, binary

    def command(self, case, arguments, model, data, output):
        config = {
            "model": {"path": str(model), "dtype": case.dtype},
            "adapter": self.adapter(case, arguments),
            "data": {"train": str(data), "max_length": case.seq, "shuffle": False},
            "training": {
                "output_dir": str(output), "max_steps": arguments.steps, "per_device_train_batch_size": case.batch,
                "learning_rate": 2e-4, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "device": "cpu",
                "threads": arguments.threads, "resume": "never",
            },
        }
        if case.method == "qlora":
            config["model"]["quantization"] = "nf4"
        path = output.with_name(f"{output.name}.toml")
        # JSON's spelling of strings, numbers and booleans is TOML's too.
        path.write_text("".join(
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
            for name, table in config.items()
        ))
        return [self.binary, "train", path]

    @staticmethod
    def adapter(case, arguments):
        if case.method in ("lora", "qlora"):
            return {"method": "lora", "r": arguments.r, "lora_alpha": 2 * arguments.r, "target_modules": "all-linear"}
        if case.method in ("ia3", "full"):
            return {"method": case.method}
        return {"method": case.method, "num_virtual_tokens": NUM_VIRTUAL_TOKENS}


class PeerProgram:
    """transformers + PEFT in one of its modes."""

    def __init__(self, mode):
        self.mode, self.name, self.environment = mode, mode.name, dict(mode.environment)

    def command(self, case, arguments, model, data, output):
        return [
            sys.executable, SCRIPTS / "peer_train.py", "train", "--model", model, "--data", data, "--output", output,
            "--method", case.method, "--r", arguments.r, "--dtype", case.dtype, "--batch", case.batch,
            "--steps", arguments.steps, "--threads", arguments.threads, *self.mode.arguments,
        ]


class Contender:
    """One program, with what its runs have shown so far."""

    def __init__(self, program):
        self.program, self.name = program, program.name
        self.steps, self.firsts, self.peaks, self.anonymous, self.first_loss = [], [], [], [], None

    def run(self, case, arguments, model, data):
        output = arguments.work / (case.name + "-" + "".join(c if c.isalnum() else "-" for c in self.name))
        seen = watch(self.program.command(case, arguments, model, data, output), output, self.program.environment)
        ends = seen["ends"]
        self.steps += [after - before for before, after in zip(ends[arguments.warmup - 1 :], ends[arguments.warmup :])]
        self.firsts.append(ends[0])
        self.peaks.append(seen["peak"])
        self.anonymous.append(seen["anonymous"])
        self.first_loss = seen["losses"][0]

    @property
    def step(self):
        return statistics.median(self.steps)

    def line(self, case):
        return f"{self.name}, {self.step:.3f} s a step, {max(self.anonymous):.0f} MiB, first after {self.firsts[-1]:.2f} s"


def watch(command, output, environment):
    """Runs one process. Returns when each step ended after its start, its losses, its peak memory, and the most of that
    which was no page of a file, in MiB."""
    shutil.rmtree(output, ignore_errors=True)
    metrics, log = output / "metrics.jsonl", output.with_name(f"{output.name}.log")
    ends, anonymous = [], 0
    with open(log, "w") as sink:
        start = time.monotonic()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=sink, stderr=sink, env=os.environ | environment
        )
        while True:
            anonymous = max(anonymous, anonymous_kib(process.pid))
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
    return {"ends": ends, "losses": losses, "peak": usage.ru_maxrss / 1024, "anonymous": anonymous / 1024}


def anonymous_kib(pid):
    """What the process holds without pages of files; 0 once it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon:")]
    return int(lines[0].split()[1]) if lines else 0
