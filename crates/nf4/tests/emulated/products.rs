//! Products with a quantized weight are those of the CPU within rounding.

use device::DType;
use device::launch::Architecture;
use device::launch::testing::{self, BF16_UNIT, UNIT, normal, read, upload};
use gemm::{Matrix, MatrixMut, Update, gemm};
use proptest::prelude::*;
use tunesmith_nf4::launch;

use crate::support::{Quantized, shifted};

#[derive(Clone, Copy, Debug)]
struct Case {
    num_tokens: usize,
    out_features: usize,
    in_features: usize,
    block_size: usize,
    nested: bool,
    rounded: DType,
    dtype: DType,
    bias: bool,
    add: bool,
    architecture: Architecture,
    seed: u64,
}

/// `A B` and what is added, with the size of each sum's terms.
fn expected(a: &[f32], b: Matrix<'_>, added: &[f32], tokens: usize) -> Vec<f32> {
    let (k, n) = (b.rows(), b.cols());
    let mut c = added.to_vec();
    let update = if added.is_empty() { Update::Overwrite } else { Update::Accumulate };
    c.resize(tokens * n, f32::NAN);
    gemm(1.0, Matrix::new(a, tokens, k), b, update, MatrixMut::new(&mut c, tokens, n)).unwrap();
    c
}

fn abs(values: &[f32]) -> Vec<f32> {
    values.iter().map(|x| x.abs()).collect()
}

/// Both sides round each of the `k` terms at most `k + 3` times, the tensor cores truncating where the CPU rounds; the size of the
/// terms is itself off by as little. bf16 results are rounded once more.
fn within(case: Case, k: usize, got: &[f32], expected: &[f32], size: &[f32]) -> Result<(), TestCaseError> {
    prop_assert_eq!(got.len(), expected.len());
    for (i, ((&got, &expected), &size)) in got.iter().zip(expected).zip(size).enumerate() {
        let mut bound = 3.03 * (k as f64 + 4.0) * UNIT * f64::from(size);
        if case.dtype == DType::BF16 {
            bound += BF16_UNIT * (f64::from(expected).abs() + bound);
        }
        let difference = (f64::from(got) - f64::from(expected)).abs();
        prop_assert!(difference <= bound, "[{i}]: {got}, expected {expected}, bound {bound:e}: {case:?}");
    }
    Ok(())
}

fn check(case: Case) -> Result<(), TestCaseError> {
    let Case { num_tokens, out_features, in_features, nested, rounded, dtype, seed, .. } = case;
    let executor = testing::executor_as(case.architecture, seed);
    let weight = Quantized::new(&normal(DType::F32, out_features * in_features, seed, 1), case.block_size);
    let mut on_device = weight.upload(&executor);
    let shift = usize::from(seed.is_multiple_of(4));
    on_device.packed = shifted(&on_device.packed, shift);
    let matrix = launch::Matrix::new(on_device.blocks(nested, rounded), [out_features, in_features]).unwrap();
    let w = weight.values(nested, rounded, dtype);
    let w_size = abs(&w);
    let as_matrix = |w| Matrix::new(w, out_features, in_features);
    let values = |len, site| normal(dtype, len, seed, site);

    let (x, bias) = (values(num_tokens * in_features, 2), values(out_features, 3));
    let mut y = executor.allocate(num_tokens * out_features * dtype.size_bytes()).unwrap();
    let (x_buffer, bias_buffer) = (upload(&executor, dtype, &x), upload(&executor, dtype, &bias));
    let x_buffer = shifted(&x_buffer, dtype.size_bytes() * shift);
    let bias_buffer = case.bias.then_some(&bias_buffer);
    let args = launch::Linear { dtype, num_tokens, x: &x_buffer, weight: matrix, bias: bias_buffer, y: &mut y };
    launch::linear(args).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let added = if case.bias { bias.repeat(num_tokens) } else { Vec::new() };
    let size = expected(&abs(&x), as_matrix(&w_size[..]).transposed(), &abs(&added), num_tokens);
    let y_expected = expected(&x, as_matrix(&w[..]).transposed(), &added, num_tokens);
    within(case, in_features, &read(dtype, &y), &y_expected, &size)?;

    let grad_y = values(num_tokens * out_features, 4);
    let start = values(num_tokens * in_features, 5);
    let mut grad_x = match case.add {
        true => upload(&executor, dtype, &start),
        false => executor.allocate(start.len() * dtype.size_bytes()).unwrap(),
    };
    let grad_y_buffer = upload(&executor, dtype, &grad_y);
    launch::grad_x(launch::GradX {
        dtype,
        num_tokens,
        grad_y: &grad_y_buffer,
        weight: matrix,
        grad_x: &mut grad_x,
        add: case.add,
    })
    .map_err(|e| TestCaseError::fail(e.to_string()))?;
    let added = if case.add { start } else { Vec::new() };
    let size = expected(&abs(&grad_y), as_matrix(&w_size[..]), &abs(&added), num_tokens);
    let grad_x_expected = expected(&grad_y, as_matrix(&w[..]), &added, num_tokens);
    within(case, out_features, &read(dtype, &grad_x), &grad_x_expected, &size)
}

/// At and around the edges of tiles and chunks, and small sizes.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..20, 2 => 60usize..70, 2 => 120usize..140, 1 => Just(256usize)]
}

fn case() -> impl Strategy<Value = Case> {
    let tokens = prop_oneof![3 => 0usize..12, 1 => size()];
    let block_size = proptest::sample::select(vec![32, 64, 256]);
    let dtypes =
        proptest::sample::select(vec![(DType::F32, DType::F32), (DType::BF16, DType::F32), (DType::BF16, DType::BF16)]);
    let sizes = (tokens, size(), size(), block_size);
    (sizes, dtypes, any::<(bool, bool, bool)>(), any::<u64>()).prop_map(
        |((num_tokens, out_features, in_features, block_size), (rounded, dtype), (nested, bias, add), seed)| Case {
            num_tokens,
            out_features,
            in_features,
            block_size,
            nested,
            rounded,
            dtype,
            bias,
            add,
            architecture: Architecture::Ampere,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn agree_with_the_cpu(case in case()) {
        check(case)?;
    }
}

/// With so many tokens the weight is dequantized before, and Hopper's tensor cores multiply.
#[test]
fn many_tokens_on_hopper() {
    let case = Case {
        num_tokens: 770,
        out_features: 136,
        in_features: 72,
        block_size: 64,
        nested: true,
        rounded: DType::BF16,
        dtype: DType::BF16,
        bias: true,
        add: true,
        architecture: Architecture::Hopper,
        seed: 3,
    };
    assert!(launch::dequantizes_first(case.architecture, case.dtype, case.num_tokens));
    check(case).unwrap();
    check(Case { num_tokens: 20, ..case }).unwrap();
}

/// A missing barrier or wait would show as a difference between the orders in which warps run.
#[test]
fn the_result_does_not_depend_on_the_schedule() {
    for (dtype, num_tokens) in [(DType::F32, 130), (DType::BF16, 130), (DType::BF16, 20), (DType::BF16, 5)] {
        let (out_features, in_features) = (136, 200);
        let weight = Quantized::new(&normal(DType::F32, out_features * in_features, 1, 0), 64);
        let run = |seed| {
            let executor = testing::executor(seed);
            let on_device = weight.upload(&executor);
            let weight = launch::Matrix::new(on_device.blocks(true, dtype), [out_features, in_features]).unwrap();
            let x = upload(&executor, dtype, &normal(dtype, num_tokens * in_features, 2, 0));
            let mut y = executor.allocate(num_tokens * out_features * dtype.size_bytes()).unwrap();
            let args = launch::Linear { dtype, num_tokens, x: &x, weight, bias: None, y: &mut y };
            launch::linear(args).unwrap();
            y.read::<u16>().unwrap()
        };
        let first = run(0);
        assert!((1..4).all(|seed| run(seed) == first));
    }
}
