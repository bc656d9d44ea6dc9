#!/usr/bin/env python3
"""Writes tests/data/peft-classifiers: what PEFT computes and saves for tiny classifiers of sequences and tokens.

    $(scripts/python-env) scripts/golden_classifiers.py [CASE ...]

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
from transformers import (
    BertConfig, BertForSequenceClassification, BertForTokenClassification, DistilBertConfig,
    DistilBertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification, RobertaConfig,
    RobertaForSequenceClassification,
)

from golden_peft import VOCAB_SIZE, record_case

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "peft-classifiers"
BERT = dict(
    vocab_size=VOCAB_SIZE, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=3,
    attn_implementation="eager",
)
DISTILBERT = dict(
    vocab_size=VOCAB_SIZE, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=128, dropout=0.0,
    attention_dropout=0.0, seq_classif_dropout=0.0, num_labels=3, attn_implementation="eager",
)
LLAMA = {key: value for key, value in BERT.items() if "dropout" not in key} | dict(num_key_value_heads=2, pad_token_id=0)

# model: (seed, task, model)
MODELS = {
    "bert": (4, "SEQ_CLS", lambda: BertForSequenceClassification(BertConfig(**BERT))),
    "bert_token": (6, "TOKEN_CLS", lambda: BertForTokenClassification(BertConfig(**BERT))),
    "roberta": (7, "SEQ_CLS", lambda: RobertaForSequenceClassification(RobertaConfig(**BERT, pad_token_id=0))),
    "distilbert": (8, "SEQ_CLS", lambda: DistilBertForSequenceClassification(DistilBertConfig(**DISTILBERT))),
    "llama": (9, "SEQ_CLS", lambda: LlamaForSequenceClassification(LlamaConfig(**LLAMA))),
    "regression": (10, "SEQ_CLS", lambda: BertForSequenceClassification(BertConfig(**BERT | dict(num_labels=1)))),
}


def lora(task, **overrides):
    return LoraConfig(**dict(task_type=task, r=4, lora_alpha=8) | overrides)


CASES = {
    "bert-lora": lora,
    "bert-lora-all-linear": lambda task: lora(task, target_modules="all-linear"),
    "bert_token-lora": lora,
    "roberta-lora": lora,
    "distilbert-lora": lambda task: lora(task, target_modules=["q_lin", "v_lin"]),
    "llama-lora": lora,
    "regression-lora": lora,
    "bert-ia3": lambda task: IA3Config(task_type=task),
    "bert-prompt": lambda task: PromptTuningConfig(task_type=task, num_virtual_tokens=5),
    "bert-prefix": lambda task: PrefixTuningConfig(task_type=task, num_virtual_tokens=5),
    "bert-ptuning-mlp": lambda task: PromptEncoderConfig(task_type=task, num_virtual_tokens=5, encoder_hidden_size=24),
}


def make_batch(task, num_labels):
    """Two sequences of 10 and 7 tokens, padded on the right; the first token of a sequence of classes has none."""
    input_ids = torch.randint(3, VOCAB_SIZE, (2, 10), generator=torch.Generator().manual_seed(7))
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 7:] = 0
    input_ids[1, 7:] = 0
    if task == "TOKEN_CLS":
        labels = input_ids % num_labels
        labels[attention_mask == 0] = -100
        labels[:, 0] = -100
    else:
        labels = torch.tensor([0, 2]) if num_labels > 1 else torch.tensor([0.25, -1.5])
    return dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels)


def base_of(name):
    seed, task, make = MODELS[name]
    torch.manual_seed(seed)
    base = make().eval()
    base.name_or_path = base.config._name_or_path = f"tiny/{name}"
    return base, task


def write_case(name):
    base, task = base_of(name.split("-")[0])
    record_case(OUTPUT / name, base, make_batch(task, base.config.num_labels), CASES[name](task))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these; all if none is given")
    chosen = parser.parse_args().cases or list(CASES)
    unknown = sorted(set(chosen) - set(CASES))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in MODELS:
        folder = OUTPUT / f"base-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        base_of(name)[0].save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
    for name in chosen:
        write_case(name)


if __name__ == "__main__":
    main()
