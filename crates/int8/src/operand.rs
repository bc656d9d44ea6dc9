//! A quantized matrix in a product of floating-point numbers: dequantized panel by panel while it is packed.

use device::{DType, Element, ElementsMut};
use gemm::{Expand, Window};

use crate::Int8Matrix;

/// What [`gemm::Matrix::expanded`] takes: `code scale`, rounded to a dtype. For ops that need a weight's values, where
/// [`linear`](crate::linear()) does not serve.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    matrix: Int8Matrix<'a>,
    dtype: DType,
}

impl<'a> Operand<'a> {
    /// The values of `matrix`, rounded to `dtype`.
    pub fn new(matrix: Int8Matrix<'a>, dtype: DType) -> Self {
        Self { matrix, dtype }
    }

    fn write<T: Element>(&self, window: Window, out: &mut [T]) {
        let cols = self.matrix.cols().max(1);
        for (line, mut out) in out.chunks_mut(window.row_len).enumerate() {
            let mut first = window.first + line * window.row_stride;
            // Row by row, for each has a scale of its own.
            while !out.is_empty() {
                let (now, later) = out.split_at_mut(out.len().min(cols - first % cols));
                let scale = self.matrix.scales()[first / cols];
                let codes = &self.matrix.codes()[first..][..now.len()];
                now.iter_mut().zip(codes).for_each(|(to, &code)| *to = T::from_f32(f32::from(code) * scale));
                first += now.len();
                out = later;
            }
        }
    }
}

impl Expand for Operand<'_> {
    fn dtype(&self) -> DType {
        self.dtype
    }

    fn len(&self) -> usize {
        self.matrix.codes().len()
    }

    fn expand(&self, window: Window, out: ElementsMut<'_>) {
        match out {
            ElementsMut::F32(out) => self.write(window, out),
            ElementsMut::BF16(out) => self.write(window, out),
            ElementsMut::F16(out) => self.write(window, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_within_rows_and_across_them() {
        let matrix = Int8Matrix::new(&[1, 2, 3, 4, 5, 6], &[1.0, 10.0], 3).unwrap();
        let operand = Operand::new(matrix, DType::F32);
        let mut out = [0.0; 6];
        operand.expand(Window { first: 0, row_len: 6, row_stride: 6 }, ElementsMut::F32(&mut out));
        assert_eq!(out, [1.0, 2.0, 3.0, 40.0, 50.0, 60.0]);
        let mut out = [0.0; 4];
        operand.expand(Window { first: 1, row_len: 2, row_stride: 3 }, ElementsMut::F32(&mut out));
        assert_eq!(out, [2.0, 3.0, 50.0, 60.0]);
        assert_eq!(operand.len(), 6);
    }
}
