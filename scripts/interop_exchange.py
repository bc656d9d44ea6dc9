"""Adapters between tunesmith and a Python package: the part that scripts/interop methods and adapterhub share."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

from interop_models import LABELS, MODELS, PROCESSOR, logits_of, make_base, make_rows

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of the largest logit. Both programs compute in float32; the base of PiSSA and OLoRA is what a decomposition leaves of it.
TOLERANCE = 5e-5


class Mismatch(Exception):
    """The two programs disagree; the message says where and by how much."""


class Exchange:
    """A model of `interop_models` in a folder, with what tunesmith makes of it."""

    def __init__(self, binary, name, folder):
        self.binary, self.name, self.folder = binary, name, folder
        self.rows = make_rows(name, folder)

    def write_base(self):
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        make_base(self.name).save_pretrained(self.folder / "base")
        if MODELS[self.name].task == "IMAGE_CLS":
            (self.folder / "base" / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))

    def train(self, adapter):
        """Three steps of tunesmith with the settings `adapter`; returns where the adapter is."""
        task, output = MODELS[self.name].task, self.folder / "tunesmith"
        tables = {
            "model": {"path": str(self.folder / "base"), "dtype": "float32", "task_type": task},
            "adapter": adapter,
            "data": {"train": str(self.folder / "rows.jsonl"), "max_length": 32},
            "training": {"output_dir": str(output), "max_steps": 3, "learning_rate": 1e-2, "device": "cpu"},
        }
        if task.endswith("_CLS"):
            tables["model"]["num_labels"] = LABELS
        lines = (f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
                 for table, keys in tables.items())
        (self.folder / "run.toml").write_text("".join(lines))
        self.run("train", self.folder / "run.toml")
        return output

    def compare(self, what, adapter, model):
        """The logits of tunesmith with `adapter` and those of `model`, which has it already."""
        logits = self.folder / "logits.safetensors"
        self.run("eval", "--model", self.folder / "base", "--adapter", adapter, "--data", self.folder / "rows.jsonl", "--json",
                 "--dtype", "float32", "--batch-size", len(self.rows), "--logits", logits)
        ours, theirs = load_file(logits)["logits"], logits_of(self.name, model, self.rows, self.folder)
        if ours.shape != theirs.shape:
            raise Mismatch(f"{what}: logits are {list(ours.shape)}, not {list(theirs.shape)}")
        worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
        if not worst <= TOLERANCE:
            raise Mismatch(f"{what}: relative difference {worst:.1e}")
        return f"{what} {worst:.1e}"

    def run(self, *arguments):
        command = [str(self.binary), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if result.returncode:
            raise Mismatch(f"`{' '.join(command)}` exits with {result.returncode}: {result.stderr.strip()[-600:]}")


def exchange_all(description, pairs, run_case):
    """Runs `run_case(binary, model, method, folder)` for those of `pairs` that the command line asks for."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    arguments = parser.parse_args()
    if not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    passed = failed = 0
    for name, method in pairs:
        case = f"{name} {method}"
        if arguments.only not in case:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"ok   {case:36} {run_case(arguments.tunesmith, name, method, pathlib.Path(folder))}", flush=True)
                passed += 1
            except Exception as problem:  # Also what the package raises: the other cases are compared all the same.
                print(f"FAIL {case:36} {type(problem).__name__}: {problem}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)
