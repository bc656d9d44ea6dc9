//! Compiles `cuda/emulator-tests`.

fn main() {
    kernel_build::build("emulator-tests");
}
