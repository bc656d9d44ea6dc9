//! Compiles `cuda/transformer`.

fn main() {
    kernel_build::build("transformer");
}
