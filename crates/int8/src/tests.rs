//! Laws against oracles: exact integers of the codes, and f64 of the numbers.

use device::philox::Stream;
use device::{Elements, ElementsMut};
use proptest::prelude::*;

use crate::isa::{Dots, Isa, Portable};
use crate::linear::few_rows;
use crate::pack::Source;
use crate::product::{Product, run};
use crate::{GradX, Int8Error, Int8Matrix, Linear, dequantize, grad_x, linear, quantize};

fn normal(len: usize, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, 0, 0);
    (0..len).map(|i| stream.normal(i as u64)).collect()
}

/// Codes and scales of rows, by the definition.
fn oracle(x: &[f32], cols: usize) -> (Vec<i64>, Vec<f32>) {
    let mut codes = Vec::new();
    let scales = x.chunks_exact(cols).map(|row| {
        let absmax = row.iter().fold(0f32, |max, x| max.max(x.abs()));
        let factor = if absmax == 0.0 { 0.0 } else { 127.0 / absmax };
        codes.extend(row.iter().map(|x| (x * factor).round_ties_even() as i64));
        absmax / 127.0
    });
    let scales = scales.collect();
    (codes, scales)
}

struct Case {
    rows: usize,
    depth: usize,
    cols: usize,
    x: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new([rows, depth, cols]: [usize; 3], seed: u64) -> Self {
        let weight = normal(cols * depth, seed + 1);
        let (mut codes, mut scales) = (vec![0; cols * depth], vec![0.0; cols]);
        quantize(Elements::F32(&weight), depth, &mut codes, &mut scales).unwrap();
        Self { rows, depth, cols, x: normal(rows * depth, seed), codes, scales, bias: normal(cols, seed + 2) }
    }

    fn weight(&self) -> Int8Matrix<'_> {
        Int8Matrix::new(&self.codes, &self.scales, self.depth).unwrap()
    }

    /// The product from exact integers, with what a rounding of it may cost.
    fn check_forward(&self, y: &[f32]) {
        let (x, row_scales) = oracle(&self.x, self.depth);
        for (row, (x, row_scale)) in x.chunks_exact(self.depth).zip(row_scales).enumerate() {
            for (col, w) in self.codes.chunks_exact(self.depth).enumerate() {
                let sum: i64 = x.iter().zip(w).map(|(x, &w)| x * i64::from(w)).sum();
                let product = sum as f64 * f64::from(row_scale) * f64::from(self.scales[col]);
                let exact = product + f64::from(self.bias[col]);
                let got = f64::from(y[row * self.cols + col]);
                // Each factor, the products and the sum are rounded once: six times 2^-24, and as much for the scales.
                let bound = 8.0 * 2f64.powi(-24) * (product.abs() + exact.abs());
                assert!((got - exact).abs() <= bound, "{row} {col}: {got} {exact}");
            }
        }
    }

    fn check_tiles<I: Isa>(&self, isa: I) {
        let source =
            |transposed, depth, cols| Source { codes: &self.codes, stride: self.depth, transposed, depth, cols };
        let mut y = vec![f32::NAN; self.rows * self.cols];
        let weight = source(true, self.depth, self.cols);
        let (scales, bias) = (Some(&self.scales[..]), Some(&self.bias[..]));
        let args = Product { x: &self.x, factors: None, weight, scales, bias, accumulate: false, out: &mut y };
        run(isa, args).unwrap();
        self.check_forward(&y);

        let grad_y = normal(self.rows * self.cols, 77);
        let mut grad_x = vec![1.0; self.rows * self.depth];
        let (weight, factors) = (source(false, self.cols, self.depth), Some(&self.scales[..]));
        let args =
            Product { x: &grad_y, factors, weight, scales: None, bias: None, accumulate: true, out: &mut grad_x };
        run(isa, args).unwrap();
        let scaled: Vec<f32> = grad_y.iter().zip(self.scales.iter().cycle()).map(|(dy, scale)| dy * scale).collect();
        let (codes, row_scales) = oracle(&scaled, self.cols);
        for (row, (dy, row_scale)) in codes.chunks_exact(self.cols).zip(row_scales).enumerate() {
            for col in 0..self.depth {
                let sum: i64 =
                    dy.iter().enumerate().map(|(o, dy)| dy * i64::from(self.codes[o * self.depth + col])).sum();
                let (product, got) = (sum as f64 * f64::from(row_scale), f64::from(grad_x[row * self.depth + col]));
                let bound = 8.0 * 2f64.powi(-24) * (product.abs() + 1.0);
                assert!((got - product - 1.0).abs() <= bound, "{row} {col}: {got} {product}");
            }
        }
    }

    fn check_dots<D: Dots>(&self, isa: D) {
        let mut y = vec![f32::NAN; self.rows * self.cols];
        few_rows(isa, Linear { x: &self.x, weight: self.weight(), bias: Some(&self.bias), y: &mut y }).unwrap();
        self.check_forward(&y);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_instruction_set_computes_the_integers_exactly(
        rows in 1usize..70, depth in 1usize..200, cols in 1usize..100, seed in 0u64..1000,
    ) {
        let case = Case::new([rows, depth, cols], seed);
        case.check_tiles(Portable);
        case.check_dots(Portable);
        #[cfg(target_arch = "x86_64")]
        {
            use crate::isa::{Avx2Vnni, Avx512Vnni};
            if let Some(isa) = Avx512Vnni::detect() {
                case.check_tiles(isa);
                case.check_dots(isa);
            }
            if let Some(isa) = Avx2Vnni::detect() {
                case.check_tiles(isa);
                case.check_dots(isa);
            }
            #[cfg(target_os = "linux")]
            if let Some(isa) = crate::isa::Amx::detect() {
                case.check_tiles(isa);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use crate::isa::{Neon, NeonDot};
            if let Some(isa) = NeonDot::detect() {
                case.check_tiles(isa);
                case.check_dots(isa);
            }
            if let Some(isa) = Neon::detect() {
                case.check_tiles(isa);
                case.check_dots(isa);
            }
        }
        let mut y = vec![f32::NAN; rows * cols];
        linear(rows, Linear { x: &case.x, weight: case.weight(), bias: Some(&case.bias), y: &mut y }).unwrap();
        case.check_forward(&y);
    }

    /// `|y - x W^T| <= sum_k |x| s / 2 + |W| t / 2 + s t / 4`: each operand is off by half its scale at most.
    #[test]
    fn products_are_as_near_as_half_a_scale_of_each_operand(
        rows in 1usize..8, depth in 1usize..90, cols in 1usize..40, seed in 0u64..1000,
    ) {
        let case = Case::new([rows, depth, cols], seed);
        let w = normal(cols * depth, seed + 1);
        let half = |row: &[f32]| f64::from(row.iter().fold(0f32, |max, x| max.max(x.abs()))) / 254.0;
        let mut y = vec![f32::NAN; rows * cols];
        linear(rows, Linear { x: &case.x, weight: case.weight(), bias: None, y: &mut y }).unwrap();
        for (y, x) in y.chunks_exact(cols).zip(case.x.chunks_exact(depth)) {
            for (y, w) in y.iter().zip(w.chunks_exact(depth)) {
                let (of_x, of_w) = (half(x), half(w));
                let (mut exact, mut bound) = (0.0, 1e-5);
                for (&x, &w) in x.iter().zip(w) {
                    let (x, w) = (f64::from(x), f64::from(w));
                    exact += x * w;
                    // A hair more than half: the scales are rounded too.
                    bound += 1.0001 * (x.abs() * of_w + w.abs() * of_x + of_x * of_w);
                }
                prop_assert!((f64::from(*y) - exact).abs() <= bound, "{y} {exact} {bound}");
            }
        }
    }
}

#[test]
fn known_values() {
    // Scales 1 and 0.5: codes are the numbers and their doubles.
    let w = [127.0, -3.0, 63.5, 1.0];
    let (mut codes, mut scales) = ([0; 4], [0.0; 2]);
    quantize(Elements::F32(&w), 2, &mut codes, &mut scales).unwrap();
    assert_eq!((codes, scales), ([127, -3, 127, 2], [1.0, 0.5]));
    let weight = Int8Matrix::new(&codes, &scales, 2).unwrap();
    let mut dense = [0.0; 4];
    dequantize(weight, ElementsMut::F32(&mut dense)).unwrap();
    assert_eq!(dense, w);
    let mut y = [0.0; 2];
    linear(1, Linear { x: &[127.0, 2.0], weight, bias: Some(&[0.25, -1.0]), y: &mut y }).unwrap();
    assert_eq!(y, [127.0 * 127.0 - 6.0 + 0.25, 127.0 * 63.5 + 2.0 - 1.0]);
    let mut dx = [1.0; 2];
    grad_x(1, GradX { grad_y: &[127.0, 0.0], weight, grad_x: &mut dx, add: true }).unwrap();
    assert_eq!(dx, [1.0 + 127.0 * 127.0, 1.0 - 3.0 * 127.0]);
}

#[test]
fn rows_of_zeros_stay_zero_and_what_is_not_finite_is_not_lost() {
    for (value, expected) in [(0.0, 0.0), (1e-40, 0.0), (f32::NAN, f32::NAN), (f32::INFINITY, f32::NAN)] {
        let x = [value, 0.0, 1.0, -2.0];
        let (mut codes, mut scales) = ([1; 4], [1.0; 2]);
        quantize(Elements::F32(&x), 2, &mut codes, &mut scales).unwrap();
        assert_eq!((&codes[..2], codes[3], scales[0].to_bits()), (&[0, 0][..], -127, expected.to_bits()));
        for tokens in [1, 40] {
            let weight = Int8Matrix::new(&codes, &scales, 2).unwrap();
            let mut y = vec![1.0; 2 * tokens];
            linear(tokens, Linear { x: &vec![1.0; 2 * tokens], weight, bias: None, y: &mut y }).unwrap();
            assert!(y[0].is_nan() == expected.is_nan() && y[1] != 0.0, "{value}: {y:?}");
        }
    }
}

#[test]
fn sizes_of_zero_are_defined() {
    let none = Int8Matrix::new(&[], &[], 3).unwrap();
    let mut dx = [1.0; 3];
    grad_x(1, GradX { grad_y: &[], weight: none, grad_x: &mut dx, add: false }).unwrap();
    assert_eq!(dx, [0.0; 3]);
    let empty = Int8Matrix::new(&[], &[0.0; 2], 0).unwrap();
    let mut y = [1.0; 2];
    linear(1, Linear { x: &[], weight: empty, bias: Some(&[3.0, 4.0]), y: &mut y }).unwrap();
    assert_eq!(y, [3.0, 4.0]);
    linear(0, Linear { x: &[], weight: none, bias: None, y: &mut [] }).unwrap();
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let message = |error: Int8Error| error.to_string();
    let error = Int8Matrix::new(&[0; 5], &[1.0; 2], 3).unwrap_err();
    assert_eq!(message(error), "int8: `codes` holds 5 elements, expected 2 x 3");
    let codes = vec![0; crate::MAX_DEPTH + 1];
    let error = Int8Matrix::new(&codes, &[1.0], codes.len()).unwrap_err();
    assert!(matches!(error, Int8Error::Depth { depth } if depth == codes.len()));
    let weight = Int8Matrix::new(&codes[..6], &[1.0; 2], 3).unwrap();
    let error = linear(2, Linear { x: &[0.0; 6], weight, bias: None, y: &mut [0.0; 3] }).unwrap_err();
    assert_eq!(message(error), "int8: `y` holds 3 elements, expected 2 x 2");
}
