//! One step of AdamW.

use std::ops::Range;

use device::simd::{Isa, Kernel, dispatch};
use rayon::prelude::*;

use crate::{AdamWError, Result};

/// Constants of the method, with the names and defaults of `torch.optim.AdamW`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the denominator.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 }
    }
}

/// Parameters that share their learning rate and weight decay.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Where they lie in the flat buffer.
    pub range: Range<usize>,
    /// Factor of the learning rate.
    pub learning_rate: f64,
    /// Factor of the weight decay: 0 for biases and norms.
    pub weight_decay: f64,
}

/// The buffers of one step, all of the same length.
#[derive(Debug)]
pub struct Step<'a> {
    /// Number of this step, from 1.
    pub step: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Factor of every gradient: the clip coefficient. With NaN nothing is changed.
    pub grad_scale: f32,
    /// The groups, one after another from parameter 0 to the last.
    pub groups: &'a [Group],
    /// Gradients.
    pub gradients: &'a [f32],
    /// Parameters, updated.
    pub parameters: &'a mut [f32],
    /// First moments, updated; zero before step 1.
    pub exp_avg: &'a mut [f32],
    /// Second moments, updated; zero before step 1.
    pub exp_avg_sq: &'a mut [f32],
}

/// Updates parameters and moments.
///
/// # Errors
/// [`AdamWError::Length`], [`AdamWError::Group`] and [`AdamWError::Uncovered`] for buffers and groups that do not fit;
/// [`AdamWError::Constant`] for a step 0 or a beta, epsilon or rate outside its range.
pub fn step(method: &AdamW, args: Step<'_>) -> Result<()> {
    check(method, &args)?;
    if args.grad_scale.is_nan() {
        return Ok(());
    }
    let Step { mut parameters, mut exp_avg, mut exp_avg_sq, mut gradients, .. } = args;
    for group in args.groups {
        let len = group.range.len();
        let rates = Rates::new(method, group, args.learning_rate, args.step);
        update(
            (rates, args.grad_scale),
            gradients.split_off(..len).unwrap_or_default(),
            parameters.split_off_mut(..len).unwrap_or_default(),
            exp_avg.split_off_mut(..len).unwrap_or_default(),
            exp_avg_sq.split_off_mut(..len).unwrap_or_default(),
        );
    }
    Ok(())
}

fn check(method: &AdamW, args: &Step<'_>) -> Result<()> {
    let parameters = args.parameters.len();
    let lengths =
        [("gradients", args.gradients.len()), ("exp_avg", args.exp_avg.len()), ("exp_avg_sq", args.exp_avg_sq.len())];
    for (argument, got) in lengths {
        if got != parameters {
            return Err(AdamWError::Length { argument, expected: parameters, got });
        }
    }
    check_groups(args.groups, parameters)?;
    check_method(method, args.step)
}

/// Groups must follow each other from the first parameter to the last.
pub(crate) fn check_groups(groups: &[Group], parameters: usize) -> Result<()> {
    let mut expected = 0;
    for (index, &Group { range: Range { start, end }, .. }) in groups.iter().enumerate() {
        if start != expected || end < start || end > parameters {
            return Err(AdamWError::Group { index, start, end, expected, parameters });
        }
        expected = end;
    }
    if expected != parameters {
        return Err(AdamWError::Uncovered { end: expected, parameters });
    }
    Ok(())
}

/// Constants must lie where the method is defined.
pub(crate) fn check_method(method: &AdamW, step: u64) -> Result<()> {
    let unit = 0.0..1.0;
    let constants = [
        ("beta1", method.beta1, unit.contains(&method.beta1), "a number in [0, 1)"),
        ("beta2", method.beta2, unit.contains(&method.beta2), "a number in [0, 1)"),
        ("epsilon", method.epsilon, method.epsilon >= 0.0, "a number that is not negative"),
        ("weight_decay", method.weight_decay, method.weight_decay >= 0.0, "a number that is not negative"),
        ("step", step as f64, step >= 1, "a step from 1 on"),
    ];
    match constants.into_iter().find(|(_, _, valid, _)| !valid) {
        Some((name, value, _, expected)) => Err(AdamWError::Constant { name, value, expected }),
        None => Ok(()),
    }
}

/// What a step multiplies by, computed in f64 and rounded once.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) keep: f32,
    pub(crate) one_minus_beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) one_minus_beta2: f32,
    pub(crate) sqrt_bias_correction2: f32,
    pub(crate) epsilon: f32,
    pub(crate) step_size: f32,
}

impl Rates {
    pub(crate) fn new(method: &AdamW, group: &Group, learning_rate: f64, step: u64) -> Self {
        let learning_rate = learning_rate * group.learning_rate;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        Self {
            keep: (1.0 - learning_rate * method.weight_decay * group.weight_decay) as f32,
            one_minus_beta1: (1.0 - method.beta1) as f32,
            beta2: method.beta2 as f32,
            one_minus_beta2: (1.0 - method.beta2) as f32,
            sqrt_bias_correction2: correction(method.beta2).sqrt() as f32,
            epsilon: method.epsilon as f32,
            step_size: (learning_rate / correction(method.beta1)) as f32,
        }
    }
}

fn update(
    (rates, grad_scale): (Rates, f32),
    gradients: &[f32],
    parameters: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    /// Elements of one block: 64 KiB of each buffer.
    const BLOCK: usize = 1 << 14;
    let moments = exp_avg.par_chunks_mut(BLOCK).zip(exp_avg_sq.par_chunks_mut(BLOCK));
    let blocks = parameters.par_chunks_mut(BLOCK).zip(gradients.par_chunks(BLOCK)).zip(moments);
    blocks.for_each(|((parameters, gradients), (exp_avg, exp_avg_sq))| {
        dispatch(Update { rates, grad_scale, gradients, parameters, exp_avg, exp_avg_sq });
    });
}

/// The update of some parameters.
pub(crate) struct Update<'a> {
    pub(crate) rates: Rates,
    pub(crate) grad_scale: f32,
    pub(crate) gradients: &'a [f32],
    pub(crate) parameters: &'a mut [f32],
    pub(crate) exp_avg: &'a mut [f32],
    pub(crate) exp_avg_sq: &'a mut [f32],
}

impl Kernel for Update<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let r = self.rates;
        let moments = self.exp_avg.iter_mut().zip(self.exp_avg_sq);
        // Products and sums are rounded apart, as in PyTorch: no fused multiply-add here.
        for ((p, &g), (m, v)) in self.parameters.iter_mut().zip(self.gradients).zip(moments) {
            let g = g * self.grad_scale;
            *m += r.one_minus_beta1 * (g - *m);
            *v = *v * r.beta2 + r.one_minus_beta2 * g * g;
            let denominator = v.sqrt() / r.sqrt_bias_correction2 + r.epsilon;
            *p = *p * r.keep - r.step_size * *m / denominator;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one_group(len: usize) -> [Group; 1] {
        [Group { range: 0..len, learning_rate: 1.0, weight_decay: 1.0 }]
    }

    proptest! {
        #[test]
        fn the_first_step_moves_against_the_sign_of_the_gradient(
            gradients in proptest::collection::vec(prop_oneof![-1e3f32..-1e-3, 1e-3f32..1e3], 1..100),
            learning_rate in 1e-5f64..1e-1,
        ) {
            // Without decay and epsilon, m / sqrt(v) is the sign after bias correction.
            let method = AdamW { epsilon: 0.0, weight_decay: 0.0, ..AdamW::default() };
            let mut parameters = vec![0.0; gradients.len()];
            let (mut exp_avg, mut exp_avg_sq) = (parameters.clone(), parameters.clone());
            step(&method, Step {
                step: 1,
                learning_rate,
                grad_scale: 1.0,
                groups: &one_group(gradients.len()),
                gradients: &gradients,
                parameters: &mut parameters,
                exp_avg: &mut exp_avg,
                exp_avg_sq: &mut exp_avg_sq,
            }).unwrap();
            for (p, g) in parameters.iter().zip(&gradients) {
                let expected = -learning_rate * f64::from(g.signum());
                // Ten roundings; 1 - beta2 alone loses 13 bits in the bias correction of f32 constants.
                prop_assert!((f64::from(*p) - expected).abs() <= 1e-5 * learning_rate, "{} {}", p, expected);
            }
        }

        #[test]
        fn groups_and_threads_change_no_bit(cut in 0usize..50_000, seed: u64) {
            const LEN: usize = 50_000;
            let stream = device::philox::Stream::new(seed, 0, 0);
            let values: Vec<f32> = (0..LEN as u64).map(|i| stream.uniform(i) - 0.5).collect();
            let run = |groups: &[Group], threads: usize| {
                let (mut parameters, mut exp_avg, mut exp_avg_sq) = (values.clone(), values.clone(), vec![0.5; LEN]);
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| step(&AdamW::default(), Step {
                    step: 7,
                    learning_rate: 1e-3,
                    grad_scale: 0.5,
                    groups,
                    gradients: &values,
                    parameters: &mut parameters,
                    exp_avg: &mut exp_avg,
                    exp_avg_sq: &mut exp_avg_sq,
                })).unwrap();
                (parameters, exp_avg, exp_avg_sq)
            };
            let [whole] = one_group(LEN);
            let halves = [Group { range: 0..cut, ..whole.clone() }, Group { range: cut..LEN, ..whole.clone() }];
            prop_assert!(run(&[whole], 1) == run(&halves, 3));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let refuse = |method: AdamW, groups: &[Group], step_number: u64, gradients: usize| {
            let mut parameters = [1.0; 3];
            let result = step(
                &method,
                Step {
                    step: step_number,
                    learning_rate: 1e-3,
                    grad_scale: 1.0,
                    groups,
                    gradients: &vec![1.0; gradients],
                    parameters: &mut parameters,
                    exp_avg: &mut [0.0; 3],
                    exp_avg_sq: &mut [0.0; 3],
                },
            );
            assert_eq!(parameters, [1.0; 3]);
            result.unwrap_err()
        };
        let method = AdamW::default();
        let [group] = one_group(3);
        let groups = |ranges: &[(usize, usize)]| {
            ranges.iter().map(|&(start, end)| Group { range: start..end, ..group.clone() }).collect::<Vec<_>>()
        };
        let wrong_length = refuse(method, &groups(&[(0, 3)]), 1, 2);
        assert!(matches!(wrong_length, AdamWError::Length { argument: "gradients", expected: 3, got: 2 }));
        assert!(matches!(
            refuse(method, &groups(&[(0, 1), (2, 3)]), 1, 3),
            AdamWError::Group { index: 1, expected: 1, .. }
        ));
        assert!(matches!(refuse(method, &groups(&[(0, 4)]), 1, 3), AdamWError::Group { index: 0, end: 4, .. }));
        assert!(matches!(refuse(method, &groups(&[(0, 2)]), 1, 3), AdamWError::Uncovered { end: 2, parameters: 3 }));
        assert!(matches!(refuse(method, &groups(&[(0, 3)]), 0, 3), AdamWError::Constant { name: "step", .. }));
        let nan = AdamW { beta2: f64::NAN, ..method };
        assert!(matches!(refuse(nan, &groups(&[(0, 3)]), 1, 3), AdamWError::Constant { name: "beta2", .. }));
    }
}
