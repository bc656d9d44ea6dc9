//! Codes to values: a table of sixteen for each block, made and held in registers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use device::{Element, ElementsMut};
use half::{bf16, f16};

use crate::codebook::CODEBOOK;

/// `out[2 i] = CODEBOOK[packed[i] >> 4] absmax[block]`, `out[2 i + 1] = CODEBOOK[packed[i] & 15] absmax[block]`, rounded in f32 and
/// then to `T`, for whole blocks.
type Expand<T> = unsafe fn(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [T], stores: Stores);

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// To be read soon.
    Cached,
    /// Past the caches, which saves reading what is overwritten: for results that are larger than they. The result is
    /// visible to other threads when the call returns. Only where it is aligned to a cache line.
    Streaming,
}

/// The lookup of one instruction set. A value is proof that the machine has it.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    name: &'static str,
    to_f32: Expand<f32>,
    to_bf16: Expand<bf16>,
    to_f16: Expand<f16>,
}

impl Lookup {
    /// All that this machine has, widest first; never empty.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c");
            let avx2 = Self { name: "avx2", to_f32: avx2::to_f32, to_bf16: avx2::to_bf16, to_f16: avx2::to_f16 };
            let has_avx512 = has_avx2 && is_x86_feature_detected!("avx512f");
            let avx512 = Self { name: "avx512", to_f32: avx512::to_f32, ..avx2 };
            let has_avx512bw = has_avx512 && is_x86_feature_detected!("avx512bw");
            let avx512bw = Self { name: "avx512bw", to_bf16: avx512::to_bf16, to_f16: avx512::to_f16, ..avx512 };
            [has_avx512bw.then_some(avx512bw), has_avx512.then_some(avx512), has_avx2.then_some(avx2)]
        };
        #[cfg(target_arch = "aarch64")]
        let vector = {
            let neon = Self { name: "neon", to_f32: neon::to_f32, to_bf16: neon::to_bf16, to_f16: neon::to_f16 };
            [std::arch::is_aarch64_feature_detected!("neon").then_some(neon)]
        };
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let vector: [Option<Self>; 0] = [];
        vector.into_iter().flatten().chain([PORTABLE])
    }

    /// The widest that this machine has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(PORTABLE)
    }

    /// Expands a block of `out` for each `absmax`.
    pub(crate) fn expand<T: Element>(
        self,
        packed: &[u8],
        absmax: &[f32],
        block_size: usize,
        out: &mut [T],
        stores: Stores,
    ) {
        let len = out.len();
        assert!(block_size.is_multiple_of(32), "lookup: blocks of {block_size}");
        assert!(len == absmax.len() * block_size && packed.len() * 2 == len, "lookup: {len}");
        let stores = if out.as_ptr().addr().is_multiple_of(64) { stores } else { Stores::Cached };
        // SAFETY: `self` proves the instruction set; the lengths and the alignment were checked.
        unsafe {
            match ElementsMut::new(out) {
                ElementsMut::F32(out) => (self.to_f32)(packed, absmax, block_size, out, stores),
                ElementsMut::BF16(out) => (self.to_bf16)(packed, absmax, block_size, out, stores),
                ElementsMut::F16(out) => (self.to_f16)(packed, absmax, block_size, out, stores),
            }
        }
    }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const PORTABLE: Lookup = Lookup { name: "portable", to_f32: expand, to_bf16: expand, to_f16: expand };

fn expand<T: Element>(packed: &[u8], absmax: &[f32], block_size: usize, out: &mut [T], _stores: Stores) {
    let blocks = packed.chunks_exact(block_size / 2).zip(out.chunks_exact_mut(block_size));
    for ((packed, out), absmax) in blocks.zip(absmax) {
        let table = CODEBOOK.map(|value| T::from_f32(value * absmax));
        for (byte, pair) in packed.iter().zip(out.as_chunks_mut::<2>().0) {
            *pair = [table[usize::from(byte >> 4)], table[usize::from(byte & 15)]];
        }
    }
}

/// The 32 codes of 16 bytes, in order.
///
/// # Safety
/// `from` is valid for 16 bytes. SSE2, which it uses, is part of every x86-64.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn unpack(from: *const u8) -> [__m128i; 2] {
    // SAFETY: the caller's.
    unsafe {
        let (bytes, low_half) = (_mm_loadu_si128(from.cast()), _mm_set1_epi8(15));
        let even = _mm_and_si128(_mm_srli_epi16::<4>(bytes), low_half);
        let odd = _mm_and_si128(bytes, low_half);
        [_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd)]
    }
}

#[cfg(test)]
mod tests {
    use device::{Buffer, Device};

    use super::*;

    /// Magnitudes whose products are normal, subnormal, ties, infinite and NaN in some of the types.
    fn absmax(count: usize) -> Vec<f32> {
        let odd = [1.0, -3.7e-3, 1.0 + f32::EPSILON, 65520.0, 3.39e38, 1e-41, 6e-8, f32::INFINITY, f32::NAN, 0.0];
        let from_bits = (0..).map(|i: u32| f32::from_bits(i.wrapping_mul(0x9e37_79b9)));
        odd.into_iter().chain(from_bits).take(count).collect()
    }

    fn every_instruction_set<T: Element>() {
        for (block_size, stores) in
            [32, 64, 512].into_iter().flat_map(|b| [(b, Stores::Cached), (b, Stores::Streaming)])
        {
            let (len, absmax) = (64 * block_size, absmax(64));
            let packed: Vec<u8> = (0..len / 2).map(|i| (i * 37 + i / 256) as u8).collect();
            let mut expected = vec![T::from_f32(0.0); len];
            expand(&packed, &absmax, block_size, &mut expected, stores);
            for lookup in Lookup::available() {
                // On a cache line, and next to it.
                let mut got = Buffer::zeroed(Device::Cpu, T::DTYPE, len + 1).unwrap();
                for start in 0..2 {
                    let got = &mut got.as_mut_slice::<T>().unwrap()[start..start + len];
                    lookup.expand(&packed, &absmax, block_size, got, stores);
                    for (got, expected) in got.iter().zip(&expected) {
                        let (got, expected) = (got.to_f32(), expected.to_f32());
                        let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                        assert!(same, "{lookup:?} {} {block_size} {stores:?}: {got} {expected}", T::DTYPE);
                    }
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        every_instruction_set::<f32>();
        every_instruction_set::<bf16>();
        every_instruction_set::<f16>();
    }
}
