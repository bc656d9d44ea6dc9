"""What nvcc makes of the kernels in cuda/: read by scripts/kernel-report."""
