//! Compiles `cuda/ia3`.

fn main() {
    kernel_build::build("ia3");
}
