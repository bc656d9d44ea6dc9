"""Operands of normal values, whose products draw the power that real ones do."""


def normal(device, *shape, dtype=None, grad=False):
    import torch

    values = torch.randn(shape, device=device).to(dtype or torch.bfloat16)
    return values.requires_grad_(grad)


def gradients(output, inputs, grad_output):
    """A function that runs the backward pass of `output` alone, again and again."""
    import torch

    return lambda: torch.autograd.grad(output, inputs, grad_output, retain_graph=True)
