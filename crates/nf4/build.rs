//! Compiles `cuda/nf4`.

fn main() {
    kernel_build::build("nf4");
}
