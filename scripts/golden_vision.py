#!/usr/bin/env python3
"""Writes tests/data/vision: what PEFT computes and saves for a tiny ViT and DeiT, and what visual prompts compute, which PEFT
lacks.

    $(scripts/python-env) scripts/golden_vision.py [CASE ...]

The base in NF4 needs `pip install bitsandbytes==0.50.2 accelerate` beside the packages of scripts/requirements.txt.

Visual prompts are written down here in a few lines of PyTorch each, after the papers that they are from. Everything is
re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import argparse
import json
import os
import pathlib
import shutil

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from peft import IA3Config, LoraConfig
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AttentionInterface, AutoModelForImageClassification, DeiTConfig, DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher, ViTConfig, ViTForImageClassification,
)
from transformers.models.vit.modeling_vit import eager_attention_forward

from golden_peft import THREE_STEPS, nf4, record_case

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "vision"
# An image of three by two patches, with a row of pixels that is in none.
SIZE = (13, 8)
VIT = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=list(SIZE), patch_size=4,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager",
    id2label={0: "circle", 1: "cross", 2: "square"}, label2id={"circle": 0, "cross": 1, "square": 2},
)


def vit(**overrides):
    return stirred(12, ViTForImageClassification, ViTConfig(**VIT | overrides))


def deit():
    return stirred(13, DeiTForImageClassification, DeiTConfig(**VIT))


def deit_teacher():
    """With a loss of its scores, which transformers leaves to whoever trains it."""
    model = stirred(14, DeiTForImageClassificationWithTeacher, DeiTConfig(**VIT))
    score = model.forward

    def forward(pixel_values, labels):
        output = score(pixel_values)
        output.loss = nn.functional.cross_entropy(output.logits, labels)
        return output

    model.forward = forward
    return model


def stirred(seed, make, config):
    torch.manual_seed(seed)
    model = make(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # A start in which no part of the model is without effect.
            parameter.normal_(1 if "layernorm" in name and name.endswith("weight") else 0, 0.15)
    return model.eval()


MODELS = {
    "vit": vit, "deit": deit, "deit_teacher": deit_teacher,
    # Rows of whole blocks, as in golden_peft.py.
    "vit_nf4": lambda: nf4(
        lambda: vit(hidden_size=64, intermediate_size=128), True, AutoModelForImageClassification, ["classifier"]),
}


class PromptTokens(nn.Module):
    """Embeddings between the class token and the patches: "shallow" prompts of Jia et al. 2022, "Visual prompt tuning"."""

    def __init__(self, model, tokens=5):
        super().__init__()
        self.model = model
        self.prompt = nn.Parameter(torch.randn(tokens, model.config.hidden_size) * 0.2)
        model.vit.embeddings.register_forward_hook(self.insert)

    def insert(self, _module, _inputs, embeddings):
        prompt = self.prompt.expand(embeddings.shape[0], -1, -1)
        return torch.cat((embeddings[:, :1], prompt, embeddings[:, 1:]), dim=1)

    def forward(self, **batch):
        return self.model(**batch)

    def parts(self):
        return {"prompt_encoder.embedding.weight": ("prompt_embeddings", self.prompt)}


class PrefixTokens(nn.Module):
    """Keys and values that all tokens see in every block: Liu et al. 2022, "P-tuning v2", as PEFT's PREFIX_TUNING has them."""

    def __init__(self, model, tokens=5):
        super().__init__()
        self.model = model
        config = model.config
        self.prompt = nn.Parameter(torch.randn(tokens, 2 * config.num_hidden_layers * config.hidden_size) * 0.5)
        for layer, block in enumerate(model.vit.layers):
            block.attention.place = (self, layer)
        AttentionInterface.register("prefix", self.attend)
        model.config._attn_implementation = "prefix"

    @staticmethod
    def attend(module, query, key, value, mask, **options):
        self, layer = module.place
        batch, heads, _, head_dim = key.shape
        slots = self.prompt.view(self.prompt.shape[0], -1, heads, head_dim)
        before = lambda slot: slots[:, slot].transpose(0, 1).expand(batch, -1, -1, -1)
        key, value = (torch.cat((before(2 * layer + i), x), dim=2) for i, x in enumerate((key, value)))
        return eager_attention_forward(module, query, key, value, None, **options)

    def forward(self, **batch):
        return self.model(**batch)

    def parts(self):
        return {"prompt_encoder.embedding.weight": ("prompt_embeddings", self.prompt)}


class Pixels(nn.Module):
    """Values that are added to pixels: Bahng et al. 2022, "Exploring visual prompts for adapting large-scale models"."""

    def __init__(self, model, kind, size):
        super().__init__()
        self.model = model
        height, width = SIZE
        shapes = {
            "padding": dict(
                pad_up=(size, width), pad_down=(size, width), pad_left=(height - 2 * size, size),
                pad_right=(height - 2 * size, size),
            ),
            "fixed_patch": dict(patch=(size, size)),
        }[kind]
        self.pixels = nn.ParameterDict({name: nn.Parameter(torch.randn(1, 3, *shape)) for name, shape in shapes.items()})

    def prompt(self):
        if "patch" in self.pixels:
            patch = self.pixels["patch"]
            return nn.functional.pad(patch, (0, SIZE[1] - patch.shape[3], 0, SIZE[0] - patch.shape[2]))
        left, right = self.pixels["pad_left"], self.pixels["pad_right"]
        inner = torch.zeros(1, 3, left.shape[2], SIZE[1] - 2 * left.shape[3])
        middle = torch.cat((left, inner, right), dim=3)
        return torch.cat((self.pixels["pad_up"], middle, self.pixels["pad_down"]), dim=2)

    def forward(self, pixel_values, labels):
        return self.model(pixel_values=pixel_values + self.prompt(), labels=labels)

    def parts(self):
        return {name: (name, parameter) for name, parameter in self.pixels.items()}


def lora(**overrides):
    return LoraConfig(**dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]) | overrides)


PEFT_CASES = {
    "vit-lora": lora,
    "vit-lora-all-linear": lambda: lora(target_modules="all-linear", use_rslora=True),
    "vit-dora": lambda: lora(use_dora=True, target_modules=["k_proj", "fc2"]),
    "vit-ia3": lambda: IA3Config(
        target_modules=["k_proj", "v_proj", "fc2"], feedforward_modules=["fc2"], modules_to_save=["classifier"]),
    "vit_nf4-lora": lambda: lora(target_modules="all-linear"),
    "vit_nf4-dora": lambda: lora(use_dora=True),
    "deit-lora": lora,
    # Both heads end in the name that other models have for theirs.
    "deit_teacher-lora": lambda: lora(target_modules=["k_proj", "o_proj", "fc1"]),
}
SIZES = dict(num_attention_heads=4, num_layers=2, num_transformer_submodules=1, num_virtual_tokens=5, token_dim=32)
PROMPT_TUNING = SIZES | dict(
    peft_type="PROMPT_TUNING", prompt_tuning_init="RANDOM", prompt_tuning_init_text=None, tokenizer_kwargs=None,
    tokenizer_name_or_path=None,
)
PREFIX_TUNING = SIZES | dict(peft_type="PREFIX_TUNING", prefix_projection=False, encoder_hidden_size=32)
PROMPT_CASES = {
    "vit-prompt": (PromptTokens, PROMPT_TUNING),
    "vit-prefix": (PrefixTokens, PREFIX_TUNING),
    "vit-pixels-padding": (
        lambda model: Pixels(model, "padding", 3), dict(peft_type="PIXEL_PROMPT", pixel_prompt="padding", prompt_size=3)),
    "vit-pixels-fixed-patch": (
        lambda model: Pixels(model, "fixed_patch", 5),
        dict(peft_type="PIXEL_PROMPT", pixel_prompt="fixed_patch", prompt_size=5)),
}


def make_batch():
    generator = torch.Generator().manual_seed(7)
    return dict(pixel_values=torch.randn(3, 3, *SIZE, generator=generator), labels=torch.tensor([2, 0, 1]))


def record_prompt(folder, base, batch, wrap, config):
    """What record_case writes, for a method that is not PEFT's: its files are those of tunesmith."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    record = dict(batch)
    with torch.no_grad():
        record["logits_base"] = base(**batch).logits
    torch.manual_seed(11)
    base.requires_grad_(False)
    base.classifier.requires_grad_(True)
    model = wrap(base)
    parts = model.parts() | {
        f"base_model.classifier.{name}": (f"base_model.classifier.{name}", parameter)
        for name, parameter in base.classifier.named_parameters()
    }
    values = lambda: {name: parameter.detach().clone() for name, (_, parameter) in parts.items()}
    save_file(values(), folder / "trainable_init.safetensors")
    optimizer = torch.optim.AdamW([parameter for _, parameter in parts.values()], **THREE_STEPS)
    losses = []
    for step in range(3):
        optimizer.zero_grad()
        result = model(**batch)
        result.loss.backward()
        if step == 0:
            record |= {"logits_init": result.logits.detach(), "loss_init": result.loss.detach().reshape(1)}
            record |= {f"grad.{name}": parameter.grad.clone() for name, (_, parameter) in parts.items()}
        optimizer.step()
        losses.append(result.loss.item())
    with torch.no_grad():
        record["logits_final"] = model(**batch).logits
    save_file(values(), folder / "trainable_final.safetensors")
    saved = {key: parameter.detach().clone() for key, parameter in parts.values()}
    save_file(saved, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    save_file({name: tensor.contiguous() for name, tensor in record.items()}, folder / "io.safetensors")
    (folder / "losses.json").write_text(json.dumps(losses) + "\n")
    common = dict(
        auto_mapping=None, base_model_name_or_path="tiny/vit", inference_mode=True, modules_to_save=["classifier"],
        revision=None, task_type=None,
    )
    (folder / "adapter_config.json").write_text(json.dumps(common | config, indent=2, sort_keys=True))
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    print(f"{folder.name:40} losses {' '.join(f'{loss:.6f}' for loss in losses)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    names = [*PEFT_CASES, *PROMPT_CASES]
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these; all if none is given")
    chosen = parser.parse_args().cases or names
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for family in sorted({name.split("-")[0] for name in chosen}):
        folder = OUTPUT / f"base-{family}"
        shutil.rmtree(folder, ignore_errors=True)
        MODELS[family]().save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
    for name in chosen:
        family = name.split("-")[0]
        base = MODELS[family]().eval()
        base.name_or_path = base.config._name_or_path = f"tiny/{family}"
        if name in PEFT_CASES:
            record_case(OUTPUT / name, base, make_batch(), PEFT_CASES[name]())
        else:
            record_prompt(OUTPUT / name, base, make_batch(), *PROMPT_CASES[name])


if __name__ == "__main__":
    main()
