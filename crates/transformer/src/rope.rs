//! Rotary position embedding.
//!
//! ```text
//! h = rotary_dim / 2,  c, s = cos, sin of the token's position (with the attention factor in them)
//! y[j]     = c[j] x[j]     - s[j] x[j + h]           for j < h, in every head
//! y[j + h] = c[j] x[j + h] + s[j] x[j]
//! y[j]     = x[j]                                    for j >= rotary_dim
//!
//! dx[j]     = c[j] dy[j]     + s[j] dy[j + h]        the transposed map: the rotation back, with the same factor
//! dx[j + h] = c[j] dy[j + h] - s[j] dy[j]
//! ```
//!
//! Channels are paired as in Hugging Face's Llama and GPT-NeoX (`rotate_half`). Source: Su et al. 2021, "RoFormer".

use device::parallel;
use device::simd::{Isa, Kernel, dispatch};

use crate::blocks::rows_per_block;
use crate::error::check_len;
use crate::{Result, RopeTable, TransformerError};

const OP: &str = "rope";

/// Sizes of the rotated tensor.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows.
    pub num_tokens: usize,
    /// Heads of a row, side by side from its start.
    pub num_heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Elements from one token to the next: `num_heads * head_dim`, or more if the heads are the first columns of a wider
    /// row, as the queries in a fused projection are.
    pub row_stride: usize,
}

impl Shape {
    /// Heads that fill their rows.
    pub fn contiguous(num_tokens: usize, num_heads: usize, head_dim: usize) -> Self {
        Self { num_tokens, num_heads, head_dim, row_stride: num_heads * head_dim }
    }

    fn width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    fn check(&self, table: &RopeTable, positions: &[u32]) -> Result<()> {
        if table.rotary_dim() > self.head_dim {
            return Err(TransformerError::RotaryDim { rotary_dim: table.rotary_dim(), head_dim: self.head_dim });
        }
        if self.row_stride < self.width() {
            return check_len(OP, "row", &[self.num_heads, self.head_dim], self.row_stride);
        }
        check_len(OP, "positions", &[self.num_tokens], positions.len())?;
        let max_positions = table.max_positions();
        match positions.iter().position(|&p| p as usize >= max_positions) {
            Some(index) => Err(TransformerError::Position { index, position: positions[index], max_positions }),
            None => Ok(()),
        }
    }
}

/// Which way to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From `x` to `y`.
    Forward,
    /// From `dy` to `dx`.
    Backward,
}

/// Arguments of [`forward`].
#[derive(Debug)]
pub struct Forward<'a> {
    /// `[num_tokens, row_stride]`
    pub x: &'a [f32],
    /// The angles.
    pub table: &'a RopeTable,
    /// `[num_tokens]`: each token's place in its sequence.
    pub positions: &'a [u32],
    /// `[num_tokens, num_heads * head_dim]`, written.
    pub y: &'a mut [f32],
}

/// Rotates into another slice, which has no gaps between its rows.
///
/// # Errors
/// [`TransformerError::RotaryDim`], [`TransformerError::Position`] or [`TransformerError::Length`] for arguments that do
/// not fit.
pub fn forward(shape: Shape, args: Forward<'_>) -> Result<()> {
    let Forward { x, table, positions, y } = args;
    shape.check(table, positions)?;
    check_len(OP, "x", &[shape.num_tokens, shape.row_stride], x.len())?;
    check_len(OP, "y", &[shape.num_tokens, shape.width()], y.len())?;
    let width = shape.width();
    parallel::rows_mut(y, width, rows_per_block(width), |start, y| {
        // A block is copied and rotated while it is in the cache.
        let x = x[start * shape.row_stride..].chunks(shape.row_stride);
        y.chunks_exact_mut(width).zip(x).for_each(|(y, x)| y.copy_from_slice(&x[..width]));
        let positions = &positions[start..start + y.len() / width];
        dispatch(RotateRows { x: y, stride: width, shape, table, positions, direction: Direction::Forward });
    });
    Ok(())
}

/// Arguments of [`in_place`].
#[derive(Debug)]
pub struct InPlace<'a> {
    /// `[num_tokens, row_stride]`, rotated.
    pub x: &'a mut [f32],
    /// The angles.
    pub table: &'a RopeTable,
    /// `[num_tokens]`: each token's place in its sequence.
    pub positions: &'a [u32],
    /// [`Direction::Backward`] turns the gradient of `y` into that of `x`.
    pub direction: Direction,
}

/// Rotates where the values are.
///
/// # Errors
/// As [`forward`].
pub fn in_place(shape: Shape, args: InPlace<'_>) -> Result<()> {
    let InPlace { x, table, positions, direction } = args;
    shape.check(table, positions)?;
    check_len(OP, "x", &[shape.num_tokens, shape.row_stride], x.len())?;
    let stride = shape.row_stride;
    parallel::rows_mut(x, stride, rows_per_block(stride), |start, x| {
        let positions = &positions[start..start + x.len() / stride];
        dispatch(RotateRows { x, stride, shape, table, positions, direction });
    });
    Ok(())
}

struct RotateRows<'a> {
    x: &'a mut [f32],
    stride: usize,
    shape: Shape,
    table: &'a RopeTable,
    positions: &'a [u32],
    direction: Direction,
}

impl Kernel for RotateRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let sign = if self.direction == Direction::Forward { 1.0 } else { -1.0 };
        let half = self.table.rotary_dim() / 2;
        for (row, &position) in self.x.chunks_exact_mut(self.stride).zip(self.positions) {
            let (cos, sin) = self.table.row(position);
            for head in row[..self.shape.width()].chunks_exact_mut(self.shape.head_dim) {
                let (low, high) = head[..2 * half].split_at_mut(half);
                for (((low, high), &c), &s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                    let s = sign * s;
                    (*low, *high) = (I::mul_add(c, *low, -(s * *high)), I::mul_add(c, *high, s * *low));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, values};
    use proptest::prelude::*;

    fn table(rotary_dim: usize, attention_factor: f32) -> RopeTable {
        let inv_freq: Vec<f32> = (0..rotary_dim / 2).map(|j| 0.5f32.powi(j as i32)).collect();
        RopeTable::from_frequencies(&inv_freq, attention_factor, 64).unwrap()
    }

    #[test]
    fn a_pair_is_rotated_by_its_angle_and_the_rest_passes() {
        let table = table(4, 1.0);
        let x = [1.0, 2.0, 3.0, 4.0, 5.0];
        let mut y = [f32::NAN; 5];
        let args = Forward { x: &x, table: &table, positions: &[3], y: &mut y };
        forward(Shape::contiguous(1, 1, 5), args).unwrap();
        let rotate =
            |a: f64, b: f64, angle: f64| (a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin());
        let ((y0, y2), (y1, y3)) = (rotate(1.0, 3.0, 3.0), rotate(2.0, 4.0, 1.5));
        // Two products and a sum of values up to 5.
        assert_close(&y, &[y0, y1, y2, y3, 5.0], 5e-7);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn backward_is_the_transpose(heads in 1usize..4, pairs in 1usize..20, pass in 0usize..3, gap in 0usize..4, seed: u64) {
            let (tokens, head_dim) = (3, 2 * pairs + pass);
            let table = table(2 * pairs, 1.25);
            let positions = [0, 5, 63];
            let contiguous = Shape::contiguous(tokens, heads, head_dim);
            let strided = Shape { row_stride: heads * head_dim + gap, ..contiguous };
            let x = values(tokens * strided.row_stride, seed, 1.0);
            let dy = values(tokens * heads * head_dim, seed ^ 1, 1.0);
            let mut y = vec![f32::NAN; dy.len()];
            forward(strided, Forward { x: &x, table: &table, positions: &positions, y: &mut y }).unwrap();
            let mut dx = dy.clone();
            let direction = Direction::Backward;
            in_place(contiguous, InPlace { x: &mut dx, table: &table, positions: &positions, direction }).unwrap();
            // <y, dy> = <x, dx>, over the columns that are heads.
            let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
            let left: f64 = y.iter().zip(&dy).map(|(&a, &b)| product(a, b)).sum();
            let rows = x.chunks(strided.row_stride).zip(dx.chunks(heads * head_dim));
            let right: f64 = rows.flat_map(|(x, dx)| x.iter().zip(dx).map(|(&a, &b)| product(a, b))).sum();
            // Up to 360 terms of size 1 with one rounding each.
            prop_assert!((left - right).abs() <= 5e-5, "{left} {right}");

            // In place on the strided rows gives the same values and leaves the gaps alone.
            let mut moved = x.clone();
            let direction = Direction::Forward;
            in_place(strided, InPlace { x: &mut moved, table: &table, positions: &positions, direction }).unwrap();
            for ((moved, x), y) in moved.chunks(strided.row_stride).zip(x.chunks(strided.row_stride)).zip(y.chunks(heads * head_dim)) {
                prop_assert_eq!(&moved[..y.len()], y);
                prop_assert_eq!(&moved[y.len()..], &x[y.len()..]);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let table = table(4, 1.0);
        let run = |shape: Shape, positions: &[u32], len: usize| {
            let direction = Direction::Forward;
            in_place(shape, InPlace { x: &mut vec![0.0; len], table: &table, positions, direction })
        };
        let beyond = run(Shape::contiguous(2, 1, 4), &[0, 64], 8);
        assert!(matches!(beyond, Err(TransformerError::Position { index: 1, position: 64, max_positions: 64 })));
        let narrow = run(Shape::contiguous(1, 2, 2), &[0], 4);
        assert!(matches!(narrow, Err(TransformerError::RotaryDim { rotary_dim: 4, head_dim: 2 })));
        let short = run(Shape { row_stride: 3, ..Shape::contiguous(1, 1, 4) }, &[0], 3);
        assert!(matches!(short, Err(TransformerError::Length { argument: "row", .. })));
        assert!(matches!(run(Shape::contiguous(1, 1, 4), &[0], 5), Err(TransformerError::Length { .. })));
    }
}
