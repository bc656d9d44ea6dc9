#!/usr/bin/env python3
"""Writes tests/data/peft/combine: three LoRA adapters of one model, and what PEFT makes of weighted combinations.

    $(scripts/python-env) scripts/golden_combine.py
"""

import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from peft import LoraConfig, get_peft_model

from golden_peft import llama

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "peft" / "combine"
ADAPTERS = {
    "a": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    "b": LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"),
    "c": LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
}
COMBINATIONS = {
    "cat": (["a", "c"], [0.7, -0.4], {}),
    "linear": (["a", "b"], [0.7, -0.4], {}),
    "svd": (["a", "c"], [0.7, -0.4], {"svd_rank": 3}),
    "ties": (["a", "b"], [0.7, 0.4], {"density": 0.5}),
    "ties_svd": (["a", "c"], [1.0, 0.5], {"density": 0.6, "svd_rank": 5, "majority_sign_method": "frequency"}),
    "magnitude_prune": (["a", "b"], [1.0, 1.0], {"density": 0.3}),
    "magnitude_prune_svd": (["a", "c"], [0.5, 0.5], {"density": 0.3, "svd_rank": 4}),
}


def save(model, adapter, folder):
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory, selected_adapters=[adapter])
        folder.mkdir(parents=True)
        for name in ["adapter_config.json", "adapter_model.safetensors"]:
            shutil.move(pathlib.Path(directory) / adapter / name, folder / name)


def main():
    shutil.rmtree(OUTPUT, ignore_errors=True)
    torch.manual_seed(5)
    model = None
    for name, config in ADAPTERS.items():
        model = get_peft_model(llama(), config, adapter_name=name) if model is None else model
        if name not in model.peft_config:
            model.add_adapter(name, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0, 0.3)
    for name in ADAPTERS:
        save(model, name, OUTPUT / name)
    for name, (adapters, weights, options) in COMBINATIONS.items():
        model.add_weighted_adapter(adapters, weights, f"of_{name}", combination_type=name, **options)
        save(model, f"of_{name}", OUTPUT / name)


if __name__ == "__main__":
    main()
