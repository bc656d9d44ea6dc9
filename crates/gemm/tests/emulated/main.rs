//! The kernels, emulated, against the CPU implementation.

mod scaled;

use device::launch::testing::{self, BF16_UNIT, UNIT};
use device::launch::{Architecture, DeviceBuffer, Executor};
use device::philox::Stream;
use device::{DType, DeviceError, Elements};
use half::bf16;
use proptest::prelude::*;
use tunesmith_gemm::{GemmError, Matrix, MatrixMut, Update, gemm, launch};

/// A matrix on the host and on the device, `[rows, cols]` after transposition.
struct Operand {
    dtype: DType,
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    buffer: DeviceBuffer,
    rows: usize,
    cols: usize,
    padding: usize,
    transposed: bool,
}

/// How an operand is stored.
#[derive(Clone, Copy, Debug)]
struct Stored {
    transposed: bool,
    padding: usize,
}

impl Operand {
    fn new(executor: &Executor, dtype: DType, [rows, cols]: [usize; 2], stored: Stored, site: u32) -> Self {
        let Stored { transposed, padding } = stored;
        let [stored_rows, stored_cols] = if transposed { [cols, rows] } else { [rows, cols] };
        let stream = Stream::new(3, 0, site);
        let mut f32: Vec<f32> = (0..stored_rows * (stored_cols + padding)).map(|i| stream.normal(i as u64)).collect();
        let bf16: Vec<bf16> = f32.iter().map(|&x| bf16::from_f32(x)).collect();
        let buffer = if dtype == DType::F32 { executor.upload(&f32) } else { executor.upload(&bf16) };
        if dtype == DType::BF16 {
            f32 = bf16.iter().map(|x| x.to_f32()).collect();
        }
        Self { dtype, f32, bf16, buffer: buffer.unwrap(), rows, cols, padding, transposed }
    }

    fn host(&self) -> Matrix<'_> {
        let elements = if self.dtype == DType::F32 { Elements::F32(&self.f32) } else { Elements::BF16(&self.bf16) };
        let [rows, cols] = self.stored();
        let matrix = Matrix::new(elements, rows, cols).with_row_stride(cols + self.padding);
        if self.transposed { matrix.transposed() } else { matrix }
    }

    fn device(&self) -> launch::Matrix<'_> {
        let [rows, cols] = self.stored();
        let matrix = launch::Matrix::new(&self.buffer, self.dtype, rows, cols).with_row_stride(cols + self.padding);
        if self.transposed { matrix.transposed() } else { matrix }
    }

    fn stored(&self) -> [usize; 2] {
        if self.transposed { [self.cols, self.rows] } else { [self.rows, self.cols] }
    }

    /// The same matrix with all elements made positive: what errors are relative to.
    fn magnitudes(&self) -> Vec<f32> {
        self.f32.iter().map(|x| x.abs()).collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum With {
    Nothing,
    C,
    Bias,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    a: Stored,
    b: Stored,
    c_padding: usize,
    dtype: DType,
    wide: bool,
    alpha: f32,
    update: With,
    architecture: Architecture,
    seed: u64,
}

/// Computes a case on both sides and compares every element, and what lies between rows.
fn check(case: Case) -> Result<(), TestCaseError> {
    let Case { m, n, k, dtype, alpha, .. } = case;
    let executor = testing::executor_as(case.architecture, case.seed);
    let a = Operand::new(&executor, dtype, [m, k], case.a, 1);
    let b = Operand::new(&executor, dtype, [k, n], case.b, 2);
    let bias = Operand::new(&executor, dtype, [1, n], Stored { transposed: false, padding: 0 }, 3);
    let c_dtype = if case.wide { DType::F32 } else { dtype };
    let c_stride = n + case.c_padding;
    let mut c = Operand::new(&executor, c_dtype, [m, n], Stored { transposed: false, padding: case.c_padding }, 4);
    let before = c.f32.clone();

    let mut expected = before.clone();
    let update = match case.update {
        With::Nothing => Update::Overwrite,
        With::C => Update::Accumulate,
        With::Bias => Update::Bias(&bias.f32),
    };
    let to = MatrixMut::new(&mut expected, m, n).with_row_stride(c_stride);
    gemm(alpha, a.host(), b.host(), update, to).unwrap();
    // The sum of the terms' magnitudes, by the CPU as well.
    let mut size = before.iter().map(|x| x.abs()).collect::<Vec<_>>();
    let (a_size, b_size, bias_size) = (a.magnitudes(), b.magnitudes(), bias.magnitudes());
    let positive = |values, operand: &Operand| {
        let [rows, cols] = operand.stored();
        let matrix = Matrix::new(values, rows, cols).with_row_stride(cols + operand.padding);
        if operand.transposed { matrix.transposed() } else { matrix }
    };
    let (a_size, b_size) = (positive(&a_size[..], &a), positive(&b_size[..], &b));
    let size_update = match case.update {
        With::Bias => Update::Bias(&bias_size),
        With::Nothing => Update::Overwrite,
        With::C => Update::Accumulate,
    };
    let to = MatrixMut::new(&mut size, m, n).with_row_stride(c_stride);
    gemm(alpha.abs(), a_size, b_size, size_update, to).unwrap();

    let update = match case.update {
        With::Nothing => launch::Update::Overwrite,
        With::C => launch::Update::Accumulate,
        With::Bias => launch::Update::Bias(&bias.buffer),
    };
    let to = launch::MatrixMut::new(&mut c.buffer, c_dtype, m, n).with_row_stride(c_stride);
    launch::gemm(alpha, a.device(), b.device(), update, to).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let got: Vec<f32> = match c_dtype {
        DType::F32 => c.buffer.read().unwrap(),
        _ => c.buffer.read::<bf16>().unwrap().into_iter().map(bf16::to_f32).collect(),
    };
    for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
        if i % c_stride >= n {
            prop_assert_eq!(got.to_bits(), before[i].to_bits(), "padding was written: {:?}", case);
            continue;
        }
        // On each side a term passes through k additions at most, counting those of slabs, and three roundings of products
        // and the addend; the sum of magnitudes is itself off by as little. bf16 results are rounded once more.
        let mut bound = 2.02 * (k as f64 + 4.0) * UNIT * f64::from(size[i]);
        if c_dtype == DType::BF16 {
            bound += BF16_UNIT * (f64::from(expected).abs() + bound);
        }
        let difference = (f64::from(got) - f64::from(expected)).abs();
        prop_assert!(
            difference <= bound,
            "C[{}, {}] = {got}, expected {expected}, bound {bound:e}: {case:?}",
            i / c_stride,
            i % c_stride
        );
    }
    Ok(())
}

/// At and around the edges of tiles and vectors, and small sizes.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..20, 3 => 60usize..70, 2 => 120usize..140]
}

fn case() -> impl Strategy<Value = Case> {
    let stored = || (any::<bool>(), prop_oneof![Just(0usize), 1usize..9]);
    let stored = move || stored().prop_map(|(transposed, padding)| Stored { transposed, padding });
    let update = proptest::sample::select(vec![With::Nothing, With::C, With::Bias]);
    let depth = prop_oneof![3 => size(), 1 => 1020usize..1100];
    let architecture = proptest::sample::select(vec![Architecture::Ampere, Architecture::Hopper]);
    let kind = (any::<bool>(), any::<bool>(), proptest::sample::select(vec![1.0f32, -0.5]), update);
    (size(), size(), depth, stored(), stored(), 0usize..5, kind, architecture, any::<u64>()).prop_map(
        |(m, n, k, a, b, c_padding, (f32, wide, alpha, update), architecture, seed)| {
            let dtype = if f32 { DType::F32 } else { DType::BF16 };
            Case { m, n, k, a, b, c_padding, dtype, wide, alpha, update, architecture, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn agrees_with_the_cpu(case in case()) {
        check(case)?;
    }
}

/// More tiles than a group, more than one slab, aligned and unaligned.
#[test]
fn many_tiles_and_slabs() {
    let dense = Stored { transposed: false, padding: 0 };
    let base = Case {
        m: 128 * 9 + 1,
        n: 130,
        k: 40,
        a: dense,
        b: dense,
        c_padding: 0,
        dtype: DType::BF16,
        wide: false,
        alpha: 1.0,
        update: With::Nothing,
        architecture: Architecture::Ampere,
        seed: 1,
    };
    check(base).unwrap();
    check(Case { dtype: DType::F32, b: Stored { transposed: true, padding: 0 }, ..base }).unwrap();
    let deep = Case { m: 16, n: 72, k: 5000, wide: true, a: Stored { transposed: true, padding: 0 }, ..base };
    check(deep).unwrap();
    check(Case { dtype: DType::F32, update: With::C, ..deep }).unwrap();
    check(Case { m: 65, n: 129, k: 2050, wide: false, update: With::Bias, ..base }).unwrap();
}

/// A missing barrier or wait would show as a difference between the orders in which warps run.
#[test]
fn the_result_does_not_depend_on_the_schedule() {
    for (dtype, m, n, k) in [(DType::BF16, 140, 150, 200), (DType::F32, 140, 150, 200), (DType::BF16, 40, 150, 1100)] {
        let run = |seed| {
            let executor = testing::executor(seed);
            let a = Operand::new(&executor, dtype, [m, k], Stored { transposed: false, padding: 0 }, 1);
            let b = Operand::new(&executor, dtype, [k, n], Stored { transposed: true, padding: 0 }, 2);
            let mut c = executor.allocate(m * n * 4).unwrap();
            let to = launch::MatrixMut::new(&mut c, DType::F32, m, n);
            launch::gemm(1.0, a.device(), b.device(), launch::Update::Overwrite, to).unwrap();
            c.read::<u32>().unwrap()
        };
        let first = run(0);
        assert!((1..6).all(|seed| run(seed) == first));
    }
}

#[test]
fn column_sums_are_those_of_the_cpu() {
    let (rows, cols) = (700, 37);
    let executor = testing::executor(2);
    for dtype in [DType::F32, DType::BF16] {
        for transposed in [false, true] {
            let a = Operand::new(&executor, dtype, [rows, cols], Stored { transposed, padding: 3 }, 1);
            let start: Vec<f32> = (0..cols).map(|i| i as f32).collect();
            let (mut expected, mut got) = (start.clone(), executor.upload(&start).unwrap());
            tunesmith_gemm::column_sums(0.5, a.host(), Update::Accumulate, &mut expected).unwrap();
            launch::column_sums(0.5, a.device(), launch::Update::Accumulate, &mut got).unwrap();
            for (got, expected) in got.read::<f32>().unwrap().into_iter().zip(expected) {
                // 700 terms below 6, each rounded at most 700 times on either side.
                let bound = 2.0 * 703.0 * UNIT * (0.5 * 700.0 * 6.0 + 37.0);
                let difference = (f64::from(got) - f64::from(expected)).abs();
                assert!(difference <= bound, "{got}, expected {expected}");
            }
        }
    }
}

#[test]
fn slabs_are_added_in_order() {
    let executor = testing::executor(0);
    // In another order the 1 would be lost beside 2^24.
    let partials = executor.upload(&[16_777_216.0f32, 1.0, -16_777_216.0, 2.0, 1.0, 3.0]).unwrap();
    let mut c = executor.upload(&[10.0f32, 20.0]).unwrap();
    let mut sum =
        |slabs, dtype| launch::sum_slabs(2.0, &partials, slabs, true, &mut launch::MatrixMut::new(&mut c, dtype, 1, 2));
    sum(3, DType::F32).unwrap();
    assert!(matches!(sum(2, DType::F32), Err(GemmError::Length { expected: 4, got: 6, .. })));
    assert!(matches!(sum(3, DType::BF16), Err(GemmError::Length { operand: "C", expected: 2, got: 4, .. })));
    assert_eq!(c.read::<f32>().unwrap(), [12.0, 32.0]);
}

#[test]
fn what_does_not_fit_is_refused_before_a_launch() {
    let executor = testing::executor(0);
    let values = executor.upload(&[1.0f32; 12]).unwrap();
    let mut c = executor.upload(&[7.0f32; 9]).unwrap();
    let a = launch::Matrix::new(&values, DType::F32, 3, 4);
    let mut product =
        |a, b, update, dtype| launch::gemm(1.0, a, b, update, launch::MatrixMut::new(&mut c, dtype, 3, 3)).unwrap_err();
    let (none, f32) = (launch::Update::Overwrite, DType::F32);
    assert!(matches!(product(a, a, none, f32), GemmError::InnerSize { .. }));
    assert!(matches!(product(a.transposed(), a, none, f32), GemmError::OutputShape { expected: [4, 4], .. }));
    let long = launch::Matrix::new(&values, DType::F32, 3, 5);
    assert!(matches!(
        product(long, long.transposed(), none, f32),
        GemmError::Length { operand: "A", expected: 15, .. }
    ));
    let overlapping = a.with_row_stride(3);
    assert!(matches!(product(overlapping, a.transposed(), none, f32), GemmError::RowStride { operand: "A", .. }));
    let bias = launch::Update::Bias(&values);
    assert!(matches!(product(a, a.transposed(), bias, f32), GemmError::Length { operand: "bias", .. }));
    let halves = launch::Matrix::new(&values, DType::BF16, 6, 4);
    let mixed = launch::gemm(1.0, a, halves.transposed(), none, launch::MatrixMut::new(&mut c, DType::F32, 3, 6));
    assert!(matches!(mixed, Err(GemmError::Length { operand: "C", .. })));
    let halves = launch::Matrix::new(&values, DType::BF16, 4, 3).with_row_stride(7);
    let mixed = launch::gemm(1.0, a, halves, none, launch::MatrixMut::new(&mut c, DType::F32, 3, 3));
    assert!(matches!(mixed, Err(GemmError::KernelDType { a: DType::F32, b: DType::BF16, c: DType::F32 })));
    let elsewhere = Executor::emulated(0).upload(&[1.0f32; 12]).unwrap();
    let b = launch::Matrix::new(&elsewhere, DType::F32, 4, 3);
    let mixed = launch::gemm(1.0, a, b, none, launch::MatrixMut::new(&mut c, DType::F32, 3, 3));
    assert!(matches!(mixed, Err(GemmError::Device(DeviceError::MixedExecutors))));
    assert_eq!(c.read::<f32>().unwrap(), [7.0; 9]);
}
