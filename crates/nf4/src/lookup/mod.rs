//! Codes to values: a table of sixteen for each block, held in registers.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod round;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

pub(crate) use round::with_tables;

/// `out[2 i] = table[block][packed[i] >> 4]`, `out[2 i + 1] = table[block][packed[i] & 15]`, for whole blocks.
type Expand<T> = unsafe fn(packed: &[u8], table: &[[T; 16]], block_size: usize, out: &mut [T], stores: Stores);

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// To be read soon.
    Cached,
    /// Past the caches, which saves reading what is overwritten: for results that are larger than they. The result is
    /// visible to other threads when the call returns.
    Streaming,
}

/// The lookup of one instruction set. A value is proof that the machine has it.
#[derive(Clone, Copy)]
pub(crate) struct Lookup {
    name: &'static str,
    word: Expand<f32>,
    half: Expand<u16>,
}

impl Lookup {
    /// All that this machine has, widest first; never empty.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = {
            let avx2 = is_x86_feature_detected!("avx2");
            let both = avx2 && is_x86_feature_detected!("avx512f");
            let words = both && is_x86_feature_detected!("avx512bw");
            [
                words.then_some(Self { name: "avx512bw", word: avx512::expand, half: avx512::expand_half }),
                both.then_some(Self { name: "avx512", word: avx512::expand, half: avx2::expand_half }),
                avx2.then_some(Self { name: "avx2", word: avx2::expand, half: avx2::expand_half }),
            ]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let vector: [Option<Self>; 0] = [];
        vector.into_iter().flatten().chain([PORTABLE])
    }

    /// The widest that this machine has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(PORTABLE)
    }

    /// Expands blocks of 4-byte values. Stores stream only where `out` is aligned to a cache line.
    fn word(self, packed: &[u8], table: &[[f32; 16]], block_size: usize, out: &mut [f32], stores: Stores) {
        check(packed, table.len(), block_size, out.len());
        // SAFETY: `self` proves the instruction set; the lengths and the alignment were checked.
        unsafe { (self.word)(packed, table, block_size, out, aligned(out.as_ptr().addr(), stores)) }
    }

    /// Expands blocks of 2-byte values, given as their bits.
    fn half(self, packed: &[u8], table: &[[u16; 16]], block_size: usize, out: &mut [u16], stores: Stores) {
        check(packed, table.len(), block_size, out.len());
        // SAFETY: as above.
        unsafe { (self.half)(packed, table, block_size, out, aligned(out.as_ptr().addr(), stores)) }
    }
}

fn check(packed: &[u8], num_blocks: usize, block_size: usize, len: usize) {
    assert!(block_size.is_multiple_of(32), "lookup: blocks of {block_size}");
    assert!(len == num_blocks * block_size && packed.len() * 2 == len, "lookup: {len}");
}

fn aligned(address: usize, stores: Stores) -> Stores {
    if address.is_multiple_of(64) { stores } else { Stores::Cached }
}

impl std::fmt::Debug for Lookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const PORTABLE: Lookup = Lookup { name: "portable", word: expand, half: expand };

fn expand<T: Copy>(packed: &[u8], table: &[[T; 16]], block_size: usize, out: &mut [T], _stores: Stores) {
    let blocks = packed.chunks_exact(block_size / 2).zip(out.chunks_exact_mut(block_size));
    for ((packed, out), table) in blocks.zip(table) {
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
    use super::*;

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let packed: Vec<u8> = (0..=255).collect();
        for (block_size, stores) in
            [32, 64, 512].into_iter().flat_map(|b| [(b, Stores::Cached), (b, Stores::Streaming)])
        {
            let words: Vec<[f32; 16]> =
                (0..512 / block_size).map(|b| std::array::from_fn(|i| (b * 16 + i) as f32 - 99.5)).collect();
            let halves: Vec<[u16; 16]> =
                (0..512 / block_size).map(|b| std::array::from_fn(|i| (b * 4099 + i * 257) as u16 ^ 0x8001)).collect();
            let (mut word, mut half) = (vec![0.0; 512], vec![0; 512]);
            expand(&packed, &words, block_size, &mut word, stores);
            expand(&packed, &halves, block_size, &mut half, stores);
            for lookup in Lookup::available() {
                // On a cache line, and next to it.
                let mut got = device::Buffer::zeroed(device::Device::Cpu, device::DType::F32, 513).unwrap();
                for start in 0..2 {
                    let got = &mut got.f32_mut().unwrap()[start..start + 512];
                    lookup.word(&packed, &words, block_size, got, stores);
                    assert_eq!(got, word, "{lookup:?} {block_size} {stores:?}");
                }
                for start in 0..2 {
                    let got: &mut [u16] = bytemuck::cast_slice_mut(got.f32_mut().unwrap());
                    lookup.half(&packed, &halves, block_size, &mut got[start..start + 512], stores);
                    assert_eq!(got[start..start + 512], half, "{lookup:?} {block_size} {stores:?}");
                }
            }
        }
    }
}
