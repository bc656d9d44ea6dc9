//! Compiles `cuda/phm`.

fn main() {
    kernel_build::build("phm");
}
