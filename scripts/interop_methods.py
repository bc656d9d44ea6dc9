#!/usr/bin/env python3
"""Every method on every kind of model, between tunesmith and Python PEFT, in both directions.

    scripts/interop methods [--only SUBSTRING] [--tunesmith PATH]

For each pair of a model and a method: tunesmith computes logits with an adapter that PEFT has saved, and PEFT with one that
tunesmith has trained for three steps; both are compared with the other program's own. The values of PEFT's adapter are drawn
so that it has an effect. One line a case; exits with 1 if any failed. What both train, step by step, scripts/interop compares
for LoRA and tests/data for every method.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 2e-5  # of the largest logit; both programs compute in float32
VOCAB_SIZE = 61
LABELS = 3
SPECIAL_TOKENS = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA = SPECIAL_TOKENS | dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64,
)
GPT2 = SPECIAL_TOKENS | dict(
    vocab_size=VOCAB_SIZE, n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
)
BERT = dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, pad_token_id=0,
)
T5 = dict(
    vocab_size=VOCAB_SIZE, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, dropout_rate=0.0,
    decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
)

# A name, the task, and what makes the model.
MODELS = {
    "llama": ("CAUSAL_LM", lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))),
    "qwen2-tied": (
        "CAUSAL_LM", lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**LLAMA, tie_word_embeddings=True))),
    "gpt2": ("CAUSAL_LM", lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2))),
    "llama-classifier": (
        "SEQ_CLS", lambda: transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**LLAMA, num_labels=LABELS))),
    "bert-classifier": (
        "SEQ_CLS", lambda: transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, num_labels=LABELS))),
    "bert-tagger": (
        "TOKEN_CLS", lambda: transformers.BertForTokenClassification(transformers.BertConfig(**BERT, num_labels=LABELS))),
    "t5": ("SEQ_2_SEQ_LM", lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5))),
}
TOKENS = [5, 3, 60, 17]
NORMS = {"bert": ["LayerNorm"]}  # PEFT has no default for it

# A name, PEFT's configuration, tunesmith's method, and its settings; those under the same names are given to both.
METHODS = {
    "lora": (peft.LoraConfig, "lora", dict(r=4, lora_alpha=6)),
    "rslora-all-linear": (peft.LoraConfig, "lora", dict(r=4, use_rslora=True, target_modules="all-linear")),
    "dora": (peft.LoraConfig, "lora", dict(r=4, use_dora=True)),
    "pissa": (peft.LoraConfig, "lora", dict(r=4, init_lora_weights="pissa")),
    "olora": (peft.LoraConfig, "lora", dict(r=4, init_lora_weights="olora")),
    "lora-tokens": (peft.LoraConfig, "lora", dict(r=4, trainable_token_indices=TOKENS)),
    "trainable-tokens": (peft.TrainableTokensConfig, "trainable_tokens", dict(token_indices=TOKENS)),
    "adalora": (peft.AdaLoraConfig, "adalora", dict(init_r=6, target_r=3, total_step=3)),
    "vera": (peft.VeraConfig, "vera", dict(r=24)),
    "vera-drawn-again": (peft.VeraConfig, "vera", dict(r=24, save_projection=False, projection_prng_key=9)),
    "ia3": (peft.IA3Config, "ia3", {}),
    "ln-tuning": (peft.LNTuningConfig, "ln_tuning", {}),
    "prompt-tuning": (peft.PromptTuningConfig, "prompt_tuning", dict(num_virtual_tokens=4)),
    "prefix-tuning": (peft.PrefixTuningConfig, "prefix_tuning", dict(num_virtual_tokens=4)),
    "prefix-projected": (
        peft.PrefixTuningConfig, "prefix_tuning",
        dict(num_virtual_tokens=4, prefix_projection=True, encoder_hidden_size=12)),
    "p-tuning-mlp": (peft.PromptEncoderConfig, "p_tuning", dict(num_virtual_tokens=4, encoder_hidden_size=12)),
    "p-tuning-lstm": (
        peft.PromptEncoderConfig, "p_tuning",
        dict(num_virtual_tokens=4, encoder_hidden_size=12, encoder_reparameterization_type="LSTM")),
}


class Mismatch(Exception):
    """The two programs disagree; the message says where and by how much."""


def settings_of(model_name, method):
    settings = METHODS[method][2]
    family = model_name.split("-")[0]
    return settings | dict(target_modules=NORMS[family]) if method == "ln-tuning" and family in NORMS else settings


def make_base(name):
    torch.manual_seed(1)
    base = MODELS[name][1]().eval()
    with torch.no_grad():
        for name_, parameter in base.named_parameters():
            # Biases and norms away from zero and one, attention away from uniform.
            parameter.copy_(parameter + 0.1 * torch.randn_like(parameter) if parameter.dim() == 1 else 2 * parameter)
    return base


def make_rows(task):
    """Rows of one length, so that a batch needs no padding."""
    generator = torch.Generator().manual_seed(2)
    draw = lambda count, below=VOCAB_SIZE, low=3: torch.randint(low, below, (count,), generator=generator).tolist()
    rows = []
    for _ in range(4):
        row = {"input_ids": draw(9)}
        row |= {
            "CAUSAL_LM": lambda: {"labels": row["input_ids"]},
            "SEQ_CLS": lambda: {"label": draw(1, LABELS, 0)[0]},
            "TOKEN_CLS": lambda: {"labels": draw(9, LABELS, 0)},
            "SEQ_2_SEQ_LM": lambda: {"labels": draw(5)},
        }[task]()
        rows.append(row)
    return rows


@torch.no_grad()
def logits_of(model, rows):
    batch = {"input_ids": torch.tensor([row["input_ids"] for row in rows])}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    if isinstance(model.get_base_model(), transformers.T5ForConditionalGeneration):
        labels = torch.tensor([row["labels"] for row in rows])
        batch["decoder_input_ids"] = model.get_base_model()._shift_right(labels)
    return model(**batch).logits


def run(binary, *arguments):
    command = [str(binary), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if result.returncode:
        raise Mismatch(f"`{' '.join(command)}` exits with {result.returncode}: {result.stderr.strip()[-600:]}")
    return result.stdout


def tunesmith_logits(binary, folder, adapter, rows):
    run(binary, "eval", "--model", folder / "base", "--adapter", adapter, "--data", folder / "rows.jsonl", "--json",
        "--dtype", "float32", "--batch-size", len(rows), "--logits", folder / "logits.safetensors")
    return load_file(folder / "logits.safetensors")["logits"]


def compare(what, ours, theirs):
    if ours.shape != theirs.shape:
        raise Mismatch(f"{what}: logits are {list(ours.shape)}, not {list(theirs.shape)}")
    worst = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    if not worst <= TOLERANCE:
        raise Mismatch(f"{what}: relative difference {worst:.1e}")
    return f"{what} {worst:.1e}"


def adapter_of_peft(name, method, folder):
    """An adapter with an effect, saved by PEFT, and the model that has it."""
    make_config, _, _ = METHODS[method]
    config = make_config(task_type=MODELS[name][0], **settings_of(name, method))
    torch.manual_seed(3)
    model = get_peft_model(make_base(name), config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and not (method in ("pissa", "olora")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder / "peft")
    return model


def train(binary, name, method, folder):
    _, own_method, _ = METHODS[method]
    tables = {
        "model": {"path": str(folder / "base"), "dtype": "float32", "task_type": MODELS[name][0]},
        "adapter": {"method": own_method} | settings_of(name, method),
        "data": {"train": str(folder / "rows.jsonl"), "max_length": 32},
        "training": {"output_dir": str(folder / "tunesmith"), "max_steps": 3, "learning_rate": 1e-2, "device": "cpu"},
    }
    if MODELS[name][0] in ("SEQ_CLS", "TOKEN_CLS"):
        tables["model"]["num_labels"] = LABELS
    lines = (f"[{table}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
             for table, keys in tables.items())
    (folder / "run.toml").write_text("".join(lines))
    run(binary, "train", folder / "run.toml")
    return folder / "tunesmith"


def run_case(binary, name, method, folder):
    rows = make_rows(MODELS[name][0])
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_base(name).save_pretrained(folder / "base")
    theirs = adapter_of_peft(name, method, folder)
    read = compare("read", tunesmith_logits(binary, folder, folder / "peft", rows), logits_of(theirs, rows))
    ours = train(binary, name, method, folder)
    loaded = PeftModel.from_pretrained(make_base(name), str(ours)).eval()
    written = compare("written", tunesmith_logits(binary, folder, ours, rows), logits_of(loaded, rows))
    return f"{read}, {written}"


def skipped(name, method):
    """Why a pair is none of this script's: PEFT itself does not run it."""
    if MODELS[name][0] == "TOKEN_CLS" and method == "trainable-tokens":
        return "PEFT asks the configuration for modules_to_save, which it does not have"
    if name == "gpt2" and method == "olora":
        return "PEFT makes its matrices for the transpose of a Conv1D's weight"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--tunesmith", type=pathlib.Path, default=ROOT / "target/release/tunesmith")
    arguments = parser.parse_args()
    if not arguments.tunesmith.is_file():
        parser.error(f"{arguments.tunesmith} is not there; run `cargo build --release` first")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    passed = failed = 0
    for name, method in ((name, method) for name in MODELS for method in METHODS):
        case = f"{name} {method}"
        if arguments.only not in case or skipped(name, method):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(f"ok   {case:36} {run_case(arguments.tunesmith, name, method, pathlib.Path(folder))}", flush=True)
                passed += 1
            except Mismatch as mismatch:
                print(f"FAIL {case:36} {mismatch}", flush=True)
                failed += 1
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
