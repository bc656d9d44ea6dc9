//! Compiles `cuda/prefix-attention`.

fn main() {
    kernel_build::build("prefix-attention");
}
