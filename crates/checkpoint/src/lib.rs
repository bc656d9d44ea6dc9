//! Memory-mapped safetensors in, adapter files out. No device, no tensor.
