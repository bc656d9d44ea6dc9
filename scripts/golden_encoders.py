#!/usr/bin/env python3
"""Writes tests/data/encoders: tiny encoders and classifiers, and what transformers computes with them.

    $(scripts/python-env) scripts/golden_encoders.py [VARIANT ...]

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil
import zlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig, BertForSequenceClassification, BertForTokenClassification, BertModel, DistilBertConfig,
    DistilBertForSequenceClassification, DistilBertForTokenClassification, GPT2Config, GPT2ForSequenceClassification,
    LlamaConfig, LlamaForSequenceClassification, RobertaConfig, RobertaForSequenceClassification,
    RobertaForTokenClassification, XLMRobertaConfig, XLMRobertaForSequenceClassification,
)

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "encoders"
VOCAB_SIZE = 50
PADDING = 1
LENGTHS = (5, 19)

BERT = dict(
    vocab_size=VOCAB_SIZE, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
    max_position_embeddings=32, pad_token_id=PADDING, attn_implementation="eager",
)
DISTILBERT = dict(
    vocab_size=VOCAB_SIZE, dim=24, hidden_dim=40, n_layers=2, n_heads=3, max_position_embeddings=32,
    pad_token_id=PADDING, attn_implementation="eager",
)
LLAMA = BERT | dict(num_attention_heads=4, num_key_value_heads=2)
GPT2 = dict(
    vocab_size=VOCAB_SIZE, n_embd=24, n_layer=2, n_head=3, n_positions=32, pad_token_id=PADDING,
    attn_implementation="eager",
)
THREE = dict(id2label={0: "north", 1: "south", 2: "up"}, label2id={"north": 0, "south": 1, "up": 2})

# variant: (class, configuration)
VARIANTS = {
    "bert": (BertForSequenceClassification, BertConfig(**BERT, **THREE)),
    "bert-first-files": (BertForSequenceClassification, BertConfig(**BERT, hidden_act="relu", **THREE)),
    "bert-token": (BertForTokenClassification, BertConfig(**BERT, layer_norm_eps=1e-5, **THREE)),
    "bert-features": (BertModel, BertConfig(**BERT)),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**BERT, type_vocab_size=1, **THREE)),
    "roberta-token": (RobertaForTokenClassification, RobertaConfig(**BERT, type_vocab_size=1)),
    "xlm-roberta": (XLMRobertaForSequenceClassification, XLMRobertaConfig(**BERT, num_labels=1)),
    "distilbert": (DistilBertForSequenceClassification, DistilBertConfig(**DISTILBERT, **THREE)),
    "distilbert-token": (DistilBertForTokenClassification, DistilBertConfig(**DISTILBERT)),
    "llama": (LlamaForSequenceClassification, LlamaConfig(**LLAMA, **THREE)),
    "gpt2": (GPT2ForSequenceClassification, GPT2Config(**GPT2, **THREE)),
}


def make(name):
    """The model of a variant, no parameter of which is zero or one."""
    torch.manual_seed(zlib.crc32(name.encode()))
    kind, config = VARIANTS[name]
    model = kind(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
            elif key.endswith("bias"):
                parameter.normal_(0, 0.1)
            else:
                parameter.normal_(1, 0.1)
    return model


def config_of_transformers_4(folder):
    """The same configuration as release 4 wrote it."""
    config = json.loads((folder / "config.json").read_text())
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.40.0"
    if config["model_type"] != "distilbert" and "intermediate_size" in config:
        config |= {"position_embedding_type": "absolute", "gradient_checkpointing": False}
    if config["model_type"] == "llama":
        config |= {"rope_theta": config.pop("rope_parameters")["rope_theta"], "rope_scaling": None}
    (folder / "config.v4.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def as_first_files(folder):
    """As bert-base-uncased was published: norms in TensorFlow's words, the heads of pretraining, numbers of positions."""
    path = folder / "model.safetensors"
    rename = lambda key: key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    tensors = {rename(key): tensor for key, tensor in load_file(path).items()}
    tensors["bert.embeddings.position_ids"] = torch.arange(32).expand(1, -1).contiguous()
    tensors["cls.predictions.bias"] = torch.zeros(VOCAB_SIZE)
    tensors["cls.seq_relationship.weight"] = torch.zeros(2, 24)
    save_file(tensors, path, metadata={"format": "pt"})


def write_variant(name):
    folder = OUTPUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = make(name)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config_of_transformers_4(folder)
    if name == "bert-first-files":
        as_first_files(folder)

    record = {}
    generator = torch.Generator().manual_seed(5)
    for i, length in enumerate(LENGTHS):
        ids = torch.randint(2, VOCAB_SIZE, (1, length), generator=generator)
        if i == 1:
            ids[0, [4, length - 1]] = PADDING  # within the text and at its end, with no mask over it
        inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
        record[f"input_ids.{i}"] = ids[0]
        if model.config.model_type == "bert":
            inputs["token_type_ids"] = (torch.arange(length)[None] > length // 2).long()
            record[f"token_type_ids.{i}"] = inputs["token_type_ids"][0]
        with torch.no_grad():
            output = model(**inputs, output_hidden_states=True)
        hidden = output.hidden_states[-1]
        record[f"hidden.{i}"] = hidden[0]
        # Mean pooling of sentence-transformers is over the tokens; `logits` are rows of one class or of every token's.
        record[f"mean.{i}"] = hidden[0].mean(0)
        if hasattr(output, "logits"):
            record[f"logits.{i}"] = output.logits.reshape(-1, model.config.num_labels)
    save_file({key: value.contiguous() for key, value in record.items()}, folder / "io.safetensors")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    print(name)


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
    for name in chosen:
        write_variant(name)


if __name__ == "__main__":
    main()
