#!/usr/bin/env python3
"""Trains random tiny models with tunesmith and with transformers + PEFT, and compares what comes out.

    scripts/interop [--cases 150] [--seed 0] [--only SUBSTRING] [--tunesmith PATH]

Compared for each case: the losses and gradient norms of six steps, the names, shapes and effect of the saved adapter as
Python PEFT reads it, adapter_config.json, `tunesmith eval` (loss and logits), and `tunesmith merge` as transformers
reads it. Full fine-tuning is compared too, its result read by transformers. One line a case; exits with 1 if any failed. See interop_cases.py for what is varied.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file

import tiny_models
from interop_cases import STEPS, draw_cases
from tiny_models import gradient_norm, training_loss

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 2e-4  # relative, for everything computed in float32 by both


class Mismatch(Exception):
    """The two programs disagree; the message says where and by how much."""


# ---- running tunesmith


def run(binary, *arguments):
    command = [str(binary), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise Mismatch(f"`{' '.join(command)}` exits with {result.returncode}: {result.stderr.strip()[-600:]}")
    return result.stdout


def toml(value):
    """A TOML value; JSON's spelling but for tables."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)


def write_rows(path, rows):
    path.write_text("".join(json.dumps({"input_ids": ids, "labels": labels}) + "\n" for ids, labels in rows))


def train_with_tunesmith(binary, case, folder, output, start=None, **training):
    adapter = {"method": "full"} if case.lora is None else {"method": "lora"} | case.lora
    if start is not None:
        adapter["init_from"] = str(start)
    config = {
        "model": {"path": str(folder / "model"), "dtype": "float32"},
        "adapter": adapter,
        "data": {"train": str(folder / "train.jsonl"), "max_length": 64, "shuffle": False},
        "training": case.training | training | {
            "output_dir": str(output), "device": "cpu", "logging_steps": 1, "resume": "never",
        },
    }
    path = output.with_suffix(".toml")
    path.write_text("".join(
        f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in table.items()) + "\n"
        for name, table in config.items()
    ))
    run(binary, "train", path)
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "loss" in row]


# ---- running PEFT


def peft_config(case):
    return LoraConfig(task_type="CAUSAL_LM", fan_in_fan_out=case.family == "gpt2", **case.lora)


def write_start(case, folder):
    """An adapter with a non-zero effect, saved by PEFT."""
    torch.manual_seed(case.seed)
    model = get_peft_model(tiny_models.load_model(folder / "model"), peft_config(case))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    model.save_pretrained(folder / "start")
    return folder / "start"


def train_with_peft(case, folder, start):
    model = tiny_models.load_model(folder / "model")
    if start is not None:
        model = PeftModel.from_pretrained(model, start, is_trainable=True).eval()
    settings = case.training
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trainable, lr=settings["learning_rate"], betas=(settings["adam_beta1"], settings["adam_beta2"]),
        eps=settings["adam_epsilon"], weight_decay=settings["weight_decay"],
    )
    schedule = transformers.get_scheduler(
        settings["lr_scheduler_type"], optimizer, num_warmup_steps=settings["warmup_steps"], num_training_steps=STEPS
    )
    rows = tensors(case.rows)
    per_step = settings["per_device_train_batch_size"] * settings["gradient_accumulation_steps"]
    history = []
    for step in range(STEPS):
        optimizer.zero_grad()
        start_row = step * per_step % len(rows)
        loss = training_loss(model, rows[start_row : start_row + per_step])
        loss.backward()
        history.append({
            "loss": loss.item(), "grad_norm": gradient_norm(trainable), "learning_rate": schedule.get_last_lr()[0],
        })
        if settings["max_grad_norm"]:
            torch.nn.utils.clip_grad_norm_(trainable, settings["max_grad_norm"])
        optimizer.step()
        schedule.step()
    return model, history


def tensors(rows):
    return [(torch.tensor(input_ids), torch.tensor(labels)) for input_ids, labels in rows]


@torch.no_grad()
def logits_of(model, rows):
    return [tiny_models.forward(model, input_ids) for input_ids, _ in tensors(rows)]


# ---- comparing


def relative(ours, theirs):
    """Largest difference over the largest value; infinite when anything is not a number."""
    ours, theirs = torch.as_tensor(ours).double(), torch.as_tensor(theirs).double()
    if ours.shape != theirs.shape:
        return math.inf
    worst = ((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30)).item()
    return worst if math.isfinite(worst) else math.inf


def check(what, ours, theirs, tolerance=TOLERANCE):
    worst = relative(ours, theirs)
    if not worst <= tolerance:
        shown = "" if torch.as_tensor(theirs).numel() > 8 else f": {torch.as_tensor(ours).tolist()} not {torch.as_tensor(theirs).tolist()}"
        raise Mismatch(f"{what}: relative difference {worst:.2e}{shown}")
    return worst


def check_history(ours, theirs):
    if [row["step"] for row in ours] != list(range(1, STEPS + 1)):
        raise Mismatch(f"metrics.jsonl has the steps {[row['step'] for row in ours]}")
    worst = {}
    for key in ("loss", "grad_norm", "learning_rate"):
        for step, (mine, its) in enumerate(zip(ours, theirs), start=1):
            # A cosine that has come down to zero leaves a rounding error in one program.
            if not (key == "learning_rate" and abs(mine[key] - its[key]) <= 1e-12):
                worst[key] = max(worst.get(key, 0.0), check(f"{key} at step {step}", mine[key], its[key]))
    return worst


def check_adapter_files(case, output, trained):
    """The adapter as Python PEFT reads it: same names and shapes as it would have saved, and a config it accepts."""
    saved = load_file(output / "adapter_model.safetensors")
    expected = get_peft_model_state_dict(trained)
    if saved.keys() != expected.keys():
        raise Mismatch(f"adapter tensors: missing {sorted(expected.keys() - saved.keys())[:4]}, "
                       f"unknown {sorted(saved.keys() - expected.keys())[:4]}")
    for name, tensor in expected.items():
        # What is trained is saved in float32; a frozen embedding saved along may keep the dtype of the model's file.
        dtypes = {torch.float32, getattr(torch, case.storage)} if "base_layer" in name else {torch.float32}
        if saved[name].shape != tensor.shape or saved[name].dtype not in dtypes:
            raise Mismatch(f"adapter tensor {name}: {saved[name].dtype} {list(saved[name].shape)}, not {list(tensor.shape)}")
    ours, theirs = LoraConfig.from_pretrained(output), trained.peft_config["default"]
    for key in ("task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "bias", "fan_in_fan_out",
                "rank_pattern", "alpha_pattern", "layers_to_transform", "init_lora_weights"):
        if getattr(ours, key) != getattr(theirs, key):
            raise Mismatch(f"adapter_config.json: {key} is {getattr(ours, key)!r}, not {getattr(theirs, key)!r}")
    for key in ("modules_to_save", "target_modules", "exclude_modules", "layers_pattern"):
        mine, its = getattr(ours, key), getattr(theirs, key)
        if names(mine) != names(its):
            raise Mismatch(f"adapter_config.json: {key} is {mine!r}, not {its!r}")
    return max(relative(saved[name], tensor) for name, tensor in expected.items())


def names(value):
    """A list of names without its order; one name is a list of one."""
    return {value} if isinstance(value, str) else set(value or ())


def check_fresh_start(start, case):
    """An adapter that tunesmith drew: lora_B zero, lora_A uniform in ±1/sqrt(in_features)."""
    lora_a = []
    for name, tensor in load_file(start / "adapter_model.safetensors").items():
        if "lora_B" in name and tensor.abs().max() != 0:
            raise Mismatch(f"initial {name} is not zero")
        if "lora_A" in name:
            lora_a.append((tensor * tensor.shape[1] ** 0.5).flatten())
    scaled = torch.cat(lora_a)
    deviations = (abs(scaled.mean()) / 3**-0.5, abs(scaled.std() - 3**-0.5) / 3**-0.5)
    if not (scaled.abs().max() <= 1 + 1e-6 and max(deviations) <= 6 * len(scaled) ** -0.5):
        raise Mismatch(f"initial lora_A: scaled mean {scaled.mean():.3f}, std {scaled.std():.3f}, max {scaled.abs().max():.3f}")


def check_eval(binary, case, folder, what, expected):
    rows = tensors(case.eval_rows)
    report = json.loads(run(
        binary, "eval", *what, "--data", folder / "eval.jsonl", "--json", "--device", "cpu", "--dtype", "float32",
        "--batch-size", 1, "--logits", folder / "logits.safetensors",
    ))
    total, correct, count = 0.0, 0, 0
    for logits, (_, labels) in zip(expected, rows):
        total += torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum").item()
        supervised = labels[1:] != -100
        correct += (logits[:-1].argmax(-1)[supervised] == labels[1:][supervised]).sum().item()
        count += int(supervised.sum())
    check("eval loss", report["loss"], total / count)
    check("eval perplexity", report["perplexity"], math.exp(total / count), 10 * TOLERANCE)
    if report["tokens"] != count or abs(report["accuracy"] - correct / count) > 1e-6:
        raise Mismatch(f"eval: {report}, expected {count} tokens and accuracy {correct / count}")
    ours = load_file(folder / "logits.safetensors")["logits"]
    return check("eval --logits", ours.reshape(-1, ours.shape[-1]), expected[0])


def check_logits(what, model, case, expected):
    ours = logits_of(model, case.eval_rows)
    return max(check(f"logits of {what}", mine, its) for mine, its in zip(ours, expected))


def check_merge(binary, case, folder, output, expected):
    run(binary, "merge", "--model", folder / "model", "--adapter", output, "--output", folder / "merged")
    merged, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "merged", dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    if report["missing_keys"] or report["unexpected_keys"]:
        raise Mismatch(f"merge: transformers reports {report}")
    # A merged weight is rounded to the dtype of the file; half precision keeps 8 or 11 bits.
    tolerance = {"float32": TOLERANCE, "float16": 2e-2, "bfloat16": 1e-1}[case.storage]
    return max(
        check("merge", ours, theirs, tolerance) for ours, theirs in zip(logits_of(merged.eval(), case.eval_rows), expected)
    )


def run_case(binary, case, folder):
    model = tiny_models.make_model(tiny_models.make_config(case.family, **case.model), case.seed)
    model.to(getattr(torch, case.storage)).save_pretrained(folder / "model")
    write_rows(folder / "train.jsonl", case.rows)
    write_rows(folder / "eval.jsonl", case.eval_rows)

    return compare_full(binary, case, folder) if case.lora is None else compare_lora(binary, case, folder)


def compare_lora(binary, case, folder):
    output = folder / "out"
    if case.from_peft:
        start = write_start(case, folder)
        ours = train_with_tunesmith(binary, case, folder, output, start=start)
    else:
        # A run whose learning rate is zero leaves the adapter as it was drawn; the seed draws it again.
        start = folder / "drawn"
        train_with_tunesmith(binary, case, folder, start, learning_rate=0.0, warmup_steps=0, max_steps=1)
        check_fresh_start(start, case)
        ours = train_with_tunesmith(binary, case, folder, output)

    trained, theirs = train_with_peft(case, folder, start)
    worst = check_history(ours, theirs)
    worst["adapter"] = check_adapter_files(case, output, trained)
    expected = logits_of(trained, case.eval_rows)
    reloaded = PeftModel.from_pretrained(tiny_models.load_model(folder / "model"), output).eval()
    worst["reload"] = check_logits("the saved adapter", reloaded, case, expected)
    what = ["--model", folder / "model", "--adapter", output]
    worst["eval"] = check_eval(binary, case, folder, what, logits_of(reloaded, case.eval_rows))
    if not case.lora.get("lora_bias"):  # neither program merges a bias that the base has no place for
        worst["merge"] = check_merge(binary, case, folder, output, expected)
    return worst


def compare_full(binary, case, folder):
    output = folder / "out"
    ours = train_with_tunesmith(binary, case, folder, output)
    trained, theirs = train_with_peft(case, folder, None)
    worst = check_history(ours, theirs)
    reloaded = tiny_models.load_model(output)
    worst["reload"] = check_logits("the saved model", reloaded, case, logits_of(trained, case.eval_rows))
    worst["eval"] = check_eval(binary, case, folder, ["--model", output], logits_of(reloaded, case.eval_rows))
    return worst


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the files of every case in this folder")
    arguments = parser.parse_args()
    if not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    return arguments


def main():
    arguments = parse_arguments()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    passed = failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.keep or pathlib.Path(scratch)
        for case in draw_cases(arguments.seed, arguments.cases):
            if arguments.only not in case.name:
                continue
            folder = work / case.name.replace(" ", "-")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                worst = run_case(arguments.tunesmith, case, folder)
                passed += 1
                print(f"ok   {case.name:40}", *(f"{key} {value:.1e}" for key, value in worst.items()), flush=True)
            except Mismatch as mismatch:
                failed += 1
                print(f"FAIL {case.name:40} {mismatch}", flush=True)
            if not arguments.keep:
                shutil.rmtree(folder)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
