//! Fused LoRA projection: y = x W^T + scaling (x A^T) B^T, forward and backward.
