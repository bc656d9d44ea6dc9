//! Compiles `cuda/lora`.

fn main() {
    kernel_build::build("lora");
}
