//! Literal values, laws of the projection, and gradients against finite differences.

use device::DType;
use device::philox::Stream;
use gemm::{Matrix, Update};
use proptest::prelude::*;

use crate::*;

/// One projection with its own memory.
#[derive(Clone, Debug)]
struct Case {
    shape: LoraShape,
    x: Vec<f32>,
    weight: Vec<f32>,
    in_out: bool,
    bias: Option<Vec<f32>>,
    lora_a: Vec<f32>,
    lora_b: Vec<f32>,
    lora_bias: Option<Vec<f32>>,
    scaling: f32,
    dropout: Option<Dropout>,
}

fn normal(len: usize, site: u32) -> Vec<f32> {
    (0..len as u64).map(|i| Stream::new(5, 0, site).normal(i)).collect()
}

impl Case {
    fn new(n: usize, inputs: usize, outputs: usize, rank: usize) -> Self {
        Self {
            shape: LoraShape::new(n, inputs, outputs, rank).unwrap(),
            x: normal(n * inputs, 1),
            weight: normal(outputs * inputs, 2),
            in_out: false,
            bias: None,
            lora_a: normal(rank * inputs, 3),
            lora_b: normal(outputs * rank, 4),
            lora_bias: None,
            scaling: 0.75,
            dropout: None,
        }
    }

    fn weight(&self) -> Matrix<'_> {
        let (outputs, inputs) = (self.shape.out_features(), self.shape.in_features());
        match self.in_out {
            true => Matrix::new(&self.weight[..], inputs, outputs).transposed(),
            false => Matrix::new(&self.weight[..], outputs, inputs),
        }
    }

    fn adapter(&self) -> Adapter<'_> {
        Adapter {
            lora_a: &self.lora_a,
            lora_b: &self.lora_b,
            lora_bias: self.lora_bias.as_deref(),
            scaling: self.scaling,
            dropout: self.dropout,
        }
    }

    fn input(&self) -> Input<'_> {
        Input::forward(&self.x, self.shape.x(), DType::F32).unwrap()
    }

    /// What [`Case::backward`] differentiates by, in its order. The lora bias must be there.
    fn inputs_mut(&mut self) -> [&mut [f32]; 4] {
        let Self { x, lora_a, lora_b, lora_bias, .. } = self;
        [x, lora_a, lora_b, lora_bias.as_mut().unwrap()]
    }

    /// `y` and `s`.
    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let mut y = vec![f32::NAN; self.shape.num_tokens() * self.shape.out_features()];
        let mut s = vec![f32::NAN; self.shape.num_tokens() * self.shape.rank()];
        let bias = self.bias.as_deref().map(Into::into);
        let (input, weight, adapter) = (self.input(), self.weight(), self.adapter());
        let arguments = Forward { input: &input, weight: Some(weight), bias, adapter, y: &mut y, s: &mut s };
        forward(&self.shape, arguments).unwrap();
        (y, s)
    }

    /// Gradients of `sum(grad_y * y)`, by x, A, B and lora bias; with `Accumulate`, added to `start`.
    fn backward(&self, grad_y: &[f32], update: Update<'_>, start: f32) -> [Vec<f32>; 4] {
        let sizes = [self.x.len(), self.lora_a.len(), self.lora_b.len(), self.shape.out_features()];
        let mut grads = sizes.map(|n| vec![start; n]);
        let s = self.forward().1;
        let (weight, adapter) = (self.weight(), self.adapter());
        let input = Input::saved(self.x[..].into(), self.shape.x(), DType::F32, &[adapter]).unwrap();
        let saved = Saved { input: &input, weight: Some(weight), adapter, s: &s };
        let backward = Backward::new(&self.shape, saved, grad_y).unwrap();
        grad_x(std::slice::from_ref(&backward), update, &mut grads[0]).unwrap();
        backward.lora_a(update, &mut grads[1]).unwrap();
        backward.lora_b(update, &mut grads[2]).unwrap();
        backward.lora_bias(update, &mut grads[3]).unwrap();
        grads
    }
}

/// `|a - b| <= tolerance * (1 + |b|)` everywhere, with a tolerance for f32 sums of a few hundred terms of size one.
fn close(a: &[f32], b: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        let (difference, bound) = ((a - b).abs(), tolerance * (1.0 + b.abs()));
        prop_assert!(difference <= bound, "element {i}: {a} and {b}");
    }
    Ok(())
}

#[test]
fn known_values() {
    let mut case = Case::new(1, 2, 2, 1);
    case.x = vec![1.0, 2.0];
    case.weight = vec![1.0, 0.0, 0.0, 1.0];
    case.lora_a = vec![3.0, 4.0];
    case.lora_b = vec![1.0, -1.0];
    case.scaling = 0.5;
    case.bias = Some(vec![10.0, 20.0]);
    case.lora_bias = Some(vec![2.0, 4.0]);
    // s = 0.5 (3 + 8) = 5.5; y = x + bias + 5.5 [1, -1] + 0.5 [2, 4].
    assert_eq!(case.forward(), (vec![17.5, 18.5], vec![5.5]));
    // dS = 0.5 (1 * 1 + 2 * -1) = -0.5; dX = dY + dS A; dA = dS x; dB = dY s.
    let grads = case.backward(&[1.0, 2.0], Update::Overwrite, f32::NAN);
    let expected: [&[f32]; 4] = [&[-0.5, 0.0], &[-0.5, -1.0], &[5.5, 11.0], &[0.5, 1.0]];
    assert_eq!(grads.each_ref().map(Vec::as_slice), expected);
}

/// The directional derivative of every input against central differences in f64 of the f32 loss.
#[test]
fn gradients_agree_with_finite_differences() {
    for (in_out, probability) in [(false, 0.0), (true, 0.3)] {
        let mut case = Case::new(7, 9, 11, 3);
        case.in_out = in_out;
        case.bias = Some(normal(11, 6));
        case.lora_bias = Some(normal(11, 7));
        case.dropout = Some(Dropout::new(probability, Stream::new(1, 2, 3)).unwrap());
        let grad_y = normal(7 * 11, 8);
        let loss = |case: &Case| -> f64 {
            case.forward().0.iter().zip(&grad_y).map(|(&y, &g)| f64::from(y) * f64::from(g)).sum()
        };
        let grads = case.backward(&grad_y, Update::Overwrite, f32::NAN);
        for (which, grad) in grads.iter().enumerate() {
            for (i, &grad) in grad.iter().enumerate() {
                // The loss is quadratic in a direction at most, so a wide step costs no accuracy of its own.
                let step = 0.5f32;
                let value = |change: f32| {
                    let mut moved = case.clone();
                    moved.inputs_mut()[which][i] += change;
                    loss(&moved)
                };
                let numeric = (value(step) - value(-step)) / f64::from(2.0 * step);
                // Rounding of 77 outputs of size ten: 77 * 10 * 2^-24 each way.
                let difference = (numeric - f64::from(grad)).abs();
                assert!(difference <= 2e-4, "input {which}, element {i}: {grad}, numerically {numeric}");
            }
        }
        for (again, grad) in case.backward(&grad_y, Update::Accumulate, 1.0).iter().zip(&grads) {
            let expected: Vec<f32> = grad.iter().map(|g| g + 1.0).collect();
            close(again, &expected, 1e-5).unwrap();
        }
    }
}

#[test]
fn wrong_arguments_are_named() {
    let case = Case::new(2, 3, 4, 2);
    let mut short = case.clone();
    short.lora_b.pop();
    let error = |case: &Case, weight: Matrix<'_>, s_len: usize| {
        let (input, adapter) = (&case.input(), case.adapter());
        let (y, s) = (&mut [0.0; 8], &mut [0.0; 4][..s_len]);
        let arguments = Forward { input, weight: Some(weight), bias: None, adapter, y, s };
        forward(&case.shape, arguments).unwrap_err().to_string()
    };
    assert_eq!(error(&short, case.weight(), 4), "lora: `lora_b` holds 7 elements, expected 4 x 2 = 8");
    assert_eq!(
        error(&case, case.weight().transposed(), 4),
        "lora: `weight` is [3, 4], expected [out_features, in_features] = [4, 3]"
    );
    assert_eq!(error(&case, case.weight(), 3), "lora: `s` holds 3 elements, expected 2 x 2 = 4");
    let short_input = Input::forward(&case.x[..5], case.shape.x(), DType::F32);
    assert!(matches!(short_input, Err(LoraError::Length { argument: "x", shape: [2, 3], got: 5 })));
    let (input, weight, adapter) = (case.input(), case.weight(), case.adapter());
    let saved = Saved { input: &input, weight: Some(weight), adapter, s: &[0.0; 4] };
    assert!(matches!(
        Backward::new(&case.shape, saved, &[0.0; 7]),
        Err(LoraError::Length { argument: "grad_y", shape: [2, 4], got: 7 })
    ));
    let backward = Backward::new(&case.shape, saved, &[0.0; 8]).unwrap();
    let short = grad_x(&[backward], Update::Overwrite, &mut [0.0; 5]);
    assert!(matches!(short, Err(LoraError::Length { argument: "grad_x", .. })));
    assert!(matches!(LoraShape::new(1, 1, 1, 0), Err(LoraError::RankZero)));
    assert!(matches!(LoraShape::new(usize::MAX, 8, 8, 2), Err(LoraError::TooLarge { .. })));
    assert!(matches!(LoraShape::new(1, 1 << 40, 1 << 40, 2), Err(LoraError::TooLarge { .. })));
}

/// Two projections of one input, one of them behind a dropout: the gradients of `x` add up, the others are those of each.
#[test]
fn a_group_is_its_projections() {
    let dropout = Dropout::new(0.3, Stream::new(1, 2, 3)).unwrap();
    for (tokens, dropout) in [(40, None), (40, Some(dropout)), (3, None)] {
        let first = Case::new(tokens, 70, 50, 12);
        let second = Case { dropout, weight: normal(70 * 33, 9), ..Case::new(tokens, 70, 33, 16) };
        let grads_y = [normal(tokens * 50, 10), normal(tokens * 33, 11)];
        let cases = [&first, &second];
        let alone = [0, 1].map(|i| cases[i].backward(&grads_y[i], Update::Overwrite, f32::NAN));

        let input = Input::saved(first.x[..].into(), first.shape.x(), DType::F32, &cases.map(Case::adapter)).unwrap();
        let s = cases.map(|case| case.forward().1);
        let group = [0, 1].map(|i| {
            let (weight, adapter) = (Some(cases[i].weight()), cases[i].adapter());
            let saved = Saved { input: &input, weight, adapter, s: &s[i] };
            Backward::new(&cases[i].shape, saved, &grads_y[i]).unwrap()
        });
        for (i, backward) in group.iter().enumerate() {
            let mut grad_a = vec![f32::NAN; cases[i].lora_a.len()];
            backward.lora_a(Update::Overwrite, &mut grad_a).unwrap();
            assert_eq!(grad_a, alone[i][1], "the same products in the same order");
        }
        let mut sum = vec![1.0; first.x.len()];
        grad_x(&group, Update::Accumulate, &mut sum).unwrap();
        let expected: Vec<f32> = alone[0][0].iter().zip(&alone[1][0]).map(|(a, b)| 1.0 + a + b).collect();
        // Sums of 95 terms of size one, in another order.
        close(&sum, &expected, 1e-4).unwrap();
    }
    let (one, other) = (Case::new(2, 3, 4, 2), Case::new(2, 5, 4, 2));
    let inputs = [one.input(), other.input()];
    let group = [(&one, &inputs[0]), (&other, &inputs[1])].map(|(case, input)| {
        let saved = Saved { input, weight: Some(case.weight()), adapter: case.adapter(), s: &[0.0; 4] };
        Backward::new(&case.shape, saved, &[0.0; 8]).unwrap()
    });
    let message = grad_x(&group, Update::Overwrite, &mut [0.0; 6]).unwrap_err().to_string();
    assert_eq!(
        message,
        "lora: projection 1 of a group reads an input [2, 5], the first one [2, 3]; compute them apart"
    );
}

#[test]
fn no_tokens_are_no_work() {
    let case = Case { bias: Some(normal(4, 6)), ..Case::new(0, 3, 4, 2) };
    assert_eq!(case.forward(), (vec![], vec![]));
    assert!(case.backward(&[], Update::Accumulate, 0.5).iter().all(|grad| grad.iter().all(|&g| g == 0.5)));
}

fn case() -> impl Strategy<Value = Case> {
    (1usize..40, 1usize..70, 1usize..70, 1usize..20, any::<bool>(), any::<bool>()).prop_map(
        |(n, inputs, outputs, rank, in_out, biased)| {
            let bias = |site| biased.then(|| normal(outputs, site));
            Case { in_out, bias: bias(6), lora_bias: bias(7), ..Case::new(n, inputs, outputs, rank) }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn zero_b_is_the_base_projection(case in case(), scaling in -2.0f32..2.0) {
        let base = Case { lora_b: vec![0.0; case.lora_b.len()], lora_bias: None, scaling, ..case };
        let mut expected = base.forward().0;
        for (i, y) in expected.iter_mut().enumerate() {
            let (row, col) = (i / base.shape.out_features(), i % base.shape.out_features());
            let inputs = base.shape.in_features();
            let at = |k| if base.in_out { k * base.shape.out_features() + col } else { col * inputs + k };
            let exact: f64 = (0..inputs)
                .map(|k| f64::from(base.x[row * inputs + k]) * f64::from(base.weight[at(k)]))
                .sum();
            *y = (exact + base.bias.as_ref().map_or(0.0, |b| f64::from(b[col]))) as f32;
        }
        close(&base.forward().0, &expected, 2e-5)?;
    }

    #[test]
    fn a_merged_weight_gives_the_same_output(case in case()) {
        let adapted = Case { lora_bias: None, ..case };
        let mut merged = Case { lora_b: vec![0.0; adapted.lora_b.len()], ..adapted.clone() };
        let (outputs, inputs, rank) = (merged.shape.out_features(), merged.shape.in_features(), merged.shape.rank());
        for o in 0..outputs {
            for i in 0..inputs {
                let at = if merged.in_out { i * outputs + o } else { o * inputs + i };
                let terms = (0..rank).map(|r| adapted.lora_b[o * rank + r] * adapted.lora_a[r * inputs + i]);
                merged.weight[at] += adapted.scaling * terms.sum::<f32>();
            }
        }
        // Sums of products of up to 70 x 20 terms of size one.
        close(&adapted.forward().0, &merged.forward().0, 2e-4)?;
    }

    #[test]
    fn the_adapters_part_is_linear_in_scaling(case in case()) {
        let with = |scaling| Case { scaling, ..case.clone() }.forward().0;
        let (zero, one, two) = (with(0.0), with(1.0), with(2.0));
        let expected: Vec<f32> = zero.iter().zip(&one).map(|(zero, one)| zero + 2.0 * (one - zero)).collect();
        close(&two, &expected, 2e-4)?;
    }

    #[test]
    fn dropout_of_nothing_changes_nothing(mut case in case()) {
        let without = case.forward();
        case.dropout = Some(Dropout::new(0.0, Stream::new(9, 9, 9)).unwrap());
        prop_assert_eq!(case.forward(), without);
    }
}
