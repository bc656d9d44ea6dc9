//! `out = A B`, `out += A B` or `out = out * factor + A B` for the small matrices of one pair of blocks.
//!
//! `B` is read in whole registers along its rows and the elements of `A` are broadcast, so neither is repacked: queries
//! stand transposed in `B`, and keys and values are read where they are, along rows or along columns alike.

use crate::isa::{MAX_LANES, Vector};

/// One product, `out[r, c] += sum_k a[r * a_row + k * a_step] * b[k * b_row + c]`.
pub(crate) struct Product<'a> {
    /// Rows of `out`.
    pub(crate) rows: usize,
    /// Length of the sums. They run in order, in one accumulator each.
    pub(crate) depth: usize,
    /// Columns of `out`, a multiple of [`MAX_LANES`].
    pub(crate) cols: usize,
    /// The broadcast operand.
    pub(crate) a: &'a [f32],
    /// From row to row of `a`.
    pub(crate) a_row: usize,
    /// From one step of the sum to the next in `a`.
    pub(crate) a_step: usize,
    /// The operand read in registers.
    pub(crate) b: &'a [f32],
    /// From row to row of `b`.
    pub(crate) b_row: usize,
    /// The result.
    pub(crate) out: &'a mut [f32],
    /// From row to row of `out`.
    pub(crate) out_row: usize,
    /// What becomes of the values that `out` holds.
    pub(crate) start: Start<'a>,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a> {
    /// Nothing: `out` is overwritten.
    Zero,
    /// The values in `out`.
    Add,
    /// The values in `out`, each column times its factor.
    Scaled(&'a [f32]),
}

/// A part of a product that fits the registers.
pub(crate) struct Tile {
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    b: *const f32,
    b_row: usize,
    out: *mut f32,
    out_row: usize,
    start: TileStart,
}

enum TileStart {
    Zero,
    Add,
    Scaled(*const f32),
}

impl Product<'_> {
    /// Cuts the product into tiles of at most `max_rows` by `max_vectors` registers and calls `kernel` with each and its
    /// rows and registers. The operands are checked before.
    pub(crate) fn for_each_tile(
        self,
        lanes: usize,
        max_rows: usize,
        max_vectors: usize,
        kernel: impl Fn(&Tile, usize, usize),
    ) {
        if self.rows == 0 || self.cols == 0 {
            return;
        }
        assert!(self.depth > 0 && self.cols.is_multiple_of(MAX_LANES), "product: {} x {}", self.depth, self.cols);
        assert!((self.rows - 1) * self.a_row + (self.depth - 1) * self.a_step < self.a.len(), "product: a");
        assert!((self.depth - 1) * self.b_row + self.cols <= self.b.len(), "product: b");
        assert!((self.rows - 1) * self.out_row + self.cols <= self.out.len(), "product: out");
        if let Start::Scaled(factors) = self.start {
            assert!(self.cols <= factors.len(), "product: factors");
        }
        let out = self.out.as_mut_ptr();
        for col in (0..self.cols).step_by(max_vectors * lanes) {
            let vectors = ((self.cols - col) / lanes).min(max_vectors);
            // As few tiles as can be, of as equal heights as can be: a short last tile would leave units idle.
            let tiles = self.rows.div_ceil(max_rows);
            for index in 0..tiles {
                let (row, next) = (index * self.rows / tiles, (index + 1) * self.rows / tiles);
                let rows = next - row;
                let tile = Tile {
                    depth: self.depth,
                    a: self.a[row * self.a_row..].as_ptr(),
                    a_row: self.a_row,
                    a_step: self.a_step,
                    b: self.b[col..].as_ptr(),
                    b_row: self.b_row,
                    out: out.wrapping_add(row * self.out_row + col),
                    out_row: self.out_row,
                    start: match self.start {
                        Start::Zero => TileStart::Zero,
                        Start::Add => TileStart::Add,
                        Start::Scaled(factors) => TileStart::Scaled(factors[col..].as_ptr()),
                    },
                };
                kernel(&tile, rows, vectors);
            }
        }
    }
}

/// One tile of `ROWS` rows by `VECTORS` registers.
///
/// # Safety
/// The instruction set is available; the tile's operands hold `ROWS` rows, `depth` steps and `VECTORS` registers.
#[inline(always)]
pub(crate) unsafe fn compute<V: Vector, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    // SAFETY: every offset is a row below `ROWS`, a step below `depth` and a register below `VECTORS`, which the caller
    // vouches for.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        match tile.start {
            TileStart::Zero => {}
            TileStart::Add => {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        *sum = V::load(tile.out.add(r * tile.out_row + v * V::LANES));
                    }
                }
            }
            TileStart::Scaled(factors) => {
                for (r, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let old = V::load(tile.out.add(r * tile.out_row + v * V::LANES));
                        *sum = old.mul(V::load(factors.add(v * V::LANES)));
                    }
                }
            }
        }
        let rows: [*const f32; ROWS] = std::array::from_fn(|r| tile.a.wrapping_add(r * tile.a_row));
        let (mut step, mut b) = (0, tile.b);
        for _ in 0..tile.depth {
            let mut vectors = [V::zero(); VECTORS];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = V::load(b.add(v * V::LANES));
            }
            for (row, from) in sums.iter_mut().zip(rows) {
                let factor = V::splat(*from.add(step));
                for (sum, vector) in row.iter_mut().zip(vectors) {
                    *sum = factor.mul_add(vector, *sum);
                }
            }
            step += tile.a_step;
            // Past the last step the pointer is not used: `wrapping_add` may leave the slice.
            b = b.wrapping_add(tile.b_row);
        }
        for (r, row) in sums.into_iter().enumerate() {
            for (v, sum) in row.into_iter().enumerate() {
                sum.store(tile.out.add(r * tile.out_row + v * V::LANES));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::InstructionSet;

    /// Small integers, so that every order of summation gives the same f32.
    fn integers(len: usize, modulus: usize) -> Vec<f32> {
        (0..len).map(|i| (i * 5 % modulus) as f32 - 3.0).collect()
    }

    #[test]
    fn every_tile_size_of_every_instruction_set() {
        let factors = integers(64, 7);
        for isa in InstructionSet::available() {
            for (rows, depth, cols) in (1..=13).flat_map(|r| [16, 32, 48, 64].map(|c| (r, r % 5 + 1, c))) {
                // `A` by rows and by columns, with gaps.
                for (a_row, a_step) in [(depth + 2, 1), (1, rows + 3)] {
                    let (a, b) = (integers(rows * a_row + depth * a_step, 11), integers(depth * 70, 13));
                    let old = integers(rows * 65, 9);
                    for start in [Start::Zero, Start::Add, Start::Scaled(&factors)] {
                        let mut out = old.clone();
                        isa.product(Product {
                            rows,
                            depth,
                            cols,
                            a: &a,
                            a_row,
                            a_step,
                            b: &b,
                            b_row: 70,
                            out: &mut out,
                            out_row: 65,
                            start,
                        });
                        for (i, (&got, &old)) in out.iter().zip(&old).enumerate() {
                            let (r, c) = (i / 65, i % 65);
                            let sum: f32 = (0..depth).map(|k| a[r * a_row + k * a_step] * b[k * 70 + c]).sum();
                            let expected = match start {
                                _ if c >= cols => old,
                                Start::Zero => sum,
                                Start::Add => old + sum,
                                Start::Scaled(factors) => old * factors[c] + sum,
                            };
                            assert_eq!(got, expected, "{isa:?} {rows}x{depth}x{cols} at {r},{c}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "product: b")]
    fn short_operands_are_caught_before_any_access() {
        let (a, b, mut out) = ([0.0; 4], [0.0; 31], [0.0; 16]);
        let product = Product {
            rows: 1,
            depth: 2,
            cols: 16,
            a: &a,
            a_row: 1,
            a_step: 1,
            b: &b,
            b_row: 16,
            out: &mut out,
            out_row: 16,
            start: Start::Zero,
        };
        InstructionSet::best().product(product);
    }
}
