//! Compiles `cuda/lstm`.

fn main() {
    kernel_build::build("lstm");
}
