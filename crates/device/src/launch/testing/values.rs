//! Operands of a kernel as f32 on the host, and as bf16 or f32 on its device.

use half::bf16;

use crate::DType;
use crate::launch::{DeviceBuffer, Executor};
use crate::philox::Stream;

/// Half a unit in the last place of 1: the largest relative error of one f32 rounding.
pub const UNIT: f64 = 1.0 / (1u64 << 24) as f64;
/// The same of bf16.
pub const BF16_UNIT: f64 = 1.0 / 256.0;

/// `value` as `dtype` holds it: rounded for bf16, itself for f32.
pub fn rounded(dtype: DType, value: f32) -> f32 {
    if dtype == DType::BF16 { bf16::from_f32(value).to_f32() } else { value }
}

/// Normal values that `dtype` holds exactly.
pub fn normal(dtype: DType, len: usize, seed: u64, site: u32) -> Vec<f32> {
    let stream = Stream::new(seed, 0, site);
    (0..len as u64).map(|i| rounded(dtype, stream.normal(i))).collect()
}

/// `values` on the device as `dtype`, bf16 or f32.
///
/// # Panics
/// If the device has no room for them.
pub fn upload(executor: &Executor, dtype: DType, values: &[f32]) -> DeviceBuffer {
    let uploaded = match dtype {
        DType::BF16 => executor.upload(&values.iter().map(|&value| bf16::from_f32(value)).collect::<Vec<_>>()),
        _ => executor.upload(values),
    };
    uploaded.expect("room on the device")
}

/// What a buffer of `dtype`, bf16 or f32, holds.
///
/// # Panics
/// If the device fails, or the buffer holds no whole number of elements.
pub fn read(dtype: DType, buffer: &DeviceBuffer) -> Vec<f32> {
    let read = match dtype {
        DType::BF16 => buffer.read::<bf16>().map(|values| values.into_iter().map(bf16::to_f32).collect()),
        _ => buffer.read(),
    };
    read.expect("a buffer that can be read")
}

/// `values` on the device as by [`upload`], and as they are there: what a kernel and the CPU's function are both given.
///
/// # Panics
/// As [`upload`].
pub fn stored(executor: &Executor, dtype: DType, mut values: Vec<f32>) -> (DeviceBuffer, Vec<f32>) {
    values.iter_mut().for_each(|value| *value = rounded(dtype, *value));
    (upload(executor, dtype, &values), values)
}
