//! One step of AdamW with moments in 8 bits.

use std::ops::Range;

use blockwise::{BLOCK_SIZE, DynamicMap, dequantize_block, quantize_block};
use device::simd::dispatch;
use rayon::prelude::*;

use crate::step::{Rates, Update, check_method};
use crate::{AdamW, AdamWError, Group, Result};

/// Parameters of a tensor from which on bitsandbytes keeps its moments in 8 bits (`min_8bit_size`).
pub const MIN_8BIT_SIZE: usize = 4096;

/// One moment of a tensor: what [`blockwise`] makes of it in blocks of 256, the last of which may be short.
#[derive(Debug)]
pub struct Codes<'a> {
    /// A code for each parameter; zero before step 1.
    pub codes: &'a mut [u8],
    /// One f32 for each block ([`num_code_blocks`]); zero before step 1.
    pub absmax: &'a mut [f32],
}

/// Blocks of codes of a tensor of `len` parameters.
pub fn num_code_blocks(len: usize) -> usize {
    len.div_ceil(BLOCK_SIZE)
}

/// The buffers of one step of one tensor.
#[derive(Debug)]
pub struct Step8bit<'a> {
    /// Number of this step, from 1.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Factor of every gradient: the clip coefficient. With NaN nothing is changed.
    pub grad_scale: f32,
    /// Gradients.
    pub gradients: &'a [f32],
    /// Parameters, updated.
    pub parameters: &'a mut [f32],
    /// First moments, updated: codes of [`DynamicMap::signed`].
    pub exp_avg: Codes<'a>,
    /// Second moments, updated: codes of [`DynamicMap::unsigned`].
    pub exp_avg_sq: Codes<'a>,
}

/// Blocks of codes of one task.
const TASK: usize = 64;

/// Updates parameters and moments of one tensor.
///
/// The parameters see the moments before they are rounded to codes, as in bitsandbytes' `AdamW8bit`.
///
/// # Errors
/// [`AdamWError::Length`] for buffers that do not fit; [`AdamWError::Constant`] as [`step`](crate::step()).
pub fn step_8bit(method: &AdamW, args: Step8bit<'_>) -> Result<()> {
    let Step8bit { gradients, parameters, exp_avg, exp_avg_sq, grad_scale, .. } = args;
    let len = parameters.len();
    check(len, gradients.len(), &exp_avg, &exp_avg_sq)?;
    let rates = rates(method, len, args.learning_rate, args.step)?;
    if grad_scale.is_nan() {
        return Ok(());
    }
    let values = parameters.par_chunks_mut(TASK * BLOCK_SIZE).zip(gradients.par_chunks(TASK * BLOCK_SIZE));
    let moments = tasks(exp_avg).zip(tasks(exp_avg_sq));
    values.zip(moments).for_each(|((parameters, gradients), ((m, m_absmax), (v, v_absmax)))| {
        let scales = m_absmax.iter_mut().zip(v_absmax);
        for (block, (m_absmax, v_absmax)) in scales.enumerate() {
            let part = part(block, parameters.len());
            update_block(
                rates,
                grad_scale,
                &gradients[part.clone()],
                &mut parameters[part.clone()],
                [(&mut m[part.clone()], m_absmax), (&mut v[part], v_absmax)],
            );
        }
    });
    Ok(())
}

/// The codes and scales of each task.
fn tasks(moment: Codes<'_>) -> impl IndexedParallelIterator<Item = (&mut [u8], &mut [f32])> {
    moment.codes.par_chunks_mut(TASK * BLOCK_SIZE).zip(moment.absmax.par_chunks_mut(TASK))
}

/// Parameters of block `block` of `len`.
fn part(block: usize, len: usize) -> Range<usize> {
    block * BLOCK_SIZE..len.min((block + 1) * BLOCK_SIZE)
}

fn update_block(
    rates: Rates,
    grad_scale: f32,
    gradients: &[f32],
    parameters: &mut [f32],
    [(m, m_absmax), (v, v_absmax)]: [(&mut [u8], &mut f32); 2],
) {
    let (mut exp_avg, mut exp_avg_sq) = ([0.0; BLOCK_SIZE], [0.0; BLOCK_SIZE]);
    let (exp_avg, exp_avg_sq) = (&mut exp_avg[..m.len()], &mut exp_avg_sq[..v.len()]);
    dequantize_block(DynamicMap::signed(), m, *m_absmax, exp_avg);
    dequantize_block(DynamicMap::unsigned(), v, *v_absmax, exp_avg_sq);
    dispatch(Update { rates, grad_scale, gradients, parameters, exp_avg, exp_avg_sq });
    *m_absmax = quantize_block(DynamicMap::signed(), exp_avg, m);
    *v_absmax = quantize_block(DynamicMap::unsigned(), exp_avg_sq, v);
}

fn check(len: usize, gradients: usize, exp_avg: &Codes<'_>, exp_avg_sq: &Codes<'_>) -> Result<()> {
    let blocks = num_code_blocks(len);
    let lengths = [
        ("gradients", len, gradients),
        ("exp_avg", len, exp_avg.codes.len()),
        ("exp_avg.absmax", blocks, exp_avg.absmax.len()),
        ("exp_avg_sq", len, exp_avg_sq.codes.len()),
        ("exp_avg_sq.absmax", blocks, exp_avg_sq.absmax.len()),
    ];
    match lengths.into_iter().find(|(_, expected, got)| expected != got) {
        Some((argument, expected, got)) => Err(AdamWError::Length { argument, expected, got }),
        None => Ok(()),
    }
}

/// The rates of a tensor that is a group of its own.
pub(crate) fn rates(method: &AdamW, len: usize, learning_rate: f64, step: u64) -> Result<Rates> {
    check_method(method, step)?;
    let group = Group { range: 0..len, learning_rate: 1.0, weight_decay: 1.0 };
    Ok(Rates::new(method, &group, learning_rate, step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Codes and scales.
    type Moment = (Vec<u8>, Vec<f32>);

    /// Parameters and moments after some steps.
    fn run(len: usize, steps: u64, seed: u64) -> (Vec<f32>, [Moment; 2]) {
        let stream = device::philox::Stream::new(seed, 0, 0);
        let mut parameters: Vec<f32> = (0..len as u64).map(|i| stream.normal(i)).collect();
        let mut moments = [(); 2].map(|()| (vec![0u8; len], vec![0.0f32; num_code_blocks(len)]));
        for step in 1..=steps {
            let gradients: Vec<f32> = (0..len as u64).map(|i| stream.normal(step << 32 | i)).collect();
            let [m, v] = &mut moments;
            step_8bit(
                &AdamW::default(),
                Step8bit {
                    step,
                    learning_rate: 1e-3,
                    grad_scale: 0.5,
                    gradients: &gradients,
                    parameters: &mut parameters,
                    exp_avg: Codes { codes: &mut m.0, absmax: &mut m.1 },
                    exp_avg_sq: Codes { codes: &mut v.0, absmax: &mut v.1 },
                },
            )
            .unwrap();
        }
        (parameters, moments)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn the_first_step_is_that_of_moments_in_f32(len in 0usize..3000, seed in any::<u64>()) {
            let stream = device::philox::Stream::new(seed, 0, 0);
            let mut parameters: Vec<f32> = (0..len as u64).map(|i| stream.normal(i)).collect();
            let gradients: Vec<f32> = (0..len as u64).map(|i| stream.normal(1 << 32 | i)).collect();
            crate::step(&AdamW::default(), crate::Step {
                step: 1,
                learning_rate: 1e-3,
                grad_scale: 0.5,
                groups: &[Group { range: 0..len, learning_rate: 1.0, weight_decay: 1.0 }],
                gradients: &gradients,
                parameters: &mut parameters,
                exp_avg: &mut vec![0.0; len],
                exp_avg_sq: &mut vec![0.0; len],
            }).unwrap();
            prop_assert_eq!(run(len, 1, seed).0, parameters);
        }

        #[test]
        fn threads_change_no_bit(len in 0usize..50_000, seed in any::<u64>()) {
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| run(len, 2, seed))
            };
            prop_assert_eq!(on(1), on(3));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refuse = |gradients: usize, absmax: usize, step| {
            let mut parameters = [1.0f32; 300];
            let result = step_8bit(
                &AdamW::default(),
                Step8bit {
                    step,
                    learning_rate: 1e-3,
                    grad_scale: 1.0,
                    gradients: &vec![1.0; gradients],
                    parameters: &mut parameters,
                    exp_avg: Codes { codes: &mut [0; 300], absmax: &mut [0.0; 2] },
                    exp_avg_sq: Codes { codes: &mut [0; 300], absmax: &mut vec![0.0; absmax] },
                },
            );
            assert_eq!(parameters, [1.0; 300]);
            result.unwrap_err()
        };
        assert!(matches!(refuse(299, 2, 1), AdamWError::Length { argument: "gradients", expected: 300, got: 299 }));
        assert!(matches!(refuse(300, 1, 1), AdamWError::Length { argument: "exp_avg_sq.absmax", expected: 2, got: 1 }));
        assert!(matches!(refuse(300, 2, 0), AdamWError::Constant { name: "step", .. }));
    }
}
