#!/usr/bin/env python3
"""Writes tests/data/seq2seq: tiny encoder-decoders of every kind and what transformers computes with them.

    $(scripts/python-env) scripts/golden_seq2seq.py [VARIANT ...]

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from tiny_models import seed_of

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "seq2seq"
VOCAB_SIZE = 51
# (tokens of the encoder, of the decoder): within the exact buckets, and beyond the largest distance.
LENGTHS = ((4, 5), (37, 25))
NEW_TOKENS = 12
# Heads that together are wider than the hidden states, few buckets, and an epsilon large enough to matter.
COMMON = dict(
    vocab_size=VOCAB_SIZE, d_model=24, d_kv=10, d_ff=36, num_layers=2, num_heads=3, dropout_rate=0.0,
    relative_attention_num_buckets=8, relative_attention_max_distance=15, layer_norm_epsilon=0.01,
    decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
)

# variant: (family, config overrides, how its files differ from the plain layout)
VARIANTS = {
    "t5": ("t5", {}, ""),
    "t5-gated-gelu": ("t5", dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False), "untied-head"),
    "t5-gated-silu": ("t5", dict(feed_forward_proj="gated-silu", tie_word_embeddings=False), "untied-head"),
    "t5-unscaled-tied": ("t5", dict(feed_forward_proj="gelu", tie_word_embeddings=False), ""),
    "t5-layers": ("t5", dict(num_layers=3, num_decoder_layers=1, relative_attention_num_buckets=13), ""),
    "t5-aliases": ("t5", {}, "aliases"),
    "t5-decoder-embedding": ("t5", {}, "decoder-embedding"),
    "t5-bf16": ("t5", {}, "bfloat16"),
    "mt5": ("mt5", dict(tie_word_embeddings=False), "untied-head"),
    "mt5-tied": ("mt5", {}, ""),
}
WITH_GRADIENTS = ("t5", "t5-gated-silu", "t5-decoder-embedding")
CLASSES = {"t5": (T5Config, T5ForConditionalGeneration), "mt5": (MT5Config, MT5ForConditionalGeneration)}


def make_model(variant):
    """Weights such that attention is far from uniform, no norm weight is one, and logits are of order one."""
    family, overrides, _ = VARIANTS[variant]
    config_class, model_class = CLASSES[family]
    config = config_class(**(COMMON | overrides), attn_implementation="eager")
    torch.manual_seed(seed_of(variant))
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_(0, 1.0)
            elif name == "shared.weight":
                parameter.normal_(0, 1.0 if config.tie_word_embeddings and getattr(config, "scale_decoder_outputs", False) else 0.3)
            else:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
    return model.eval()


def write_model(model, folder, layout):
    """The Hugging Face folder, in the layout that the variant asks for."""
    if layout == "bfloat16":
        model = model.to(torch.bfloat16)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    shared = tensors["shared.weight"]
    generator = torch.Generator().manual_seed(3)
    if layout == "untied-head":  # as in the files of T5 1.1 and mT5
        tensors["lm_head.weight"] = torch.randn(shared.shape, generator=generator) * shared.shape[1] ** -0.5
    if layout == "decoder-embedding":
        tensors["decoder.embed_tokens.weight"] = torch.randn(shared.shape, generator=generator)
    if layout == "aliases":  # as in the first files of T5: every name of the embedding, and a bias that nothing adds
        for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = shared.clone()
        unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        tensors[unused] = torch.ones_like(tensors[unused.replace("layer.1.EncDec", "layer.0.Self")])
        del tensors["shared.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)


def load_model(folder):
    return AutoModelForSeq2SeqLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def transformers4_config(config):
    """The same model in the words of transformers 4."""
    old = {k: v for k, v in config.items() if k not in ("dtype", "scale_decoder_outputs", "dense_act_fn", "is_gated_act")}
    old["tie_word_embeddings"] = config.get("scale_decoder_outputs", False)
    return old | {"torch_dtype": config["dtype"], "transformers_version": "4.40.0"}


def draw_rows(seed):
    """Input ids and labels of one row per entry of LENGTHS; one label in the middle is not supervised."""
    generator = torch.Generator().manual_seed(seed + 1)
    rows = []
    for encoder_length, decoder_length in LENGTHS:
        input_ids = torch.randint(2, VOCAB_SIZE, (encoder_length,), generator=generator)
        labels = torch.randint(2, VOCAB_SIZE, (decoder_length,), generator=generator)
        labels[decoder_length // 2] = -100
        labels[-1] = 1
        rows.append((input_ids, labels))
    return rows


def forward(model, row):
    input_ids, labels = row
    return model(input_ids=input_ids[None], labels=labels[None])


def padded(tensors, value):
    length = max(len(tensor) for tensor in tensors)
    return torch.stack([torch.nn.functional.pad(tensor, (0, length - len(tensor)), value=value) for tensor in tensors])


def record_of(model, rows, with_gradients):
    record = {}
    for i, row in enumerate(rows):
        with torch.no_grad():
            output = forward(model, row)
            generated = model.generate(row[0][None], max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1)[0]
        record |= {f"input_ids.{i}": row[0], f"labels.{i}": row[1], f"logits.{i}": output.logits[0],
                   f"loss.{i}": output.loss.reshape(1), f"generated.{i}": generated}
    batch = dict(input_ids=padded([ids for ids, _ in rows], 0), labels=padded([labels for _, labels in rows], -100))
    batch["attention_mask"] = padded([torch.ones_like(ids) for ids, _ in rows], 0)
    loss = model(**batch).loss
    record["loss"] = loss.detach().reshape(1)
    if with_gradients:
        loss.backward()
        # Parameters that share their values are one in transformers, under the first of their names.
        record |= {f"grad.{name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return record


def write_variant(variant):
    folder = OUTPUT / variant
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_model(make_model(variant), folder, VARIANTS[variant][2])
    model = load_model(folder)
    rows = draw_rows(seed_of(variant))
    record = record_of(model, rows, variant in WITH_GRADIENTS)
    save_file({name: tensor.contiguous() for name, tensor in record.items()}, folder / "io.safetensors")
    (folder / "io.safetensors").chmod(0o644)

    config_path = folder / "config.json"
    new = config_path.read_text()
    old = json.dumps(transformers4_config(json.loads(new)), indent=2) + "\n"
    try:
        config_path.write_text(old)
        again = load_model(folder)
    finally:
        config_path.write_text(new)
    with torch.no_grad():
        for i, row in enumerate(rows):
            assert torch.equal(forward(again, row).logits[0], record[f"logits.{i}"]), f"{variant}: config.v4.json means another model"
    (folder / "config.v4.json").write_text(old)
    size = record["logits.1"].abs().max().item()
    print(f"{variant:24} loss {record['loss'].item():.6f}  largest logit {size:.2f}  generated {record['generated.1'].tolist()}")


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
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for variant in chosen:
        write_variant(variant)


if __name__ == "__main__":
    main()
