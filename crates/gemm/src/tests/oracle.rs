//! The oracle: a case of random operands, computed and compared with sums in f64.

use half::{bf16, f16};
use proptest::prelude::*;

use crate::kernel::Kernel;
use crate::simd::Isa;
use crate::{Matrix, MatrixMut, Update, sum_with};
use device::{DType, Elements, ElementsMut};

/// A matrix with its own memory: dtype by value, possibly transposed, possibly strided.
pub(super) struct Operand {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    f16: Vec<f16>,
    dtype: u8,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) stride: usize,
    transposed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) dtype: u8,
    pub(super) transposed: bool,
    pub(super) padding: usize,
}

impl Operand {
    pub(super) fn new(rows: usize, cols: usize, layout: Layout, seed: u64) -> Self {
        let (stored_rows, stored_cols) = if layout.transposed { (cols, rows) } else { (rows, cols) };
        let stride = stored_cols + layout.padding;
        let stream = device::philox::Stream::new(seed, 0, 0);
        let f32: Vec<f32> = (0..stored_rows * stride).map(|i| stream.normal(i as u64)).collect();
        let bf16: Vec<bf16> = f32.iter().map(|&x| bf16::from_f32(x)).collect();
        let f16: Vec<f16> = f32.iter().map(|&x| f16::from_f32(x)).collect();
        Self { f32, bf16, f16, dtype: layout.dtype, rows, cols, stride, transposed: layout.transposed }
    }

    pub(super) fn elements(&self) -> Elements<'_> {
        match self.dtype {
            0 => Elements::F32(&self.f32),
            1 => Elements::BF16(&self.bf16),
            2 => Elements::F16(&self.f16),
            // Read as the nearest bf16.
            _ => Elements::F32(&self.f32),
        }
    }

    pub(super) fn matrix(&self) -> Matrix<'_> {
        let (rows, cols) = if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) };
        let matrix = Matrix::new(self.elements(), rows, cols).with_row_stride(self.stride);
        let matrix = if self.dtype == ROUNDED { matrix.rounded_to(DType::BF16) } else { matrix };
        if self.transposed { matrix.transposed() } else { matrix }
    }

    pub(super) fn get(&self, row: usize, col: usize) -> f64 {
        let index = if self.transposed { col * self.stride + row } else { row * self.stride + col };
        f64::from(if self.dtype == ROUNDED { self.bf16[index].to_f32() } else { self.elements().get(index) })
    }
}

/// The dtype of an operand that is stored as f32 and read as the nearest bf16.
pub(super) const ROUNDED: u8 = 3;

/// [`Update`] without its bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum With {
    Nothing,
    C,
    Bias,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    pub(super) a: Layout,
    pub(super) b: Layout,
    /// The depth of a second product, and the layouts of its operands; a depth of zero is none.
    pub(super) second: (usize, Layout, Layout),
    pub(super) c_padding: usize,
    /// 0 for f32, 1 for bf16, 2 for f16.
    pub(super) c_dtype: u8,
    pub(super) alpha: f32,
    pub(super) update: With,
    pub(super) seed: u64,
}

impl Case {
    /// The same with operands that are bf16, or read as such.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn in_bf16(self) -> Self {
        let narrow = |layout: Layout| Layout { dtype: if layout.dtype == 0 { ROUNDED } else { 1 }, ..layout };
        let (k, a, b) = self.second;
        Self { a: narrow(self.a), b: narrow(self.b), second: (k, narrow(a), narrow(b)), ..self }
    }
}

/// Computes a case and compares every element, and what lies between rows, with f64.
pub(super) fn check<K: Kernel, I: Isa>(kernel: K, isa: I, case: Case) -> Result<(), TestCaseError> {
    let Case { m, n, k, alpha, .. } = case;
    let a = Operand::new(m, k, case.a, case.seed);
    let b = Operand::new(k, n, case.b, case.seed + 1);
    let (more, layout_a, layout_b) = case.second;
    let (a2, b2) = (Operand::new(m, more, layout_a, case.seed + 4), Operand::new(more, n, layout_b, case.seed + 5));
    let c_stride = n + case.c_padding;
    let mut c = C::new(
        case.c_dtype,
        match case.update {
            With::C => Operand::new(m, c_stride, F32, case.seed + 2).f32,
            // What is overwritten must not be read: NaN would spread.
            With::Nothing | With::Bias => vec![f32::NAN; m * c_stride],
        },
    );
    let before = c.values();
    let bias = Operand::new(1, n, F32, case.seed + 3).f32;
    let update = match case.update {
        With::Nothing => Update::Overwrite,
        With::C => Update::Accumulate,
        With::Bias => Update::Bias(&bias),
    };
    let products = [(a.matrix(), b.matrix()), (a2.matrix(), b2.matrix())];
    sum_with(
        kernel,
        isa,
        alpha,
        &products,
        update,
        None,
        MatrixMut::of(c.elements_mut(), m, n).with_row_stride(c_stride),
    )
    .map_err(|e| TestCaseError::fail(e.to_string()))?;
    let c = c.values();
    for i in 0..m {
        for j in 0..c_stride {
            let (got, old) = (c[i * c_stride + j], before[i * c_stride + j]);
            if j >= n {
                prop_assert_eq!(got.to_bits(), old.to_bits(), "padding of row {} was written", i);
                continue;
            }
            let terms = (0..k).map(|l| a.get(i, l) * b.get(l, j));
            let terms = terms.chain((0..more).map(|l| a2.get(i, l) * b2.get(l, j)));
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
            let bound = 1.01 * ((k + more) as f64 + 2.0) * f64::from(f32::EPSILON / 2.0) * size;
            let [relative, absolute] = rounding(case.c_dtype);
            let bound = bound + relative * (expected.abs() + bound) + absolute;
            let difference = (f64::from(got) - expected).abs();
            prop_assert!(difference <= bound, "C[{i}, {j}] = {got}, expected {expected}, bound {bound}: {case:?}");
        }
    }
    Ok(())
}

/// A result with its memory.
struct C {
    f32: Vec<f32>,
    bf16: Vec<bf16>,
    f16: Vec<f16>,
    dtype: u8,
}

impl C {
    fn new(dtype: u8, values: Vec<f32>) -> Self {
        let bf16 = values.iter().map(|&x| bf16::from_f32(x)).collect();
        let f16 = values.iter().map(|&x| f16::from_f32(x)).collect();
        Self { f32: values, bf16, f16, dtype }
    }

    fn elements_mut(&mut self) -> ElementsMut<'_> {
        match self.dtype {
            0 => ElementsMut::F32(&mut self.f32),
            1 => ElementsMut::BF16(&mut self.bf16),
            _ => ElementsMut::F16(&mut self.f16),
        }
    }

    fn values(&mut self) -> Vec<f32> {
        let elements = self.elements_mut();
        let elements = elements.as_elements();
        (0..elements.len()).map(|i| elements.get(i)).collect()
    }
}

/// What rounding to the dtype of `C` changes at most: a part of the number, and half a step between subnormal ones.
fn rounding(dtype: u8) -> [f64; 2] {
    match dtype {
        0 => [0.0, 0.0],
        1 => [2f64.powi(-8), 0.0],
        _ => [2f64.powi(-10), 2f64.powi(-25)],
    }
}

pub(super) const F32: Layout = Layout { dtype: 0, transposed: false, padding: 0 };

pub(super) fn layout() -> impl Strategy<Value = Layout> {
    (0u8..4, any::<bool>(), prop_oneof![Just(0usize), 1usize..5]).prop_map(|(dtype, transposed, padding)| Layout {
        dtype,
        transposed,
        padding,
    })
}

/// Sizes at and around the edges of registers, tiles and panels, and small ones.
pub(super) fn size(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![1..=most, proptest::sample::select(vec![1, 6, 8, 9, 14, 15, 16, 17, 28, 32, 33, 64])]
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let update = proptest::sample::select(vec![With::Nothing, With::C, With::Bias]);
    let alpha = prop_oneof![Just(1.0f32), Just(-0.5f32), Just(0.3f32)];
    let depth = prop_oneof![size(90), Just(513usize)];
    let second = (prop_oneof![3 => Just(0usize), 1 => 1usize..40], layout(), layout());
    let c = (0usize..3, prop_oneof![2 => Just(0u8), 1 => 1u8..3]);
    (size(90), size(90), depth, (layout(), layout()), second, c, alpha, update, any::<u32>()).prop_map(
        |(m, n, k, (a, b), second, (c_padding, c_dtype), alpha, update, seed)| {
            let seed = u64::from(seed);
            Case { m, n, k, a, b, second, c_padding, c_dtype, alpha, update, seed }
        },
    )
}

/// Runs `cases` random cases on one instruction set, or says that this machine lacks it.
pub(super) fn check_isa<I: Isa>(name: &str, cases: u32) {
    let Some(isa) = I::detect() else {
        println!("skipped: this machine has no {name}");
        return;
    };
    check_cases(cases, case(), |case| check(isa, isa, case));
}

pub(super) fn check_cases(
    cases: u32,
    strategy: impl Strategy<Value = Case>,
    check: impl Fn(Case) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(case in strategy)| check(case)?);
}
