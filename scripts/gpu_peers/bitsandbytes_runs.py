"""bitsandbytes: NF4 with blocks of 64."""

import importlib.util

from . import steps
from .operands import normal

PROGRAM = "bitsandbytes"


def missing():
    return None if importlib.util.find_spec("bitsandbytes") else "bitsandbytes is not installed"


def runs(case, device):
    if case.family == "nf4":
        yield "nf4", lambda: blocks(case.sizes, device, case.name.split(",")[0])
    elif case.family == "step" and case.name.startswith("QLoRA"):
        yield "nf4, peft with bf16 adapters", lambda: steps.step(case.sizes, device, quantized=True)


def blocks(sizes, device, operation):
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    weight = normal(device, sizes["rows"], sizes["columns"])
    quantize = lambda: quantize_4bit(weight, blocksize=64, quant_type="nf4")
    if operation == "quantize":
        return quantize
    packed, state = quantize()
    return lambda: dequantize_4bit(packed, state)
