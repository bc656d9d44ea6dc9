#!/usr/bin/env python3
"""Bottleneck adapters of every kind between tunesmith and AdapterHub, in both directions.

    scripts/interop adapterhub [--only SUBSTRING] [--tunesmith PATH]

As scripts/interop methods, with AdapterHub's `adapters` in the place of PEFT. It asks for an older release of transformers,
and so it has an environment of its own. Decoders with its numbers of Llama are left out: those of this release are wrong.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import adapters
import torch

from interop_exchange import Exchange, exchange_all
from interop_models import MODELS, make_base

NAME = "exchanged"
FAMILIES = ("gpt2", "bert", "roberta", "distilbert", "t5", "mt5", "vit")
# AdapterHub's name of a configuration, and settings under the names that both programs have.
METHODS = {
    "seq_bn": ("seq_bn", dict(reduction_factor=4)),
    "double_seq_bn": ("double_seq_bn", dict(reduction_factor=4, non_linearity="gelu")),
    "par_bn": ("par_bn", dict(reduction_factor=4, scaling=2.0)),
    "parallel-to-both": ("par_bn", dict(reduction_factor=4, mh_adapter=True)),
    "pfeiffer-not-everywhere": ("seq_bn", dict(reduction_factor=2, leave_out=[1])),
    "compacter": ("compacter", dict(reduction_factor=4, phm_dim=2)),
    "compacter++": ("compacter++", dict(reduction_factor=4, shared_phm_rule=False)),
}


def with_adapter(name, load=None, config=None):
    """The model of `interop_models` with AdapterHub's layers, and an adapter that is loaded or new."""
    model = make_base(name)
    adapters.init(model)
    if load is not None:
        model.load_adapter(str(load), use_safetensors=True, set_active=True)
        return model.eval()
    model.add_adapter(NAME, config=config, set_active=True)
    model.train_adapter(NAME)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def run_case(binary, name, method, folder):
    preset, settings = METHODS[method]
    case = Exchange(binary, name, folder)
    case.write_base()
    torch.manual_seed(3)
    theirs = with_adapter(name, config=adapters.AdapterConfig.load(preset, **settings))
    is_classifier = MODELS[name].task.endswith("_CLS")
    theirs.save_adapter(str(folder / "adapterhub"), NAME, with_head=is_classifier, use_safetensors=True)
    read = case.compare("read", folder / "adapterhub", theirs)
    ours = case.train({"method": "bottleneck", "bottleneck_config": preset, "adapter_name": NAME} | settings)
    written = case.compare("written", ours, with_adapter(name, load=ours))
    return f"{read}, {written}"


def skipped(name, method):
    """Why a pair is none of this script's: AdapterHub itself does not run it."""
    if MODELS[name].family not in FAMILIES:
        return "it does not have the family, or computes it wrongly"
    if MODELS[name].family in ("t5", "mt5") and method == "compacter":
        return "it loses the rule that T5's layers share"
    return None


if __name__ == "__main__":
    pairs = [(name, method) for name in MODELS for method in METHODS if not skipped(name, method)]
    exchange_all(__doc__, pairs, run_case)
