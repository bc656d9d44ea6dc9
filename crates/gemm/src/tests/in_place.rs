//! Few rows against columns whose tiles are loaded from where they lie.

use proptest::prelude::*;

use super::oracle::{Case, Layout, case, check, check_cases, size};
use crate::simd::Isa;
use crate::{avx512_bf16, simd};

/// Sizes around tiles and panels on every side, with a second product that may be packed, or lie in place as well.
fn few_rows() -> impl Strategy<Value = Case> {
    let sizes = (3usize..=64, prop_oneof![size(200), Just(512usize)], 64usize..300);
    (case(), sizes, prop_oneof![1usize..40, 64usize..130], any::<bool>()).prop_map(|(case, (m, n, k), more, both)| {
        let b = Layout { dtype: 1, transposed: true, ..case.b };
        let (second, layout_a, layout_b) = case.second;
        let second = (if second > 0 { more } else { 0 }, layout_a, if both { b } else { layout_b });
        Case { m, n, k, b, second, ..case }
    })
}

#[test]
#[cfg(target_os = "linux")]
fn few_rows_agree_with_f64_on_amx() {
    use crate::amx;
    let (Some(amx), Some(isa)) = (amx::Amx::detect(), simd::avx512::Avx512::detect()) else {
        println!("skipped: this machine has no AMX with bf16");
        return;
    };
    check_cases(200, few_rows(), |case| check(amx, isa, case));
}

#[test]
fn few_rows_agree_with_f64_on_avx512_bf16() {
    let (Some(pairs), Some(isa)) = (avx512_bf16::Avx512Bf16::detect(), simd::avx512::Avx512::detect()) else {
        println!("skipped: this machine has no AVX-512 BF16");
        return;
    };
    check_cases(200, few_rows().prop_map(Case::in_bf16), |case| check(pairs, isa, case));
}
