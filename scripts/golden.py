#!/usr/bin/env python3
"""Writes tests/data/families: tiny models of every family and what transformers and PEFT compute with them.

    scripts/golden [VARIANT ...]

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import tiny_models
from tiny_models import VOCAB_SIZE, gradient_norm, seed_of, training_loss

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "families"
LENGTHS = (6, 23)  # below and above every window and scaling threshold of the variants
SIX_STEPS = dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)


def rope(kind, **parameters):
    """A rope_parameters dictionary on a base of its own, so that a reader who assumes 10000 is found out."""
    return {"rope_type": kind, "rope_theta": 5000.0} | parameters


# Heads wide enough for the frequency ramps of the long-context scalings.
WIDE = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16)

# variant: (family, config overrides, how its files differ from the plain layout)
VARIANTS = {
    "gpt2": ("gpt2", {}, "all-linear"),
    "gpt2-inverse-layer-idx": ("gpt2", dict(scale_attn_by_inverse_layer_idx=True), ""),
    "gpt2-unscaled-relu": ("gpt2", dict(scale_attn_weights=False, activation_function="relu", n_inner=None), ""),
    "gpt2-bare-keys": ("gpt2", {}, "bare-keys"),
    "llama": ("llama", dict(num_key_value_heads=4), "rope-type-key"),
    "llama-gqa": ("llama", dict(rope_parameters=rope("default")), "all-linear"),
    "llama-biases": ("llama", dict(attention_bias=True, mlp_bias=True), ""),
    "llama-tied": ("llama", dict(tie_word_embeddings=True), ""),
    "llama-head-dim": ("llama", dict(head_dim=10), ""),
    "llama-rope-llama3": (
        "llama",
        WIDE | dict(rope_parameters=rope(
            "llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)),
        "",
    ),
    "llama-rope-linear": ("llama", dict(rope_parameters=rope("linear", factor=3.0)), "rope-type-key"),
    "llama-rope-dynamic": (
        "llama", dict(max_position_embeddings=16, rope_parameters=rope("dynamic", factor=2.0)), "per-sequence rope-type-key",
    ),
    "llama-rope-yarn": (
        "llama", WIDE | dict(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16)), "",
    ),
    "llama-rope-yarn-attention-factor": (
        "llama",
        WIDE | dict(rope_parameters=rope(
            "yarn", factor=4.0, original_max_position_embeddings=16, attention_factor=0.8, beta_fast=1.5,
            beta_slow=0.25, truncate=False)),
        "",
    ),
    "llama-rope-yarn-mscale": (
        "llama",
        WIDE | dict(rope_parameters=rope(
            "yarn", factor=4.0, original_max_position_embeddings=16, mscale=0.7, mscale_all_dim=1.6)),
        "",
    ),
    "llama-sharded": ("llama", {}, "sharded"),
    "llama-bf16": ("llama", {}, "bfloat16"),
    "llama-f16": ("llama", {}, "float16"),
    "mistral": ("mistral", dict(head_dim=8), ""),
    "mistral-window": ("mistral", dict(sliding_window=5), ""),
    "qwen2": ("qwen2", dict(tie_word_embeddings=True), ""),
    "qwen2-window": ("qwen2", dict(use_sliding_window=True, sliding_window=5, max_window_layers=1), ""),
    "qwen3": ("qwen3", dict(rope_parameters=rope("default")), ""),
    "qwen3-bias-window": (
        "qwen3", dict(attention_bias=True, use_sliding_window=True, sliding_window=5, max_window_layers=1), "",
    ),
    "gemma": ("gemma", dict(num_key_value_heads=1), ""),
    "gemma2": ("gemma2", {}, ""),
    "gemma3_text": ("gemma3_text", dict(num_hidden_layers=3, sliding_window_pattern=2), "all-linear"),
    "gemma3_text-rope-linear": (
        "gemma3_text",
        dict(num_hidden_layers=2, sliding_window_pattern=2, rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 100000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}),
        "",
    ),
    "phi3": ("phi3", dict(hidden_size=32, rope_parameters=rope("default", partial_rotary_factor=0.75)), "all-linear"),
    "phi3-window": ("phi3", dict(sliding_window=5), ""),
    "phi3-longrope": (
        "phi3",
        dict(original_max_position_embeddings=12, rope_parameters=rope(
            "longrope", short_factor=[1.0, 1.1, 1.3], long_factor=[1.2, 2.5, 5.0])),
        "per-sequence rope-type-key",
    ),
    "gpt_neox": ("gpt_neox", {}, "all-linear"),
    "gpt_neox-sequential": ("gpt_neox", dict(use_parallel_residual=False, rope_parameters=rope(
        "default", partial_rotary_factor=0.5)), "stale-buffers"),
    "gpt_neox-no-bias": ("gpt_neox", dict(attention_bias=False, tie_word_embeddings=True), ""),
}


def draw_sequences(seed):
    """Input ids and labels of one sequence per entry of LENGTHS; the first tokens of each are not supervised."""
    generator = torch.Generator().manual_seed(seed + 1)
    sequences = []
    for length in LENGTHS:
        input_ids = torch.randint(0, VOCAB_SIZE, (length,), generator=generator)
        labels = input_ids.clone()
        labels[: length // 3] = -100
        sequences.append((input_ids, labels))
    return sequences


def write_model(model, folder, layout):
    """The Hugging Face folder, in the layout that the variant asks for."""
    if "bfloat16" in layout:
        model = model.to(torch.bfloat16)
    if "float16" in layout.split():
        model = model.to(torch.float16)
    model.save_pretrained(folder, max_shard_size="20KB" if "sharded" in layout else "1GB")
    (folder / "generation_config.json").unlink(missing_ok=True)

    weights = folder / "model.safetensors"
    if "bare-keys" in layout:  # as in the first GPT-2 files: no prefix, and the causal mask stored beside the weights
        tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(weights).items()}
        tensors |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8).tril() for layer in range(model.config.n_layer)}
        save_file(tensors, weights, metadata={"format": "pt"})
    if "stale-buffers" in layout:  # as in Pythia's files
        tensors = load_file(weights)
        for layer in range(model.config.num_hidden_layers):
            prefix = f"gpt_neox.layers.{layer}.attention"
            tensors[f"{prefix}.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
            tensors[f"{prefix}.masked_bias"] = torch.tensor(-1e9)
            tensors[f"{prefix}.rotary_emb.inv_freq"] = torch.ones(2)
        save_file(tensors, weights, metadata={"format": "pt"})


def write_transformers4_config(folder, layout, expected, sequences):
    """config.v4.json, checked to give the same logits."""
    config_path = folder / "config.json"
    new = config_path.read_text()
    key = "type" if "rope-type-key" in layout else "rope_type"
    old = json.dumps(tiny_models.transformers4_config(json.loads(new), key), indent=2) + "\n"
    try:
        config_path.write_text(old)
        model = tiny_models.load_model(folder)
    finally:
        config_path.write_text(new)
    for (input_ids, _), logits in zip(sequences, expected):
        assert torch.equal(logits_of(model, input_ids), logits), f"{folder.name}: config.v4.json means another model"
    (folder / "config.v4.json").write_text(old)


@torch.no_grad()
def logits_of(model, input_ids):
    return tiny_models.forward(model, input_ids)


def padded_batch(sequences):
    """The sequences as one right-padded batch, the way transformers trains."""
    length = max(len(input_ids) for input_ids, _ in sequences)
    pad = lambda tensor, value: torch.nn.functional.pad(tensor, (0, length - len(tensor)), value=value)
    return {
        "input_ids": torch.stack([pad(input_ids, 0) for input_ids, _ in sequences]),
        "attention_mask": torch.stack([pad(torch.ones_like(input_ids), 0) for input_ids, _ in sequences]),
        "labels": torch.stack([pad(labels, -100) for _, labels in sequences]),
    }


def base_record(model, sequences, layout):
    record = {}
    for i, (input_ids, labels) in enumerate(sequences):
        record[f"input_ids.{i}"] = input_ids
        record[f"labels.{i}"] = labels
        record[f"logits.{i}"] = logits_of(model, input_ids)
        record[f"loss.{i}"] = training_loss(model, [(input_ids, labels)]).detach().reshape(1)
    record["loss"] = training_loss(model, sequences).detach().reshape(1)
    # Where a rotary scaling depends on the length, transformers lets the longest sequence decide for a whole batch.
    if "per-sequence" not in layout:
        batch = padded_batch(sequences)
        with torch.no_grad():
            batch_loss = model(**batch).loss
        assert torch.allclose(batch_loss, record["loss"], rtol=1e-5), "padding changed the loss"
        record |= {f"batch.{name}": tensor for name, tensor in batch.items()} | {"batch.loss": batch_loss.reshape(1)}
    return record


def saved_name(parameter):
    """The name PEFT's file gives to a LoRA parameter of the adapter `default`."""
    return parameter.replace(".default", "")


def write_adapter(base, config, folder, sequences, seed):
    """An adapter with a non-zero effect, its gradients, and six steps of AdamW with one batch of all sequences."""
    torch.manual_seed(seed)
    model = get_peft_model(base, config).eval()
    generator = torch.Generator().manual_seed(seed + 2)
    trainable = {saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in trainable.items():
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    (folder / "README.md").unlink()
    tidy_adapter_config(folder / "adapter_config.json")

    record = {f"logits.{i}": logits_of(model, input_ids) for i, (input_ids, _) in enumerate(sequences)}
    optimizer = torch.optim.AdamW(trainable.values(), **SIX_STEPS)
    losses, norms = [], []
    for step in range(6):
        optimizer.zero_grad()
        loss = training_loss(model, sequences)
        loss.backward()
        losses.append(loss.item())
        norms.append(gradient_norm(trainable.values()))
        if step == 0:
            record |= {f"grad.{name}": parameter.grad.clone() for name, parameter in trainable.items()}
        optimizer.step()
    record |= {f"trained.{name}": parameter.detach() for name, parameter in trainable.items()}
    record |= {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms)}
    save_file({name: tensor.contiguous() for name, tensor in record.items()}, folder / "io.safetensors")
    model.unload()


def tidy_adapter_config(path):
    """PEFT writes the path of this run, and a Python set whose order changes from run to run."""
    config = json.loads(path.read_text())
    config["base_model_name_or_path"] = path.parent.parent.name
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def write_variant(name):
    family, overrides, layout = VARIANTS[name]
    folder = OUTPUT / name
    shutil.rmtree(folder, ignore_errors=True)
    seed = seed_of(name)
    write_model(tiny_models.make_model(tiny_models.make_config(family, **overrides), seed), folder, layout)

    model = tiny_models.load_model(folder)
    sequences = draw_sequences(seed)
    record = base_record(model, sequences, layout)
    save_file(record, folder / "io.safetensors")
    write_transformers4_config(folder, layout, [record[f"logits.{i}"] for i in range(len(LENGTHS))], sequences)

    common = dict(task_type="CAUSAL_LM", r=4, lora_alpha=8, fan_in_fan_out=family == "gpt2")
    targets = {"lora": tiny_models.TARGETS_WITHOUT_DEFAULT.get(family)}
    if "all-linear" in layout:
        targets["lora-all-linear"] = "all-linear"
    for adapter, target_modules in targets.items():
        config = LoraConfig(target_modules=target_modules, **common)
        write_adapter(tiny_models.load_model(folder), config, folder / adapter, sequences, seed)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)

    spread = record["logits.1"].std().item()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{name:34} loss {record['loss'].item():6.3f}  logits std {spread:5.2f}  {size / 1024:6.1f} KiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("variants", nargs="*", metavar="VARIANT", help="only these; all if none is given")
    chosen = parser.parse_args().variants or list(VARIANTS)
    unknown = sorted(set(chosen) - set(VARIANTS))
    if unknown:
        parser.error(f"no variant {', '.join(unknown)}; there are {', '.join(VARIANTS)}")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    for name in chosen:
        write_variant(name)


if __name__ == "__main__":
    main()
