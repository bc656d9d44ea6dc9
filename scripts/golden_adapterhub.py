#!/usr/bin/env python3
"""Writes tests/data/adapterhub, tests/data/adapterhub-lora and the bottleneck adapters of tests/data/vision: bottleneck
adapters, LoRA and (IA)^3, and what AdapterHub computes and saves with them.

    PYTHON scripts/golden_adapterhub.py [CASE ...]

PYTHON is the interpreter of an environment with adapters==1.2.0 (and the transformers 4.51 that it asks for) and torch.
The base models are those of tests/data/peft, tests/data/peft-classifiers and tests/data/vision. Everything is re-created
from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import adapters
import torch
import transformers
from adapters import (
    CompacterConfig, CompacterPlusPlusConfig, DoubleSeqBnConfig, IA3Config, LoRAConfig, ParBnConfig, SeqBnConfig,
)
from safetensors.torch import save_file
from transformers import (
    AutoConfig, BertForSequenceClassification, GPT2LMHeadModel, T5ForConditionalGeneration, ViTForImageClassification,
)

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
VOCAB_SIZE = 64
THREE_STEPS = dict(lr=1e-2, weight_decay=0.01)
# The adapter's name, which is a part of every key.
NAME = "tiny"
MODELS = {
    "gpt2": GPT2LMHeadModel, "bert": BertForSequenceClassification, "t5": T5ForConditionalGeneration,
    "vit": ViTForImageClassification,
}
BASES = {"gpt2": "peft", "bert": "peft-classifiers", "t5": "peft", "vit": "vision"}
CLASSIFIERS = ("bert", "vit")

# Configurations that every model has, and those of some. With `noise` the adapter has an effect from the start in all of
# its parameters, which one that starts at zero has not.
PRESETS = {
    "seq_bn": lambda: SeqBnConfig(reduction_factor=4),
    "double_seq_bn": lambda: DoubleSeqBnConfig(reduction_factor=4),
    "par_bn": lambda: ParBnConfig(reduction_factor=4),
    "compacter": lambda: CompacterConfig(reduction_factor=4),
    "compacter++": lambda: CompacterPlusPlusConfig(reduction_factor=4),
}
NOISE = {
    "norm-after": lambda: DoubleSeqBnConfig(
        reduction_factor={"0": 8, "default": 3.5}, ln_after=True, adapter_residual_before_ln=True, non_linearity="gelu"),
    "norm-of-output": lambda: SeqBnConfig(reduction_factor=4, ln_after=True, residual_before_ln=False),
    "norm-parallel": lambda: ParBnConfig(reduction_factor=4, mh_adapter=True, ln_after=True, scaling=0.5),
    "no-ln-after": lambda: SeqBnConfig(
        reduction_factor=4, original_ln_after=False, residual_before_ln=False, non_linearity="tanh"),
    "leave-out": lambda: DoubleSeqBnConfig(reduction_factor=4, original_ln_before=True, leave_out=[0], scaling=2.0),
    "own-rules": lambda: CompacterConfig(
        reduction_factor=4, phm_dim=2, phm_rank=3, shared_phm_rule=False, phm_bias=False, phm_c_init="uniform"),
}
POST_ADD = {"post-add": lambda: DoubleSeqBnConfig(
    reduction_factor=4, original_ln_before=True, residual_before_ln="post_add")}
CROSS = {"cross": lambda: DoubleSeqBnConfig(reduction_factor=4, cross_adapter=True, leave_out=[1, 2])}
# In a folder of their own: PEFT has these methods, whose files are read as its own.
LORA = {
    "lora": lambda: LoRAConfig(r=4, alpha=8),
    "lora-everywhere": lambda: LoRAConfig(
        r=3, alpha=7, attn_matrices=["k", "v"], intermediate_lora=True, output_lora=True, leave_out=[1]),
    "ia3": lambda: IA3Config(),
}
CASES = {
    f"{family}-{name}": (make, name not in PRESETS)
    for family, extra in {"gpt2": {}, "bert": POST_ADD, "t5": CROSS}.items()
    for name, make in (PRESETS | NOISE | extra | LORA).items()
} | {
    "vit-bottleneck": (lambda: DoubleSeqBnConfig(reduction_factor=4, non_linearity="gelu"), True),
    "vit-bottleneck-parallel": (lambda: ParBnConfig(reduction_factor=8), True),
}


def make_batch(family):
    """Two sequences of 10 and 7 tokens, padded on the right, of a decoder the first three tokens not supervised; or three
    images."""
    generator = torch.Generator().manual_seed(7)
    if family == "vit":
        return dict(pixel_values=torch.randn(3, 3, 13, 8, generator=generator), labels=torch.tensor([2, 0, 1]))
    input_ids = torch.randint(3, VOCAB_SIZE, (2, 10), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 7:] = 0
    input_ids[1, 7:] = 0
    if family == "gpt2":
        labels = input_ids.clone()
        labels[attention_mask == 0] = -100
        labels[:, :3] = -100
    elif family == "bert":
        labels = torch.tensor([0, 2])
    else:
        labels = torch.randint(3, VOCAB_SIZE, (2, 6), generator=generator)
        labels[1, 4:] = -100
    return dict(input_ids=input_ids, attention_mask=attention_mask, labels=labels)


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def write_case(name):
    family, method = name.split("-", 1)
    collection = "vision" if family == "vit" else "adapterhub-lora" if method in LORA else "adapterhub"
    folder = DATA / collection / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    base = DATA / BASES[family] / f"base-{family}"
    config = AutoConfig.from_pretrained(base, attn_implementation="eager")
    model = MODELS[family].from_pretrained(base, config=config).eval()
    model.name_or_path = model.config._name_or_path = f"tiny/{family}"
    batch = make_batch(family)
    record = dict(batch)
    with torch.no_grad():
        record["logits_base"] = model(**batch).logits

    make, noise = CASES[name]
    adapters.init(model)
    torch.manual_seed(11)
    model.add_adapter(NAME, config=make())
    model.train_adapter(NAME)
    model.eval()
    parameters = trainable(model)
    if noise:
        for parameter in parameters.values():
            parameter.data += torch.randn_like(parameter) * 0.3
    init = {name: p.detach().clone() for name, p in parameters.items()}
    output = model(**batch)
    record |= {"logits_init": output.logits.detach(), "loss_init": output.loss.detach().reshape(1)}
    output.loss.backward()
    record |= {f"grad.{name}": p.grad.clone() for name, p in parameters.items()}

    optimizer = torch.optim.AdamW(parameters.values(), **THREE_STEPS)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        record["logits_final"] = model(**batch).logits
    model.save_adapter(str(folder), NAME, with_head=family in CLASSIFIERS, use_safetensors=True)
    save_file(init, folder / "trainable_init.safetensors")
    if family == "vit":
        save_file({name: p.detach() for name, p in parameters.items()}, folder / "trainable_final.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in record.items()}, folder / "io.safetensors")
    (folder / "losses.json").write_text(json.dumps(losses) + "\n")
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"{name:24} losses {' '.join(f'{loss:.6f}' for loss in losses)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these; all if none is given")
    chosen = parser.parse_args().cases or list(CASES)
    unknown = sorted(set(chosen) - set(CASES))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, adapters {adapters.__version__}")
    for name in chosen:
        write_case(name)


if __name__ == "__main__":
    main()
