//! Cross-entropy of logits against next-token labels, summed over the supervised tokens.
//!
//! ```text
//! l        = logits, or cap * tanh(logits / cap) with a soft cap (Gemma 2)
//! loss     = sum over rows of logsumexp(l) - l[label]          rows whose label is -100 do not count
//! dlogits  = scale * (softmax(l) - onehot(label)) * (1 - (l / cap)^2)
//! ```
//!
//! `labels[i]` is what row `i` should predict: the caller has shifted them. Each row's sum is kept in f32 for 4096 terms
//! and in f64 beyond; rows are added in order in f64.

use device::math;
use device::simd::{Isa, Kernel, dispatch};
use rayon::prelude::*;

use crate::blocks::rows_per_block;
use crate::error::check_len;
use crate::reduce::{fold, max};
use crate::{Result, TransformerError, softcap};

const OP: &str = "cross_entropy";

/// The label of a token that is not trained on, as in Hugging Face.
pub const IGNORE_INDEX: i64 = -100;

/// Sizes and constants of one loss.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of logits, and labels.
    pub rows: usize,
    /// Columns of logits.
    pub vocab_size: usize,
    /// Soft cap of the logits.
    pub softcap: Option<f32>,
}

impl Shape {
    pub(crate) fn check(&self, labels: &[i64]) -> Result<()> {
        self.softcap.map_or(Ok(()), softcap::check)?;
        check_len(OP, "labels", &[self.rows], labels.len())?;
        let vocab_size = self.vocab_size;
        let known = |label: i64| label == IGNORE_INDEX || usize::try_from(label).is_ok_and(|l| l < vocab_size);
        match labels.iter().position(|&label| !known(label)) {
            Some(index) => Err(TransformerError::Label { index, label: labels[index], vocab_size }),
            None => Ok(()),
        }
    }

    fn check_logits(&self, logits: usize) -> Result<()> {
        check_len(OP, "logits", &[self.rows, self.vocab_size], logits)
    }
}

/// A sum of losses and what it was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Sum of the losses of the supervised tokens, in nats.
    pub loss: f64,
    /// Tokens whose label is not [`IGNORE_INDEX`].
    pub num_supervised: usize,
    /// Of those, how many labels have the largest logit; of equal logits the first counts.
    pub num_correct: usize,
}

impl LossSum {
    /// Adds another sum.
    pub fn add(&mut self, other: LossSum) {
        self.loss += other.loss;
        self.num_supervised += other.num_supervised;
        self.num_correct += other.num_correct;
    }
}

/// The loss of `logits`, `[rows, vocab_size]`.
///
/// # Errors
/// [`TransformerError::Label`] for a label outside the vocabulary; [`TransformerError::Softcap`];
/// [`TransformerError::Length`].
pub fn forward(shape: Shape, logits: &[f32], labels: &[i64]) -> Result<LossSum> {
    shape.check(labels)?;
    shape.check_logits(logits.len())?;
    let (vocab, block) = (shape.vocab_size.max(1), rows_per_block(shape.vocab_size));
    let blocks = logits.par_chunks(vocab * block).zip(labels.par_chunks(block));
    Ok(in_order(blocks.map(|(logits, labels)| {
        let rows = logits.chunks_exact(vocab).zip(labels);
        total(rows.map(|(row, &label)| supervised(label, |label| statistics(shape.softcap, row, label).0)))
    })))
}

/// The loss of `logits`, which are replaced by their gradient times `scale`. Rows that are not supervised become 0.
///
/// # Errors
/// As [`forward`].
pub fn forward_backward(shape: Shape, logits: &mut [f32], labels: &[i64], scale: f32) -> Result<LossSum> {
    shape.check(labels)?;
    shape.check_logits(logits.len())?;
    let (vocab, block) = (shape.vocab_size.max(1), rows_per_block(shape.vocab_size));
    let blocks = logits.par_chunks_mut(vocab * block).zip(labels.par_chunks(block));
    Ok(in_order(blocks.map(|(logits, labels)| {
        let rows = logits.chunks_exact_mut(vocab).zip(labels);
        total(rows.map(|(row, &label)| {
            if label == IGNORE_INDEX {
                row.fill(0.0);
            }
            supervised(label, |label| {
                let (sum, softmax) = statistics(shape.softcap, row, label);
                gradient(shape.softcap, row, label, softmax, scale);
                sum
            })
        }))
    })))
}

/// Adds the parts in order, whichever was done first.
fn in_order(parts: impl IndexedParallelIterator<Item = LossSum>) -> LossSum {
    total(parts.collect::<Vec<_>>().into_iter())
}

fn total(parts: impl Iterator<Item = LossSum>) -> LossSum {
    parts.fold(LossSum::default(), |mut sum, part| {
        sum.add(part);
        sum
    })
}

fn supervised(label: i64, row: impl FnOnce(usize) -> LossSum) -> LossSum {
    if label == IGNORE_INDEX { LossSum::default() } else { row(label as usize) }
}

/// The loss of one row, and its softmax in two numbers.
fn statistics(softcap: Option<f32>, row: &[f32], label: usize) -> (LossSum, Softmax) {
    match softcap {
        None => dispatch(Statistics { row, label, cap: Uncapped }),
        Some(cap) => dispatch(Statistics { row, label, cap: Capped::new(cap) }),
    }
}

fn gradient(softcap: Option<f32>, row: &mut [f32], label: usize, softmax: Softmax, scale: f32) {
    match softcap {
        None => dispatch(Gradient { row, label, softmax, scale, cap: Uncapped }),
        Some(cap) => dispatch(Gradient { row, label, softmax, scale, cap: Capped::new(cap) }),
    }
}

/// `softmax(l) = e^(l - max) / sum`. The logarithm of the sum, rounded to f32, would cost accuracy.
#[derive(Clone, Copy)]
struct Softmax {
    max: f32,
    sum: f64,
}

/// What happens to a logit before the softmax.
trait Cap: Copy {
    /// The capped logit, and its slope.
    fn cap<I: Isa>(self, logit: f32) -> (f32, f32);
}

#[derive(Clone, Copy)]
struct Uncapped;

impl Cap for Uncapped {
    #[inline(always)]
    fn cap<I: Isa>(self, logit: f32) -> (f32, f32) {
        (logit, 1.0)
    }
}

#[derive(Clone, Copy)]
struct Capped {
    cap: f32,
    inverse: f32,
}

impl Capped {
    fn new(cap: f32) -> Self {
        Self { cap, inverse: 1.0 / cap }
    }
}

impl Cap for Capped {
    #[inline(always)]
    fn cap<I: Isa>(self, logit: f32) -> (f32, f32) {
        let t = math::tanh::<I>(logit * self.inverse);
        (self.cap * t, I::mul_add(-t, t, 1.0))
    }
}

/// `e^z` for a logit `z` below the largest one, and 0 below `e^-69 = 1e-30`: far under the resolution of a sum that is at
/// least 1, and a gradient full of subnormal numbers would slow the products that read it a hundredfold.
#[inline(always)]
fn share<I: Isa>(z: f32) -> f32 {
    const LEAST: f32 = -69.0;
    let e = math::exp::<I>(if z < LEAST { LEAST } else { z });
    // This way round, NaN stays NaN.
    if z < LEAST { 0.0 } else { e }
}

struct Statistics<'a, C> {
    row: &'a [f32],
    label: usize,
    cap: C,
}

impl<C: Cap> Kernel for Statistics<'_, C> {
    type Output = (LossSum, Softmax);
    #[inline(always)]
    fn run<I: Isa>(self) -> (LossSum, Softmax) {
        const TERMS: usize = 4096;
        let Self { row, label, cap } = self;
        // A NaN is passed over here and found by the sum. Capping keeps the order.
        let largest = max(row);
        let max = cap.cap::<I>(largest).0;
        let mut sum = 0.0f64;
        for part in row.chunks(TERMS) {
            let terms = fold(part, part, part, |sum, x, _, _| sum + share::<I>(cap.cap::<I>(x).0 - max));
            sum += f64::from(terms);
        }
        let loss = sum.ln() + f64::from(max) - f64::from(cap.cap::<I>(row[label]).0);
        // Without an early exit the search is a vector loop.
        let came_before = |x| row[..label].iter().fold(false, |found, &other| found | (other == x));
        let is_correct = row[label] == largest && !came_before(largest);
        (LossSum { loss, num_supervised: 1, num_correct: is_correct.into() }, Softmax { max, sum })
    }
}

struct Gradient<'a, C> {
    row: &'a mut [f32],
    label: usize,
    softmax: Softmax,
    scale: f32,
    cap: C,
}

impl<C: Cap> Kernel for Gradient<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Self { row, label, softmax: Softmax { max, sum }, scale, cap } = self;
        let factor = (f64::from(scale) / sum) as f32;
        let at_label = scale * cap.cap::<I>(row[label]).1;
        for x in row.iter_mut() {
            let (capped, slope) = cap.cap::<I>(*x);
            *x = factor * slope * share::<I>(capped - max);
        }
        row[label] -= at_label;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numeric_gradient, values, widen, with_threads};
    use proptest::prelude::*;

    fn reference(shape: Shape, logits: &[f64], labels: &[i64]) -> f64 {
        let capped = |x: f64| shape.softcap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh());
        let rows = logits.chunks(shape.vocab_size).zip(labels).filter(|(_, label)| **label != IGNORE_INDEX);
        rows.map(|(row, &label)| row.iter().map(|&x| capped(x).exp()).sum::<f64>().ln() - capped(row[label as usize]))
            .sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn loss_and_gradient_are_the_formula(
            labels in proptest::collection::vec(prop_oneof![1 => Just(IGNORE_INDEX), 3 => 0i64..7], 1..6),
            extra in 0usize..100,
            cap in proptest::option::of(1f32..30.0),
            seed: u64,
        ) {
            let shape = Shape { rows: labels.len(), vocab_size: 7 + extra, softcap: cap };
            let mut logits = values(shape.rows * shape.vocab_size, seed, 8.0);
            let wide = widen(&logits);
            let sum = forward(shape, &logits, &labels).unwrap();
            let expected = reference(shape, &wide, &labels);
            // Logits up to 8 in f32; their exponentials to two units in the last place.
            prop_assert!((sum.loss - expected).abs() <= 5e-6 * labels.len() as f64, "{} {expected}", sum.loss);
            prop_assert_eq!(sum.num_supervised, labels.iter().filter(|&&l| l != IGNORE_INDEX).count());
            prop_assert_eq!(forward_backward(shape, &mut logits, &labels, 0.5).unwrap(), sum);
            let numeric = numeric_gradient(&wide, |logits| 0.5 * reference(shape, logits, &labels));
            assert_close(&logits, &numeric, 1e-6);
        }
    }

    #[test]
    fn an_accurate_prediction_is_counted_once() {
        let shape = Shape { rows: 4, vocab_size: 3, softcap: None };
        // Right, wrong, a tie that the first wins, ignored.
        let logits = [0.0, 5.0, 1.0, 5.0, 0.0, 1.0, 2.0, 2.0, 2.0, 0.0, 9.0, 0.0];
        let sum = forward(shape, &logits, &[1, 2, 0, IGNORE_INDEX]).unwrap();
        assert_eq!((sum.num_supervised, sum.num_correct), (3, 2));
        assert_eq!(forward(shape, &logits, &[1, 2, 1, IGNORE_INDEX]).unwrap().num_correct, 1);
    }

    #[test]
    fn large_logits_do_not_overflow_and_nan_is_not_hidden() {
        let shape = Shape { rows: 1, vocab_size: 3, softcap: None };
        assert_eq!(forward(shape, &[3e38, 0.0, f32::NEG_INFINITY], &[0]).unwrap().loss, 0.0);
        assert!(forward(shape, &[f32::NAN, 0.0, 1.0], &[2]).unwrap().loss.is_nan());
        let mut logits = [7.0; 3];
        let none = forward_backward(shape, &mut logits, &[IGNORE_INDEX], 1.0).unwrap();
        assert_eq!((none, logits), (LossSum::default(), [0.0; 3]));
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let shape = Shape { rows: 50, vocab_size: 5003, softcap: Some(30.0) };
        let logits = values(shape.rows * shape.vocab_size, 1, 20.0);
        let labels: Vec<i64> = (0..50).map(|i| i * 100).collect();
        let [one, four] = with_threads(|| {
            let mut logits = logits.clone();
            let sum = forward_backward(shape, &mut logits, &labels, 1.0).unwrap();
            (sum.loss.to_bits(), logits)
        });
        assert!(one == four);
    }

    #[test]
    fn labels_and_caps_are_checked() {
        let shape = Shape { rows: 2, vocab_size: 3, softcap: None };
        for label in [3, -1, i64::MAX] {
            let refused = forward(shape, &[0.0; 6], &[0, label]);
            assert!(
                matches!(refused, Err(TransformerError::Label { index: 1, label: l, vocab_size: 3 }) if l == label)
            );
        }
        assert!(matches!(forward(shape, &[0.0; 6], &[0]), Err(TransformerError::Length { argument: "labels", .. })));
        assert!(matches!(forward(shape, &[0.0; 5], &[0, 0]), Err(TransformerError::Length { argument: "logits", .. })));
        let capped = Shape { softcap: Some(0.0), ..shape };
        assert!(matches!(forward(capped, &[0.0; 6], &[0, 0]), Err(TransformerError::Softcap { .. })));
    }
}
