//! The projection and the gradient of its input.

use device::parallel;

use crate::error::check;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Avx2Vnni, Avx512Vnni};
use crate::isa::{Dots, Portable};
#[cfg(target_arch = "aarch64")]
use crate::isa::{Neon, NeonDot};
use crate::pack::Source;
use crate::product::{Product, bytes_of, run, scratch};
use crate::quantize::QuantizeRow;
use crate::{Int8Error, Int8Matrix};

/// Products of at most so many rows read the weight in place.
const FEW_ROWS: usize = 4;
/// Output channels that a part of such a product computes at least.
const CHANNELS: usize = 32;

/// Arguments of [`linear`].
#[derive(Debug)]
pub struct Linear<'a> {
    /// `[num_tokens, in_features]`.
    pub x: &'a [f32],
    /// `[out_features, in_features]`.
    pub weight: Int8Matrix<'a>,
    /// `[out_features]`.
    pub bias: Option<&'a [f32]>,
    /// `[num_tokens, out_features]`, overwritten.
    pub y: &'a mut [f32],
}

/// Arguments of [`grad_x`].
#[derive(Debug)]
pub struct GradX<'a> {
    /// `[num_tokens, out_features]`.
    pub grad_y: &'a [f32],
    /// As in [`Linear`].
    pub weight: Int8Matrix<'a>,
    /// `[num_tokens, in_features]`.
    pub grad_x: &'a mut [f32],
    /// Whether it is added to what is there.
    pub add: bool,
}

/// `y = x W^T + bias`.
///
/// # Errors
/// [`Int8Error::Length`]; [`Int8Error::Device`] without memory.
pub fn linear(num_tokens: usize, args: Linear<'_>) -> Result<(), Int8Error> {
    let Linear { x, weight, bias, y } = args;
    let (inputs, outputs) = (weight.cols(), weight.rows());
    check("x", [num_tokens, inputs], x.len())?;
    check("y", [num_tokens, outputs], y.len())?;
    bias.map_or(Ok(()), |bias| check("bias", [1, outputs], bias.len()))?;
    if y.is_empty() {
        return Ok(());
    }
    if inputs == 0 {
        match bias {
            Some(bias) => y.chunks_exact_mut(outputs).for_each(|y| y.copy_from_slice(bias)),
            None => y.fill(0.0),
        }
        return Ok(());
    }
    if num_tokens <= FEW_ROWS {
        return best_few_rows(Linear { x, weight, bias, y });
    }
    let source = Source { codes: weight.codes(), stride: inputs, transposed: true, depth: inputs, cols: outputs };
    best(Product { x, factors: None, weight: source, scales: Some(weight.scales()), bias, accumulate: false, out: y })
}

/// `dx = dY W`.
///
/// # Errors
/// As [`linear`].
pub fn grad_x(num_tokens: usize, args: GradX<'_>) -> Result<(), Int8Error> {
    let GradX { grad_y, weight, grad_x, add } = args;
    let (inputs, outputs) = (weight.cols(), weight.rows());
    check("grad_y", [num_tokens, outputs], grad_y.len())?;
    check("grad_x", [num_tokens, inputs], grad_x.len())?;
    if grad_x.is_empty() {
        return Ok(());
    }
    if outputs == 0 {
        if !add {
            grad_x.fill(0.0);
        }
        return Ok(());
    }
    let source = Source { codes: weight.codes(), stride: inputs, transposed: false, depth: outputs, cols: inputs };
    let (x, factors) = (grad_y, Some(weight.scales()));
    best(Product { x, factors, weight: source, scales: None, bias: None, accumulate: add, out: grad_x })
}

/// With the fastest instruction set of this machine.
fn best(product: Product<'_>) -> Result<(), Int8Error> {
    #[cfg(target_arch = "x86_64")]
    {
        #[cfg(target_os = "linux")]
        if let Some(isa) = crate::isa::Amx::detect() {
            return run(isa, product);
        }
        if let Some(isa) = Avx512Vnni::detect() {
            return run(isa, product);
        }
        if let Some(isa) = Avx2Vnni::detect() {
            return run(isa, product);
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if let Some(isa) = NeonDot::detect() {
            return run(isa, product);
        }
        if let Some(isa) = Neon::detect() {
            return run(isa, product);
        }
    }
    run(Portable, product)
}

fn best_few_rows(args: Linear<'_>) -> Result<(), Int8Error> {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(isa) = Avx512Vnni::detect() {
            return few_rows(isa, args);
        }
        if let Some(isa) = Avx2Vnni::detect() {
            return few_rows(isa, args);
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if let Some(isa) = NeonDot::detect() {
            return few_rows(isa, args);
        }
        if let Some(isa) = Neon::detect() {
            return few_rows(isa, args);
        }
    }
    few_rows(Portable, args)
}

/// The product of few rows: each code of the weight is read once.
pub(crate) fn few_rows<D: Dots>(isa: D, args: Linear<'_>) -> Result<(), Int8Error> {
    let Linear { x, weight, bias, y } = args;
    let (inputs, outputs) = (weight.cols(), weight.rows());
    let rows = x.len() / inputs;
    let mut bytes = scratch(x.len())?;
    let bytes = &mut bytes_of(&mut bytes)?[..x.len()];
    let quantize = |(x, codes)| device::simd::dispatch(QuantizeRow { x, factors: None, codes, flip: D::FLIP });
    let scales: Vec<f32> = x.chunks_exact(inputs).zip(bytes.chunks_exact_mut(inputs)).map(quantize).collect();
    let bytes = &*bytes;
    // Channel by channel, so that threads write rows of their own; few as they are, they are turned afterwards.
    let mut channels = scratch(size_of_val(y))?;
    let channels = &mut channels.f32_mut()?[..y.len()];
    let part = CHANNELS * rows;
    let in_parts = |first: usize, channels: &mut [f32]| {
        for (channel, values) in (first..).zip(channels.chunks_exact_mut(rows)) {
            let codes = &weight.codes()[channel * inputs..][..inputs];
            for ((value, bytes), scale) in values.iter_mut().zip(bytes.chunks_exact(inputs)).zip(&scales) {
                *value = isa.dot(bytes, codes) as f32 * scale * weight.scales()[channel];
            }
        }
    };
    let whole = channels.len() / part * part;
    let (whole, rest) = channels.split_at_mut(whole);
    parallel::brief_rows_mut(whole, part, |i, channels| in_parts(i * CHANNELS, channels));
    in_parts(outputs / CHANNELS * CHANNELS, rest);
    for (channel, values) in whole.chunks_exact(rows).chain(rest.chunks_exact(rows)).enumerate() {
        let bias = bias.map_or(0.0, |bias| bias[channel]);
        values.iter().enumerate().for_each(|(row, value)| y[row * outputs + channel] = value + bias);
    }
    Ok(())
}
