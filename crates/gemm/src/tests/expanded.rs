//! Operands that are expanded as they are read.

use device::{DType, Elements, ElementsMut};
use proptest::prelude::*;

use super::oracle::{Case, Layout, Operand, case};
use crate::kernel::Kernel;
use crate::simd::Isa;
use crate::{Expand, Matrix, MatrixMut, Update, Window, sum_with};

/// Reads from memory, and fails where it is asked for what is not there.
struct Copied<'a>(Elements<'a>);

impl Expand for Copied<'_> {
    fn dtype(&self) -> DType {
        self.0.dtype()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn expand(&self, window: Window, out: ElementsMut<'_>) {
        match (self.0, out) {
            (Elements::F32(from), ElementsMut::F32(to)) => copy(from, window, to),
            (Elements::BF16(from), ElementsMut::BF16(to)) => copy(from, window, to),
            (Elements::F16(from), ElementsMut::F16(to)) => copy(from, window, to),
            _ => panic!("asked for another dtype than it has"),
        }
    }
}

fn copy<T: Copy>(from: &[T], window: Window, to: &mut [T]) {
    assert!(to.len().is_multiple_of(window.row_len), "asked for a part of a row");
    for (row, to) in to.chunks_exact_mut(window.row_len).enumerate() {
        to.copy_from_slice(&from[window.first + row * window.row_stride..][..window.row_len]);
    }
}

fn matrix<'a>(source: &'a Copied<'_>, of: &Operand, layout: Layout) -> Matrix<'a> {
    let (rows, cols) = if layout.transposed { (of.cols, of.rows) } else { (of.rows, of.cols) };
    let matrix = Matrix::expanded(source, rows, cols).with_row_stride(of.stride);
    if layout.transposed { matrix.transposed() } else { matrix }
}

/// The bits of the product of stored operands, whichever of them is expanded.
fn check<K: Kernel, I: Isa>(kernel: K, isa: I, case: Case) -> Result<(), TestCaseError> {
    let Case { m, n, k, alpha, .. } = case;
    let (a, b) = (Operand::new(m, k, case.a, case.seed), Operand::new(k, n, case.b, case.seed + 1));
    let (source_a, source_b) = (Copied(a.elements()), Copied(b.elements()));
    let (expanded_a, expanded_b) = (matrix(&source_a, &a, case.a), matrix(&source_b, &b, case.b));
    let run = |a: Matrix<'_>, b: Matrix<'_>| {
        let mut c = vec![f32::NAN; m * n];
        sum_with(kernel, isa, alpha, &[(a, b)], Update::Overwrite, None, MatrixMut::new(&mut c, m, n)).unwrap();
        c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let expected = run(a.matrix(), b.matrix());
    prop_assert_eq!(&run(a.matrix(), expanded_b), &expected, "B of {:?}", case);
    prop_assert_eq!(&run(expanded_a, b.matrix()), &expected, "A of {:?}", case);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_expanded_operand_gives_the_bits_of_a_stored_one(case in case(), few_rows in 1usize..=8, wide in 1usize..600) {
        let portable = crate::simd::portable::Portable;
        // What is expanded is read as it is.
        let [a, b] = [case.a, case.b].map(|layout| Layout { dtype: layout.dtype.min(2), ..layout });
        let case = Case { a, b, ..case };
        for case in [case, Case { m: few_rows, n: wide, ..case }] {
            check(portable, portable, case)?;
            #[cfg(target_arch = "x86_64")]
            if let Some(isa) = crate::simd::avx512::Avx512::detect() {
                check(isa, isa, case)?;
                if let Some(pairs) = crate::avx512_bf16::Avx512Bf16::detect() {
                    let bf16 = |layout| Layout { dtype: 1, ..layout };
                    check(pairs, isa, Case { a: bf16(case.a), b: bf16(case.b), ..case })?;
                }
                #[cfg(target_os = "linux")]
                if let Some(amx) = crate::amx::Amx::detect() {
                    check(amx, isa, case)?;
                }
            }
            #[cfg(target_arch = "aarch64")]
            if let Some(isa) = crate::simd::neon::Neon::detect() {
                check(isa, isa, case)?;
            }
        }
    }
}

#[test]
fn its_length_is_checked() {
    let source = Copied(Elements::F32(&[0.0; 11]));
    let b = Matrix::expanded(&source, 3, 4);
    let a = Matrix::new(&[0.0; 3][..], 1, 3);
    let error = crate::gemm(1.0, a, b, Update::Overwrite, MatrixMut::new(&mut [0.0; 4], 1, 4)).unwrap_err();
    let expected = "gemm: B is stored as 3 rows of 4 with row stride 4: expected 12 elements, got 11";
    assert_eq!(error.to_string(), expected);
}
