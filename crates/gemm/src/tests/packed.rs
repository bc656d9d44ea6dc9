//! Operands that are packed once: the bits of products that pack by themselves, on every kernel.

use proptest::prelude::*;

use super::oracle::{Case, Operand, case, check_cases};
use crate::kernel::{Kernel, Side};
use crate::packed::Pack;
use crate::simd::{self, Isa};
use crate::*;

fn check<K: Kernel, I: Isa>(kernel: K, isa: I, case: Case) -> Result<(), TestCaseError> {
    let Case { m, n, k, seed, second: (second, layout_a, layout_b), .. } = case;
    let (a, b) = (Operand::new(m, k, case.a, seed), Operand::new(k, n, case.b, seed + 1));
    // Never packed before.
    let (a2, b2) = (Operand::new(m, second, layout_a, seed + 4), Operand::new(second, n, layout_b, seed + 5));
    let (a, b) = (a.matrix(), b.matrix());
    let left = Pack { side: Side::A, lines: a.row_lines(), count: m, depth: k }.run_with(kernel);
    let right = Pack { side: Side::B, lines: b.column_lines(), count: n, depth: k }.run_with(kernel);
    let (left, right) = (left.unwrap().unwrap(), right.unwrap().unwrap());
    let product = |a, b| {
        let mut c = vec![f32::NAN; m * n];
        let products = [(a, b), (a2.matrix(), b2.matrix())];
        sum_with(kernel, isa, 0.7, &products, Update::Overwrite, None, MatrixMut::new(&mut c, m, n)).unwrap();
        c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let expected = product(a, b);
    let (packed_a, packed_b) = (a.with_packed(Some(&left)), b.with_packed(Some(&right)));
    prop_assert_eq!(&product(packed_a, b), &expected);
    prop_assert_eq!(&product(a, packed_b), &expected);
    prop_assert_eq!(&product(packed_a, packed_b), &expected);
    // Panels of one side are no panels of the other, nor of the transpose.
    let swapped = (packed_b.transposed(), packed_a.transposed());
    let mut c = vec![f32::NAN; n * m];
    let swapped = [swapped, (b2.matrix().transposed(), a2.matrix().transposed())];
    sum_with(kernel, isa, 0.7, &swapped, Update::Overwrite, None, MatrixMut::new(&mut c, n, m)).unwrap();
    for (i, row) in expected.chunks_exact(n).enumerate() {
        for (j, &bits) in row.iter().enumerate() {
            let (one, other) = (f32::from_bits(bits), c[j * m + i]);
            // Sums of the same products of numbers of size one, in an order of their own.
            prop_assert!((one - other).abs() <= 1e-4 * (k + second) as f32, "{} {}", one, other);
        }
    }
    Ok(())
}

fn check_kernel<I: Isa>(name: &str) {
    match I::detect() {
        Some(isa) => check_cases(100, case(), |case| check(isa, isa, case)),
        None => println!("skipped: this machine has no {name}"),
    }
}

#[test]
fn the_bits_are_those_of_operands_that_are_not_packed() {
    check_kernel::<simd::portable::Portable>("plain Rust");
    #[cfg(target_arch = "x86_64")]
    {
        check_kernel::<simd::avx512::Avx512>("AVX-512F");
        check_kernel::<simd::avx2::Avx2>("AVX2 with FMA and F16C");
        if let (Some(pairs), Some(isa)) = (avx512_bf16::Avx512Bf16::detect(), simd::avx512::Avx512::detect()) {
            check_cases(100, case().prop_map(Case::in_bf16), |case| check(pairs, isa, case));
        }
        #[cfg(target_os = "linux")]
        if let (Some(amx), Some(isa)) = (amx::Amx::detect(), simd::avx512::Avx512::detect()) {
            check_cases(100, case(), |case| check(amx, isa, case));
        }
    }
    #[cfg(target_arch = "aarch64")]
    check_kernel::<simd::neon::Neon>("NEON");
}

#[test]
fn what_is_not_worth_packing_is_not_packed() {
    let x = vec![0.5f32; 64 * 70];
    let matrix = Matrix::new(&x[..], 64, 70);
    let is_packed = |packed: Result<Packed<'_>, GemmError>| packed.unwrap().is_packed();
    assert!(is_packed(Packed::left(matrix)) && is_packed(Packed::right(matrix, &[16, 16])));
    // Few rows read `B` where it lies; a single product packs by itself.
    assert!(!is_packed(Packed::left(Matrix::new(&x[..8 * 70], 8, 70))));
    assert!(!is_packed(Packed::right(matrix, &[16])) && !is_packed(Packed::right(matrix, &[8, 16])));
    assert!(!is_packed(Packed::left(Matrix::new(&[][..] as &[f32], 64, 0))));
    // Not more than a product packs at a time.
    let large = vec![0.5f32; 3 << 20];
    assert!(!is_packed(Packed::left(Matrix::new(&large[..], 3 << 10, 1 << 10))));
    assert!(matches!(Packed::left(Matrix::new(&x[1..], 64, 70)), Err(GemmError::Length { operand: "A", .. })));
    assert!(matches!(Packed::right(Matrix::new(&x[1..], 64, 70), &[]), Err(GemmError::Length { operand: "B", .. })));
}
