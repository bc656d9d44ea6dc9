"""PEFT's LoRA, a layer and a whole step, in its three modes: adapters in f32 under autocast (the default), adapters in bf16, and the latter compiled."""

import importlib.util

from . import steps
from .operands import gradients, normal

PROGRAM = "peft"


def missing():
    absent = [package for package in ("torch", "peft") if not importlib.util.find_spec(package)]
    return f"{', '.join(absent)} is not installed" if absent else None


def runs(case, device):
    operation = case.name.split(",")[0]
    if case.family != "lora" and not (case.family == "step" and operation == "LoRA"):
        return
    for mode in ("f32 adapters, autocast", "bf16 adapters", "bf16 adapters, compiled"):
        if not (mode.endswith("compiled") and device == "cpu"):
            if case.family == "step":
                yield mode, lambda mode=mode: steps.step(case.sizes, device, mode)
            else:
                yield mode, lambda mode=mode: projection(case.sizes, device, operation, mode)


def projection(sizes, device, operation, mode):
    import torch
    from peft import LoraConfig, get_peft_model

    linear = torch.nn.Linear(sizes["in_features"], sizes["out_features"], bias=False, device=device, dtype=torch.bfloat16)
    model = torch.nn.ModuleDict({"proj": linear})
    config = LoraConfig(r=sizes["rank"], lora_alpha=2 * sizes["rank"], target_modules=["proj"])
    autocast = mode.endswith("autocast")
    layer = get_peft_model(model, config, autocast_adapter_dtype=autocast).base_model.model["proj"]
    # B is zero at first, which would draw less power than a trained one.
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    if not autocast:
        layer.to(torch.bfloat16)
    call = layer
    if mode.endswith("compiled"):
        # A backward pass that is timed again and again may not reuse what the forward pass saved.
        torch._functorch.config.donated_buffer = False
        call = torch.compile(layer)
    x = normal(device, sizes["tokens"], sizes["in_features"], grad=True)

    def forward():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
            return call(x)

    if operation == "forward":
        return forward
    y = forward()
    adapters = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
    return gradients(y, [x, *adapters], normal(device, *y.shape, dtype=y.dtype))
