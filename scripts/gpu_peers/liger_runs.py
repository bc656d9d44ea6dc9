"""Liger's Triton kernels: called without their modules, and in the modules of a whole step."""

import importlib.util

from . import steps
from .operands import gradients, normal

PROGRAM = "liger-kernel"


def missing():
    return None if importlib.util.find_spec("liger_kernel") else "liger-kernel is not installed"


def runs(case, device):
    operation = case.name.split(",")[0]
    make = {"rms_norm forward": rms_norm, "rms_norm backward": rms_norm, "swiglu forward": swiglu, "swiglu backward": swiglu}
    make = {**make, "cross_entropy": cross_entropy}.get(operation)
    # Triton compiles for GPUs alone.
    if case.family == "transformer" and make and device != "cpu":
        yield "triton", lambda: make(case.sizes, device, operation)
    if case.family == "step" and operation == "LoRA" and device != "cpu":
        yield "triton, peft with bf16 adapters", lambda: steps.step(case.sizes, device, liger=True)


def rms_norm(sizes, device, operation):
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction

    grad = operation.endswith("backward")
    x = normal(device, sizes["rows"], sizes["features"], grad=grad)
    weight = normal(device, sizes["features"])
    forward = lambda: LigerRMSNormFunction.apply(x, weight, 1e-5, 0.0, "llama", False)
    return gradients(forward(), [x], normal(device, *x.shape)) if grad else forward


def swiglu(sizes, device, operation):
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    grad = operation.endswith("backward")
    gate, up = (normal(device, sizes["rows"], sizes["features"], grad=grad) for _ in range(2))
    forward = lambda: LigerSiLUMulFunction.apply(gate, up)
    return gradients(forward(), [gate, up], normal(device, *gate.shape)) if grad else forward


def cross_entropy(sizes, device, _):
    import torch
    from liger_kernel.transformers import LigerCrossEntropyLoss

    loss = LigerCrossEntropyLoss(reduction="sum")
    logits = normal(device, sizes["rows"], sizes["features"], grad=True)
    labels = torch.randint(sizes["features"], (sizes["rows"],), device=device)
    # The gradient is made in the forward pass, over a copy of the logits that the next call needs again.
    return lambda: torch.autograd.grad(loss(logits.clone(), labels), logits)
