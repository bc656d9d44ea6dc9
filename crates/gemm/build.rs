//! Compiles `cuda/gemm`.

fn main() {
    kernel_build::build("gemm");
}
