#!/usr/bin/env python3
"""Every method on every kind of model, between tunesmith and Python PEFT, in both directions.

    scripts/interop methods [--only SUBSTRING] [--tunesmith PATH]

For each pair of a model and a method: tunesmith computes logits with an adapter that PEFT has saved, and PEFT with one that
tunesmith has trained for three steps; both are compared with the other program's own. The values of PEFT's adapter are drawn
so that it has an effect. One line a case; exits with 1 if any failed. What both train, step by step, scripts/interop compares
for LoRA and tests/data for every method.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft
import torch
from peft import PeftModel, get_peft_model
from peft.utils import constants

from interop_exchange import Exchange, exchange_all
from interop_models import MODELS, make_base

TOKENS = [5, 3, 50, 17]

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


DEFAULTS = {
    peft.LoraConfig: constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
    peft.AdaLoraConfig: constants.TRANSFORMERS_MODELS_TO_ADALORA_TARGET_MODULES_MAPPING,
    peft.VeraConfig: constants.TRANSFORMERS_MODELS_TO_VERA_TARGET_MODULES_MAPPING,
    peft.IA3Config: constants.TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING,
    peft.LNTuningConfig: constants.TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING,
}
PROMPTS = (peft.PromptTuningConfig, peft.PrefixTuningConfig, peft.PromptEncoderConfig)
TOKEN_ROWS = ("lora-tokens", "trainable-tokens")


def settings_of(name, method):
    """The settings of a case, with the modules of the model where PEFT has no defaults for its family."""
    make_config, _, settings = METHODS[method]
    targets, family = MODELS[name].targets, MODELS[name].family
    if make_config not in DEFAULTS or family in DEFAULTS[make_config] or "target_modules" in settings:
        return settings
    if make_config is peft.IA3Config:
        return settings | dict(target_modules=targets["ia3"], feedforward_modules=targets["feedforward"])
    return settings | dict(target_modules=targets["norms" if make_config is peft.LNTuningConfig else "lora"])


def adapter_of_peft(name, method, folder):
    """An adapter with an effect, saved by PEFT, and the model that has it."""
    make_config, _, _ = METHODS[method]
    task = MODELS[name].task
    # PEFT has no task of images, for which it would train the head by itself.
    own = dict(modules_to_save=["classifier"]) if task == "IMAGE_CLS" else dict(task_type=task)
    if make_config in PROMPTS:
        own |= MODELS[name].sizes
    config = make_config(**own, **settings_of(name, method))
    torch.manual_seed(3)
    model = get_peft_model(make_base(name), config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and not (method in ("pissa", "olora")):
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder / "peft")
    return model


def run_case(binary, name, method, folder):
    case = Exchange(binary, name, folder)
    case.write_base()
    theirs = adapter_of_peft(name, method, folder)
    read = case.compare("read", folder / "peft", theirs)
    _, own_method, _ = METHODS[method]
    ours = case.train({"method": own_method} | settings_of(name, method))
    written = case.compare("written", ours, PeftModel.from_pretrained(make_base(name), str(ours)).eval())
    return f"{read}, {written}"


def skipped(name, method):
    """Why a pair is none of this script's: PEFT itself does not run it."""
    make_config, task = METHODS[method][0], MODELS[name].task
    if task == "IMAGE_CLS" and (make_config in PROMPTS or method in TOKEN_ROWS):
        return "PEFT knows prompts and rows of tokens of texts only"
    if task == "TOKEN_CLS" and method == "trainable-tokens":
        return "PEFT asks the configuration for modules_to_save, which it does not have"
    if method == "rslora-all-linear" and (task == "TOKEN_CLS" or name == "deit-teacher"):
        return "PEFT adapts the head that it is to train whole"
    if name.startswith("distilbert") and make_config is peft.PrefixTuningConfig:
        return "transformers' DistilBERT takes no keys and values"
    if name.startswith("gpt2") and method == "olora":
        return "PEFT makes its matrices for the transpose of a Conv1D's weight"
    return None


if __name__ == "__main__":
    pairs = [(name, method) for name in MODELS for method in METHODS if not skipped(name, method)]
    exchange_all(__doc__, pairs, run_case)
