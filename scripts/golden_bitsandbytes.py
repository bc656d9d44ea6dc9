#!/usr/bin/env python3
"""Writes tests/data/bitsandbytes: what bitsandbytes computes on the CPU for NF4 with and without double quantization.

    $(scripts/python-env) scripts/golden_bitsandbytes.py

Everything is re-created from fixed seeds; tests/data/README.md says what the file holds.
"""

import pathlib

import torch
from bitsandbytes import functional
from safetensors.torch import save_file

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "bitsandbytes"
NAN, INF = float("nan"), float("inf")


def weights(count, seed):
    """Like a trained layer's, with a block of zeros in front."""
    torch.manual_seed(seed)
    x = 0.02 * torch.randn(count)
    x[:64] = 0
    return x


def hostile():
    """One block of 64 after another, each unusual; the last is short."""
    blocks = [
        [0.0] * 64,
        [-0.0] * 64,
        [NAN] + [1.0] * 63,
        [INF, -INF, 1.0, 0.0] * 16,
        [1e-40, -1e-41] * 32,
        [1e-38, 5e-39, -1e-38, 0.0] * 16,
        [3.4e38, -1.7e38, 1.0, 1e-30] * 16,
        # Each threshold between two codes, and both neighbours.
        threshold_neighbours(),
        [0.0] * 7,
    ]
    return torch.tensor([value for block in blocks for value in block])


def threshold_neighbours():
    values, _ = torch.sort(functional.get_4bit_type("nf4", device="cpu"))
    middle = ((values[1:].double() + values[:-1].double()) / 2).float()
    below, above = (torch.nextafter(middle, torch.tensor(end)) for end in (-2.0, 2.0))
    return torch.cat([torch.stack([below, middle, above], 1).reshape(-1), torch.ones(19)]).tolist()


CASES = {
    "f32": (weights(6144, 1), 64),
    "bf16": (weights(6144, 1).bfloat16(), 64),
    "f16": (weights(6144, 1).half(), 64),
    "odd": (weights(33 * 71, 2), 64),
    "small-blocks": (weights(1000, 3), 32),
    "large-blocks": (weights(10000, 4), 4096),
    "many-blocks": (weights(40000, 5).bfloat16(), 64),
    "one": (torch.tensor([-0.3]), 64),
    "hostile": (hostile(), 64),
    "hostile-short-nan": (torch.tensor([0.5, NAN, 1.0]), 64),
}


def record(x, block_size):
    out = {"x": x}
    packed, state = functional.quantize_4bit(x, blocksize=block_size, quant_type="nf4")
    out |= {"packed": packed.reshape(-1), "absmax": state.absmax}
    out["dequantized"] = functional.dequantize_4bit(packed, state).reshape(-1)
    packed, state = functional.quantize_4bit(x, blocksize=block_size, quant_type="nf4", compress_statistics=True)
    out |= {
        "nested.codes": state.absmax,
        "nested.absmax": state.state2.absmax,
        "nested.offset": state.offset.reshape(1),
        "nested.dequantized": functional.dequantize_4bit(packed, state).reshape(-1),
    }
    return out


def main():
    torch.set_num_threads(1)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    tensors = {"map": functional.create_dynamic_map(signed=True), "codebook": functional.get_4bit_type("nf4", device="cpu")}
    for name, (x, block_size) in CASES.items():
        tensors[f"{name}.block_size"] = torch.tensor([block_size])
        tensors |= {f"{name}.{key}": value.contiguous().clone() for key, value in record(x, block_size).items()}
    save_file(tensors, OUTPUT / "nf4.safetensors")
    (OUTPUT / "nf4.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
