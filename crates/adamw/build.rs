//! Compiles `cuda/adamw`.

fn main() {
    kernel_build::build("adamw");
}
