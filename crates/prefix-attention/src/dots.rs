//! Inner products of a few queries with many keys, each read along its elements: what a query tile too narrow for
//! [`crate::product`] needs, where a register would hold one query and idle lanes.

use crate::isa::{MAX_LANES, Vector};

/// `out[r, j] = q[r] . k[j]`.
pub(crate) struct Dots<'a> {
    pub(crate) rows: usize,
    /// At least 1.
    pub(crate) keys: usize,
    /// Length of the inner products, a multiple of [`MAX_LANES`].
    pub(crate) dim: usize,
    /// Rows without gaps.
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    /// From key to key.
    pub(crate) k_row: usize,
    /// From row to row of `out`: at least `keys`, rounded up to a multiple of [`MAX_LANES`]; what is beyond `keys` is
    /// overwritten with values without meaning.
    pub(crate) out_row: usize,
}

impl Dots<'_> {
    pub(crate) fn check(&self, out: &[f32]) {
        assert!(self.keys > 0 && self.dim.is_multiple_of(MAX_LANES), "dots: {} keys of {}", self.keys, self.dim);
        assert!(self.rows * self.dim <= self.q.len(), "dots: q");
        assert!((self.keys - 1) * self.k_row + self.dim <= self.k.len(), "dots: k");
        assert!(self.keys.next_multiple_of(MAX_LANES) <= self.out_row, "dots: out_row");
        assert!(self.rows * self.out_row <= out.len(), "dots: out");
    }
}

/// As many keys at a time as a register has lanes, one accumulator each; the lanes of all accumulators are added together
/// by zipping halves, which also puts the sums in order.
///
/// # Safety
/// The instruction set is available, `LANES = V::LANES`, and [`Dots::check`] passed for what `out` points to.
#[inline(always)]
pub(crate) unsafe fn compute<V: Vector, const LANES: usize>(dots: &Dots<'_>, out: *mut f32) {
    for first in (0..dots.keys).step_by(LANES) {
        // Past the last key the last one is taken again; its sums land beyond `keys`.
        let keys: [*const f32; LANES] =
            std::array::from_fn(|j| dots.k[(first + j).min(dots.keys - 1) * dots.k_row..].as_ptr());
        for row in 0..dots.rows {
            // SAFETY: `c + LANES <= dim`, and the caller checked that rows and keys hold `dim` elements and `out_row`
            // whole registers.
            unsafe {
                let q = dots.q.as_ptr().add(row * dots.dim);
                let mut sums = [V::zero(); LANES];
                for c in (0..dots.dim).step_by(LANES) {
                    let q = V::load(q.add(c));
                    for (sum, key) in sums.iter_mut().zip(keys) {
                        *sum = q.mul_add(V::load(key.add(c)), *sum);
                    }
                }
                let mut width = LANES / 2;
                while width > 0 {
                    for i in 0..width {
                        let (low, high) = sums[i].zip(sums[i + width]);
                        sums[i] = low.add(high);
                    }
                    width /= 2;
                }
                sums[0].store(out.add(row * dots.out_row + first));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::InstructionSet;

    #[test]
    fn every_number_of_keys_of_every_instruction_set() {
        // Small integers, so that every order of summation gives the same f32.
        let values = |len, modulus| (0..len).map(|i: usize| (i * 5 % modulus) as f32 - 3.0).collect::<Vec<_>>();
        for isa in InstructionSet::available() {
            for (rows, keys, dim) in (1..=33).flat_map(|keys| [(1, keys, 16), (3, keys, 48)]) {
                let (q, k) = (values(rows * dim, 11), values(keys * (dim + 2), 13));
                let mut out = vec![f32::NAN; rows * 48];
                isa.dots(Dots { rows, keys, dim, q: &q, k: &k, k_row: dim + 2, out_row: 48 }, &mut out);
                for (r, j) in (0..rows).flat_map(|r| (0..keys).map(move |j| (r, j))) {
                    let expected: f32 = (0..dim).map(|c| q[r * dim + c] * k[j * (dim + 2) + c]).sum();
                    assert_eq!(out[r * 48 + j], expected, "{isa:?} {r},{j} of {keys}");
                }
            }
        }
    }
}
