//! Matrix transposition through registers.

use crate::isa::{MAX_LANES, Vector};

/// `out[c, r] = from[r, c]`, rows of `from` `from_row` apart and rows of `out` `out_row` apart.
pub(crate) struct Transpose<'a> {
    /// Rows of `from`, a multiple of [`MAX_LANES`].
    pub(crate) rows: usize,
    /// Columns of `from`, a multiple of [`MAX_LANES`].
    pub(crate) cols: usize,
    pub(crate) from: &'a [f32],
    pub(crate) from_row: usize,
    pub(crate) out_row: usize,
}

impl Transpose<'_> {
    pub(crate) fn check(&self, out: &[f32]) {
        assert!(
            self.rows.is_multiple_of(MAX_LANES) && self.cols.is_multiple_of(MAX_LANES),
            "transpose: {} x {}",
            self.rows,
            self.cols
        );
        if self.rows > 0 && self.cols > 0 {
            assert!((self.rows - 1) * self.from_row + self.cols <= self.from.len(), "transpose: from");
            assert!((self.cols - 1) * self.out_row + self.rows <= out.len(), "transpose: out");
        }
    }
}

/// Blocks of `LANES` by `LANES`. Zipping register `i` with register `i + LANES / 2`, `log2 LANES` times over, moves every
/// lane index into the register index, one bit at a time.
///
/// # Safety
/// The instruction set is available, `LANES = V::LANES`, and [`Transpose::check`] passed for what `out` points to.
#[inline(always)]
pub(crate) unsafe fn compute<V: Vector, const LANES: usize>(transpose: &Transpose<'_>, out: *mut f32) {
    let from = transpose.from.as_ptr();
    for row in (0..transpose.rows).step_by(LANES) {
        for col in (0..transpose.cols).step_by(LANES) {
            // SAFETY: the block lies within both matrices, as the caller checked.
            unsafe {
                let mut block = [V::zero(); LANES];
                for (i, register) in block.iter_mut().enumerate() {
                    *register = V::load(from.add((row + i) * transpose.from_row + col));
                }
                let mut width = 1;
                while width < LANES {
                    let mut zipped = block;
                    for i in 0..LANES / 2 {
                        (zipped[2 * i], zipped[2 * i + 1]) = block[i].zip(block[i + LANES / 2]);
                    }
                    block = zipped;
                    width *= 2;
                }
                for (i, register) in block.into_iter().enumerate() {
                    register.store(out.add((col + i) * transpose.out_row + row));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::InstructionSet;

    #[test]
    fn rows_become_columns_on_every_instruction_set() {
        for isa in InstructionSet::available() {
            for (rows, cols) in [(16, 16), (64, 16), (32, 80)] {
                let from: Vec<f32> = (0..rows * (cols + 5)).map(|i| i as f32).collect();
                let mut out = vec![-1.0; cols * (rows + 3)];
                isa.transpose(Transpose { rows, cols, from: &from, from_row: cols + 5, out_row: rows + 3 }, &mut out);
                for (i, &got) in out.iter().enumerate() {
                    let (c, r) = (i / (rows + 3), i % (rows + 3));
                    assert_eq!(got, if r < rows { from[r * (cols + 5) + c] } else { -1.0 }, "{isa:?} {r},{c}");
                }
            }
        }
    }
}
