//! Codes to values: a table of sixteen, times the block's `absmax`, held in registers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use device::simd::{self, Isa, Kernel};
use half::bf16;

use crate::codebook::CODEBOOK;

/// `out[2 i] = CODEBOOK[packed[i] >> 4] absmax`, `out[2 i + 1] = CODEBOOK[packed[i] & 15] absmax`, for whole blocks of a
/// multiple of 32 elements.
type Expand = unsafe fn(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32]);

/// The lookup of one instruction set. A value is proof that the machine has it.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    name: &'static str,
    expand: Expand,
}

impl Lookup {
    /// All that this machine has, widest first; never empty.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [
            is_x86_feature_detected!("avx512f").then_some(Self { name: "avx512", expand: avx512::expand }),
            is_x86_feature_detected!("avx2").then_some(Self { name: "avx2", expand: avx2::expand }),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let vector: [Option<Self>; 0] = [];
        vector.into_iter().flatten().chain([PORTABLE])
    }

    /// The widest that this machine has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(PORTABLE)
    }

    /// See [`Expand`].
    pub(crate) fn expand(self, packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32]) {
        assert!(block_size.is_multiple_of(32), "lookup: blocks of {block_size}");
        assert!(out.len() == absmax.len() * block_size && packed.len() * 2 == out.len(), "lookup: {}", out.len());
        // SAFETY: `self` proves the instruction set, and the lengths fit each other.
        unsafe { (self.expand)(packed, absmax, block_size, out) }
    }

    /// Rounds to nearest, ties to even; NaN stays NaN.
    pub(crate) fn round_to_bf16(self, values: &[f32], out: &mut [bf16]) {
        simd::dispatch(RoundToBf16 { values, out });
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const PORTABLE: Lookup = Lookup { name: "portable", expand };

fn expand(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [f32]) {
    let blocks = packed.chunks_exact(block_size / 2).zip(out.chunks_exact_mut(block_size));
    for ((packed, out), absmax) in blocks.zip(absmax) {
        let table = CODEBOOK.map(|value| value * absmax);
        for (byte, pair) in packed.iter().zip(out.as_chunks_mut::<2>().0) {
            *pair = [table[usize::from(byte >> 4)], table[usize::from(byte & 15)]];
        }
    }
}

struct RoundToBf16<'a> {
    values: &'a [f32],
    out: &'a mut [bf16],
}

impl Kernel for RoundToBf16<'_> {
    type Output = ();

    #[inline(always)]
    fn run<I: Isa>(self) {
        for (out, value) in self.out.iter_mut().zip(self.values) {
            let bits = value.to_bits();
            // Half a unit of what is kept, less one where that is even already.
            let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
            let quiet_nan = bits >> 16 | 0x40;
            *out = bf16::from_bits(if value.is_nan() { quiet_nan } else { rounded } as u16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let packed: Vec<u8> = (0..=255).collect();
        for block_size in [32, 64, 512] {
            let absmax: Vec<f32> = (0..512 / block_size).map(|i| 0.37 + i as f32).collect();
            let mut expected = vec![0.0; 512];
            expand(&packed, &absmax, block_size, &mut expected);
            for lookup in Lookup::available() {
                let mut got = vec![f32::NAN; 512];
                lookup.expand(&packed, &absmax, block_size, &mut got);
                assert_eq!(got, expected, "{lookup:?}");
            }
        }
    }

    #[test]
    fn bf16_is_rounded_as_half_rounds() {
        let values: Vec<f32> = (0..=u16::MAX)
            .flat_map(|high| [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff].map(|low| u32::from(high) << 16 | low))
            .map(f32::from_bits)
            .collect();
        let mut got = vec![bf16::ZERO; values.len()];
        Lookup::best().round_to_bf16(&values, &mut got);
        for (value, got) in values.into_iter().zip(got) {
            assert_eq!(got.to_bits(), bf16::from_f32(value).to_bits(), "{value}");
        }
    }
}
