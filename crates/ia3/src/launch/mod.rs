//! The scaling as kernels, on a GPU or emulated: the same methods over [`DeviceBuffer`]s.
//!
//! Activations and their gradients are f32 or bf16; the factors and their gradient are f32. With f32 activations the results
//! are the bits of the CPU implementation. With bf16 they are its bits on the widened activations, `y` and `grad_x` rounded
//! once.

mod backward;
mod forward;
mod kernels;
mod params;

use device::DType;
use device::launch::{DeviceBuffer, Grid, Kernel};

use crate::{Ia3Error, Ia3Shape};

pub use backward::{Backward, backward};
pub use forward::{Forward, forward};

impl Ia3Shape {
    /// Checks a `[num_tokens, features]` buffer of `dtype`.
    fn check_token_buffer(&self, argument: &'static str, buffer: &DeviceBuffer, dtype: DType) -> Result<(), Ia3Error> {
        check_len(argument, buffer, dtype, self.num_tokens.saturating_mul(self.features))
    }

    /// Checks a `[features]` buffer of f32.
    fn check_channel_buffer(&self, argument: &'static str, buffer: &DeviceBuffer) -> Result<(), Ia3Error> {
        check_len(argument, buffer, DType::F32, self.features)
    }

    /// Blocks of `tokens` rows and as many channels as a block covers.
    fn grid(&self, tokens: u32) -> Grid {
        let [channels, rows] = [(self.features, params::IA3_CHANNELS), (self.num_tokens, tokens)]
            .map(|(elements, per_block)| Grid::covering(elements, per_block, params::IA3_THREADS).blocks[0]);
        Grid { blocks: [channels, rows, 1], ..Grid::linear(1, params::IA3_THREADS) }
    }
}

fn check_len(argument: &'static str, buffer: &DeviceBuffer, dtype: DType, expected: usize) -> Result<(), Ia3Error> {
    buffer.expect_elements(dtype, expected).map_err(|got| Ia3Error::Length { argument, expected, got })
}

/// The kernel for activations of `dtype`.
fn of_dtype<P>(
    dtype: DType,
    f32: &'static Kernel<P>,
    bf16: &'static Kernel<P>,
) -> Result<&'static Kernel<P>, Ia3Error> {
    match dtype {
        DType::F32 => Ok(f32),
        DType::BF16 => Ok(bf16),
        DType::F16 => Err(Ia3Error::DType { got: dtype }),
    }
}
