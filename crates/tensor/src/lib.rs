//! Minimal autograd: Tensor, tape, one file per op.
