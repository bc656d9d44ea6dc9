"""PyTorch: cuBLAS, scaled dot-product attention, its own norms, losses and optimizer."""

import importlib.util

from .operands import gradients, normal

PROGRAM = "torch"


def missing():
    return None if importlib.util.find_spec("torch") else "torch is not installed"


def runs(case, device):
    operation = case.name.split(",")[0]
    make = {
        "gemm": {"forward": product, "grad_x": product_backward},
        "prefix_attention": {"forward": attention, "backward": attention},
        "transformer": {
            "rms_norm forward": rms_norm,
            "rms_norm backward": rms_norm,
            "swiglu forward": swiglu,
            "swiglu backward": swiglu,
            "cross_entropy": cross_entropy,
        },
        "ia3": {"forward": scale, "backward": scale},
        "adamw": {"step": step, "grad_norm": norm},
    }.get(case.family, {}).get(operation)
    if make is attention:
        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION", "MATH"):
            # The last one keeps all scores in memory: it is there to see that the others compute the same on a CPU.
            if (backend == "MATH") == (device == "cpu"):
                yield f"sdpa {backend.lower()}", lambda backend=backend: attention(case.sizes, device, operation, backend)
    elif make:
        yield "eager", lambda: make(case.sizes, device, operation)


def product(sizes, device, _):
    import torch

    x = normal(device, sizes["tokens"], sizes["in_features"])
    weight = normal(device, sizes["out_features"], sizes["in_features"])
    return lambda: torch.nn.functional.linear(x, weight)


def product_backward(sizes, device, _):
    grad_y = normal(device, sizes["tokens"], sizes["out_features"])
    weight = normal(device, sizes["out_features"], sizes["in_features"])
    return lambda: grad_y @ weight


def attention(sizes, device, operation, backend):
    """The prefix is put before every sequence's keys; the mask is aligned with the last key."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.attention.bias import causal_lower_right

    batch, seq_len, prefix_len = sizes["batch"], sizes["seq_len"], sizes["prefix_len"]
    grad = operation == "backward"
    q = normal(device, batch, sizes["num_heads"], seq_len, sizes["head_dim"], grad=grad)
    key_value = lambda length, rows: normal(device, rows, sizes["num_kv_heads"], length, sizes["head_dim"], grad=grad)
    k, v = key_value(seq_len, batch), key_value(seq_len, batch)
    prefix_k, prefix_v = key_value(prefix_len, 1), key_value(prefix_len, 1)
    mask = causal_lower_right(seq_len, prefix_len + seq_len)

    def forward():
        keys, values = (torch.cat([p.expand(batch, -1, -1, -1), t], dim=2) for p, t in ((prefix_k, k), (prefix_v, v)))
        with sdpa_kernel(getattr(SDPBackend, backend)):
            return torch.nn.functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)

    return gradients(forward(), [q, k, v, prefix_k, prefix_v], normal(device, *q.shape)) if grad else forward


def rms_norm(sizes, device, operation):
    import torch

    grad = operation.endswith("backward")
    x = normal(device, sizes["rows"], sizes["features"], grad=grad)
    weight = normal(device, sizes["features"])
    forward = lambda: torch.nn.functional.rms_norm(x, x.shape[1:], weight, eps=1e-5)
    return gradients(forward(), [x], normal(device, *x.shape)) if grad else forward


def swiglu(sizes, device, operation):
    import torch

    grad = operation.endswith("backward")
    gate, up = (normal(device, sizes["rows"], sizes["features"], grad=grad) for _ in range(2))
    forward = lambda: torch.nn.functional.silu(gate) * up
    return gradients(forward(), [gate, up], normal(device, *gate.shape)) if grad else forward


def cross_entropy(sizes, device, _):
    import torch

    logits = normal(device, sizes["rows"], sizes["features"], grad=True)
    labels = torch.randint(sizes["features"], (sizes["rows"],), device=device)

    def forward_backward():
        loss = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        return torch.autograd.grad(loss, logits)

    return forward_backward


def scale(sizes, device, operation):
    import torch

    grad = operation == "backward"
    x = normal(device, sizes["rows"], sizes["features"], grad=grad)
    ia3_l = normal(device, sizes["features"], dtype=torch.float32, grad=grad)
    # As PEFT: the product in the factors' dtype, rounded back.
    forward = lambda: (x.to(ia3_l.dtype) * ia3_l).to(x.dtype)
    return gradients(forward(), [x, ia3_l], normal(device, *x.shape)) if grad else forward


def step(sizes, device, _):
    import torch

    parameter = torch.nn.Parameter(normal(device, sizes["parameters"], dtype=torch.float32))
    parameter.grad = normal(device, sizes["parameters"], dtype=torch.float32)
    return torch.optim.AdamW([parameter], lr=1e-4, fused=True).step


def norm(sizes, device, _):
    import torch

    gradient = normal(device, sizes["parameters"], dtype=torch.float32)
    return lambda: torch.linalg.vector_norm(gradient)
