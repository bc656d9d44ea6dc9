#!/usr/bin/env python3
"""Writes tests/data/bitsandbytes: what bitsandbytes computes on the CPU for NF4 with and without double quantization, for blocks
of 8-bit codes and for AdamW with moments of such codes.

    $(scripts/python-env) scripts/golden_bitsandbytes.py

Everything is re-created from fixed seeds; tests/data/README.md says what the files hold.
"""

import pathlib

import torch
from bitsandbytes import functional, optim
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


def blockwise():
    """Numbers of either sign, and squares of them, with a last block that is short."""
    torch.manual_seed(6)
    x = torch.randn(3 * 256 + 100) * torch.exp(3 * torch.randn(3 * 256 + 100))
    x[:256] = 0
    tensors = {}
    for name, signed, values in [("signed", True, x), ("unsigned", False, 1e-6 * x * x)]:
        code = functional.create_dynamic_map(signed=signed)
        codes, state = functional.quantize_blockwise(values, code=code, blocksize=256)
        tensors |= {f"{name}.map": code, f"{name}.x": values, f"{name}.codes": codes, f"{name}.absmax": state.absmax}
        tensors[f"{name}.dequantized"] = functional.dequantize_blockwise(codes, state)
    return tensors


def adamw_8bit():
    """Four steps of a tensor with moments in 8 bits, whose last block is short."""
    torch.manual_seed(7)
    count = 16 * 256 + 100
    parameter = torch.nn.Parameter(0.1 * torch.randn(count))
    tensors = {"parameters.0": parameter.detach().clone()}
    optimizer = optim.AdamW8bit([parameter], lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1)
    for step in range(1, 5):
        parameter.grad = 1e-3 * torch.randn(count) * torch.exp(2 * torch.randn(count))
        tensors[f"gradients.{step}"] = parameter.grad.clone()
        optimizer.step()
        tensors[f"parameters.{step}"] = parameter.detach().clone()
    state = optimizer.state[parameter]
    return tensors | {"exp_avg": state["state1"], "exp_avg.absmax": state["absmax1"], "exp_avg_sq": state["state2"], "exp_avg_sq.absmax": state["absmax2"]}


def save(name, tensors):
    path = OUTPUT / f"{name}.safetensors"
    save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    path.chmod(0o644)


def main():
    torch.set_num_threads(1)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    tensors = {"map": functional.create_dynamic_map(signed=True), "codebook": functional.get_4bit_type("nf4", device="cpu")}
    for name, (x, block_size) in CASES.items():
        tensors[f"{name}.block_size"] = torch.tensor([block_size])
        tensors |= {f"{name}.{key}": value for key, value in record(x, block_size).items()}
    save("nf4", tensors)
    save("blockwise8", blockwise())
    save("adamw8bit", adamw_8bit())


if __name__ == "__main__":
    main()
