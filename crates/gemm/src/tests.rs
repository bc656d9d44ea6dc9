//! Every instruction set against sums in f64, over layouts, dtypes, strides and sizes around the blocks' edges.

use half::{bf16, f16};
use proptest::prelude::*;

use crate::isa::Isa;
use crate::*;
use device::Elements;

/// A matrix with its own memory: dtype by value, possibly transposed, possibly strided.
struct Operand {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    f16: Vec<f16>,
    dtype: u8,
    rows: usize,
    cols: usize,
    stride: usize,
    transposed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Layout {
    dtype: u8,
    transposed: bool,
    padding: usize,
}

impl Operand {
    fn new(rows: usize, cols: usize, layout: Layout, seed: u64) -> Self {
        let (stored_rows, stored_cols) = if layout.transposed { (cols, rows) } else { (rows, cols) };
        let stride = stored_cols + layout.padding;
        let stream = device::philox::Stream::new(seed, 0, 0);
        let f32: Vec<f32> = (0..stored_rows * stride).map(|i| stream.normal(i as u64)).collect();
        let bf16: Vec<bf16> = f32.iter().map(|&x| bf16::from_f32(x)).collect();
        let f16: Vec<f16> = f32.iter().map(|&x| f16::from_f32(x)).collect();
        Self { f32, bf16, f16, dtype: layout.dtype, rows, cols, stride, transposed: layout.transposed }
    }

    fn elements(&self) -> Elements<'_> {
        match self.dtype {
            0 => Elements::F32(&self.f32),
            1 => Elements::BF16(&self.bf16),
            _ => Elements::F16(&self.f16),
        }
    }

    fn matrix(&self) -> Matrix<'_> {
        let (rows, cols) = if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) };
        let matrix = Matrix::new(self.elements(), rows, cols).with_row_stride(self.stride);
        if self.transposed { matrix.transposed() } else { matrix }
    }

    fn get(&self, row: usize, col: usize) -> f64 {
        let index = if self.transposed { col * self.stride + row } else { row * self.stride + col };
        f64::from(self.elements().get(index))
    }
}

/// [`Update`] without its bias.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    a: Layout,
    b: Layout,
    c_padding: usize,
    alpha: f32,
    update: With,
    seed: u64,
}

/// Computes a case and compares every element, and what lies between rows, with f64.
fn check<I: Isa>(isa: I, case: Case) -> Result<(), TestCaseError> {
    let Case { m, n, k, alpha, .. } = case;
    let a = Operand::new(m, k, case.a, case.seed);
    let b = Operand::new(k, n, case.b, case.seed + 1);
    let c_stride = n + case.c_padding;
    let before: Vec<f32> = match case.update {
        With::C => Operand::new(m, c_stride, F32, case.seed + 2).f32,
        // What is overwritten must not be read: NaN would spread.
        With::Nothing | With::Bias => vec![f32::NAN; m * c_stride],
    };
    let bias = Operand::new(1, n, F32, case.seed + 3).f32;
    let update = match case.update {
        With::Nothing => Update::Overwrite,
        With::C => Update::Accumulate,
        With::Bias => Update::Bias(&bias),
    };
    let mut c = before.clone();
    gemm_with(isa, alpha, a.matrix(), b.matrix(), update, MatrixMut::new(&mut c, m, n).with_row_stride(c_stride))
        .map_err(|e| TestCaseError::fail(e.to_string()))?;
    for i in 0..m {
        for j in 0..c_stride {
            let (got, old) = (c[i * c_stride + j], before[i * c_stride + j]);
            if j >= n {
                prop_assert_eq!(got.to_bits(), old.to_bits(), "padding of row {} was written", i);
                continue;
            }
            let terms = (0..k).map(|l| a.get(i, l) * b.get(l, j));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), t: f64| (sum + t, size + t.abs()));
            let (mut expected, mut size) = (f64::from(alpha) * sum, f64::from(alpha.abs()) * size);
            let addend = match case.update {
                With::Nothing => 0.0,
                With::C => f64::from(old),
                With::Bias => f64::from(bias[j]),
            };
            expected += addend;
            size += addend.abs();
            // Each term is rounded at most once in its product, k times in sums, once in alpha and once in C: k + 2
            // with the first sum exact. The factor 1.01 is for terms of second order.
            let bound = 1.01 * (k as f64 + 2.0) * f64::from(f32::EPSILON / 2.0) * size;
            let difference = (f64::from(got) - expected).abs();
            prop_assert!(difference <= bound, "C[{i}, {j}] = {got}, expected {expected}, bound {bound}: {case:?}");
        }
    }
    Ok(())
}

const F32: Layout = Layout { dtype: 0, transposed: false, padding: 0 };

fn layout() -> impl Strategy<Value = Layout> {
    (0u8..3, any::<bool>(), prop_oneof![Just(0usize), 1usize..5]).prop_map(|(dtype, transposed, padding)| Layout {
        dtype,
        transposed,
        padding,
    })
}

/// Sizes at and around the edges of registers, tiles and panels, and small ones.
fn size(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1..=most, proptest::sample::select(vec![1, 6, 8, 9, 14, 15, 16, 17, 28, 32, 33, 64])]
}

fn case() -> impl Strategy<Value = Case> {
    let update = proptest::sample::select(vec![With::Nothing, With::C, With::Bias]);
    let alpha = prop_oneof![Just(1.0f32), Just(-0.5f32), Just(0.3f32)];
    (
        size(90),
        size(90),
        prop_oneof![size(90), Just(513usize)],
        layout(),
        layout(),
        0usize..3,
        alpha,
        update,
        any::<u32>(),
    )
        .prop_map(|(m, n, k, a, b, c_padding, alpha, update, seed)| Case {
            m,
            n,
            k,
            a,
            b,
            c_padding,
            alpha,
            update,
            seed: u64::from(seed),
        })
}

/// Runs `cases` random cases on one instruction set, or says that this machine lacks it.
fn check_isa<I: Isa>(name: &str, cases: u32) {
    let Some(isa) = I::detect() else {
        println!("skipped: this machine has no {name}");
        return;
    };
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(case in case())| check(isa, case)?);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn avx512_agrees_with_f64() {
    check_isa::<isa::avx512::Avx512>("AVX-512F", 200);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn avx2_agrees_with_f64() {
    check_isa::<isa::avx2::Avx2>("AVX2 with FMA and F16C", 200);
}

#[test]
fn portable_agrees_with_f64() {
    check_isa::<isa::portable::Portable>("plain Rust", 200);
}

/// One case of `gemm` itself.
fn plain(m: usize, n: usize, k: usize) -> Case {
    Case { m, n, k, a: F32, b: F32, c_padding: 0, alpha: 1.0, update: With::Nothing, seed: 3 }
}

/// Many blocks of depth, more panels than a block, and a shared operand that is packed in several parts.
#[test]
fn blocks_join_without_a_seam() {
    let transposed = Layout { transposed: true, ..F32 };
    for case in [
        plain(300, 530, 1100),
        Case { b: transposed, update: With::Bias, ..plain(530, 300, 1100) },
        Case { update: With::C, ..plain(9, 12, 70_000) },
    ] {
        check(isa::portable::Portable, case).unwrap();
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = isa::avx512::Avx512::detect() {
            check(isa, case).unwrap();
        }
    }
}

#[test]
fn a_product_is_the_same_with_any_number_of_threads() {
    let transposed = Layout { transposed: true, dtype: 1, padding: 0 };
    for (m, n, k) in [(130, 700, 600), (700, 40, 600), (5, 3000, 200), (1, 515, 1030)] {
        for b in [F32, transposed] {
            let a = Operand::new(m, k, F32, 1);
            let b = Operand::new(k, n, b, 2);
            let run = |threads| {
                let mut c = vec![0.0; m * n];
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| gemm(0.7, a.matrix(), b.matrix(), Update::Overwrite, MatrixMut::new(&mut c, m, n)))
                    .unwrap();
                c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let one = run(1);
            assert!(run(2) == one && run(3) == one, "{m} x {n} x {k}");
        }
    }
}

#[test]
fn known_values() {
    let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, -1.0, 2.0, 0.5, 1.0]);
    let mut c = [10.0; 4];
    let (a, b) = (Matrix::new(&a[..], 2, 3), Matrix::new(&b[..], 3, 2));
    gemm(1.0, a, b, Update::Overwrite, MatrixMut::new(&mut c, 2, 2)).unwrap();
    assert_eq!(c, [0.5, 7.0, 2.0, 16.0]);
    gemm(2.0, b.transposed(), a.transposed(), Update::Accumulate, MatrixMut::new(&mut c, 2, 2)).unwrap();
    assert_eq!(c, [1.5, 11.0, 16.0, 48.0]);
    gemm(1.0, a, b, Update::Bias(&[100.0, 200.0]), MatrixMut::new(&mut c, 2, 2)).unwrap();
    assert_eq!(c, [100.5, 207.0, 102.0, 216.0]);
}

#[test]
fn sizes_of_zero_are_defined() {
    let none: &[f32] = &[];
    let mut c = [1.0, 2.0, 3.0, 4.0];
    let depth_zero = (Matrix::new(none, 2, 0), Matrix::new(none, 0, 2));
    gemm(1.0, depth_zero.0, depth_zero.1, Update::Accumulate, MatrixMut::new(&mut c, 2, 2)).unwrap();
    assert_eq!(c, [1.0, 2.0, 3.0, 4.0]);
    gemm(1.0, depth_zero.0, depth_zero.1, Update::Overwrite, MatrixMut::new(&mut c[..3], 2, 1).with_row_stride(2))
        .unwrap_err();
    let one_column = Matrix::new(none, 0, 1);
    gemm(1.0, depth_zero.0, one_column, Update::Overwrite, MatrixMut::new(&mut c[..3], 2, 1).with_row_stride(2))
        .unwrap();
    assert_eq!(c, [0.0, 2.0, 0.0, 4.0]);
    gemm(1.0, depth_zero.0, depth_zero.1, Update::Bias(&[5.0, 6.0]), MatrixMut::new(&mut c, 2, 2)).unwrap();
    assert_eq!(c, [5.0, 6.0, 5.0, 6.0]);
    gemm(
        1.0,
        Matrix::new(none, 0, 3),
        Matrix::new(&[0.0; 6][..], 3, 2),
        Update::Overwrite,
        MatrixMut::new(&mut [], 0, 2),
    )
    .unwrap();
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let x = [0.0f32; 12];
    let a = Matrix::new(&x[..], 3, 4);
    let product = |a, b, rows, cols, len: usize| {
        gemm(1.0, a, b, Update::Overwrite, MatrixMut::new(&mut [0.0; 16][..len], rows, cols)).unwrap_err().to_string()
    };
    assert_eq!(product(a, a, 3, 4, 12), "gemm: A is [3, 4] and B is [3, 4]; the columns of A must be the rows of B");
    assert_eq!(
        product(a, a.transposed(), 3, 4, 12),
        "gemm: the product is [3, 3], expected C of that shape, got [3, 4]"
    );
    assert_eq!(
        product(a, Matrix::new(&x[..11], 3, 4).transposed(), 3, 3, 9),
        "gemm: B is stored as 3 rows of 4 with row stride 4: expected 12 elements, got 11"
    );
    assert!(product(a.with_row_stride(3), a.transposed(), 3, 3, 9).contains("row stride 3, less than its 4"));
    assert!(product(a.with_row_stride(5), a.transposed(), 3, 3, 9).contains("expected 14 elements, got 12"));
    assert!(product(a, a.transposed(), 3, 3, 8).contains("C is stored as 3 rows"));
    let bias = gemm(1.0, a, a.transposed(), Update::Bias(&x[..2]), MatrixMut::new(&mut [0.0; 9], 3, 3));
    assert!(bias.unwrap_err().to_string().contains("bias is stored as 1 rows of 3"));
    let huge = Matrix::new(&x[..], usize::MAX, 4);
    assert!(matches!(
        gemm(1.0, huge, a.transposed(), Update::Overwrite, MatrixMut::new(&mut [], usize::MAX, 3)),
        Err(GemmError::Length { operand: "A", .. })
    ));
}
