//! Every kernel against sums in f64, over layouts, dtypes, strides and sizes around the blocks' edges; the same result from
//! any number of threads; faults.

mod expanded;
#[cfg(target_arch = "x86_64")]
mod in_place;
mod oracle;
mod packed;
mod scaled;

use device::philox::Stream;
use half::bf16;
use oracle::{Case, F32, Layout, Operand, With, check, check_isa};
#[cfg(target_arch = "x86_64")]
use oracle::{case, check_cases};
#[cfg(target_arch = "x86_64")]
use proptest::prelude::*;

use crate::kernel::Kernel;
use crate::simd::Isa;
use crate::*;

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_agrees_with_f64() {
    let (Some(amx), Some(isa)) = (amx::Amx::detect(), simd::avx512::Avx512::detect()) else {
        println!("skipped: this machine has no AMX with bf16");
        return;
    };
    // Shallower products, whose bound it need not hold, are never given to it.
    let deep = |case: Case| Case { k: case.k + amx::LEAST_DEPTH - 1, ..case };
    check_cases(400, case().prop_map(deep), |case| check(amx, isa, case));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn avx512_bf16_agrees_with_f64() {
    let (Some(pairs), Some(isa)) = (avx512_bf16::Avx512Bf16::detect(), simd::avx512::Avx512::detect()) else {
        println!("skipped: this machine has no AVX-512 BF16");
        return;
    };
    check_cases(400, case().prop_map(Case::in_bf16), |case| check(pairs, isa, case));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn avx512_agrees_with_f64() {
    check_isa::<simd::avx512::Avx512>("AVX-512F", 200);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn avx2_agrees_with_f64() {
    check_isa::<simd::avx2::Avx2>("AVX2 with FMA and F16C", 200);
}

#[test]
#[cfg(target_arch = "aarch64")]
fn neon_agrees_with_f64() {
    check_isa::<simd::neon::Neon>("NEON", 200);
}

#[test]
fn portable_agrees_with_f64() {
    check_isa::<simd::portable::Portable>("plain Rust", 200);
}

/// One case of `gemm` itself.
fn plain(m: usize, n: usize, k: usize) -> Case {
    Case {
        m,
        n,
        k,
        a: F32,
        b: F32,
        second: (0, F32, F32),
        c_padding: 0,
        c_dtype: 0,
        alpha: 1.0,
        update: With::Nothing,
        seed: 3,
    }
}

/// Many blocks of depth, more panels than a block, and a shared operand that is packed in several parts.
#[test]
fn blocks_join_without_a_seam() {
    let transposed = Layout { transposed: true, ..F32 };
    for case in [
        plain(300, 530, 1100),
        Case { b: transposed, update: With::Bias, ..plain(530, 300, 1100) },
        Case { update: With::C, ..plain(9, 12, 70_000) },
        // Sums of several passes are kept in f32 for a result in bf16.
        Case { c_dtype: 1, update: With::Bias, ..plain(64, 65, 70_000) },
    ] {
        check(simd::portable::Portable, simd::portable::Portable, case).unwrap();
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = simd::avx512::Avx512::detect() {
            check(isa, isa, case).unwrap();
            if let Some(pairs) = avx512_bf16::Avx512Bf16::detect() {
                check(pairs, isa, case.in_bf16()).unwrap();
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(isa) = simd::neon::Neon::detect() {
            check(isa, isa, case).unwrap();
        }
    }
}

/// More panels on both sides than pass while sums wait, over depths that are packed in several parts; the rows that are
/// multiplied alone are few.
#[test]
fn a_large_product_is_made_of_its_parts() {
    // What `C` holds is added to the sum of the first part of the depth, so it is the same only where that is all of it.
    for (k, b_dtype, update) in
        [(800, 1, Update::Overwrite), (1100, 0, Update::Overwrite), (600, 0, Update::Accumulate)]
    {
        large_product([2100, 2200, k], b_dtype, update);
    }
}

fn large_product([m, n, k]: [usize; 3], b_dtype: u8, update: Update<'_>) {
    let stream = Stream::new(1, 0, 0);
    let a: Vec<bf16> = (0..(m * k) as u64).map(|i| bf16::from_f32(stream.normal(i))).collect();
    let b = Operand::new(k, n, Layout { dtype: b_dtype, ..F32 }, 2);
    let product = |a: &[bf16]| {
        let rows = a.len() / k;
        let mut c = vec![0.5; rows * n];
        gemm(1.0, Matrix::new(a, rows, k), b.matrix(), update, MatrixMut::new(&mut c, rows, n)).unwrap();
        c
    };
    let parts: Vec<f32> = a.chunks(300 * k).flat_map(product).collect();
    assert!(product(&a) == parts);
}

#[test]
fn a_product_is_the_same_with_any_number_of_threads() {
    let transposed = Layout { transposed: true, dtype: 1, padding: 0 };
    for (m, n, k) in [(130, 700, 600), (700, 40, 600), (5, 3000, 200), (40, 1010, 700), (1, 515, 1030)] {
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

/// NaN and infinity reach every element that they are a factor of, and no other.
#[test]
fn what_is_not_finite_is_not_lost() {
    fn check<K: Kernel, I: Isa>(kernel: K, isa: I, precision: DType) {
        let (m, n, k) = (20, 40, 70);
        // A NaN all of whose payload is set is the one that rounding to bf16 would turn into a number.
        for value in [f32::NAN, f32::from_bits(0xffff_ffff), f32::INFINITY, f32::NEG_INFINITY] {
            let mut a = vec![0.5; m * k];
            a[3 * k + 69] = value;
            let mut c = vec![0.0; m * n];
            let b = vec![0.25; k * n];
            let product = (Matrix::new(&a[..], m, k), Matrix::new(&b[..], k, n));
            let product = (product.0.rounded_to(precision), product.1.rounded_to(precision));
            sum_with(kernel, isa, 1.0, &[product], Update::Overwrite, None, MatrixMut::new(&mut c, m, n)).unwrap();
            assert!(c.iter().enumerate().all(|(i, x)| x.is_finite() == (i / n != 3)), "{value}");
        }
    }
    for precision in [DType::F32, DType::BF16] {
        check(simd::portable::Portable, simd::portable::Portable, precision);
        #[cfg(target_arch = "x86_64")]
        if let Some(isa) = simd::avx512::Avx512::detect() {
            check(isa, isa, precision);
            #[cfg(target_os = "linux")]
            if let Some(amx) = amx::Amx::detect() {
                check(amx, isa, precision);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(isa) = simd::neon::Neon::detect() {
            check(isa, isa, precision);
        }
    }
    #[cfg(target_arch = "x86_64")]
    if let (Some(pairs), Some(isa)) = (avx512_bf16::Avx512Bf16::detect(), simd::avx512::Avx512::detect()) {
        check(pairs, isa, DType::BF16);
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
