//! Dense matrix products on the CPU: packed panels, one micro-kernel per instruction set.
