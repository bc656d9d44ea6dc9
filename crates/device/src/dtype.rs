//! Element types: as a value ([`DType`]), as a type ([`Element`]), and as a slice that carries its type ([`Elements`],
//! [`ElementsMut`]).

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::{DeviceError, simd};

/// How the elements of a tensor are stored. All arithmetic accumulates in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// bfloat16: the upper half of an f32.
    BF16,
    /// IEEE 754 binary16.
    F16,
}

impl DType {
    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::BF16 | DType::F16 => 2,
        }
    }

    /// The name that Hugging Face configurations use: `float32`, `bfloat16`, `float16`.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "float32",
            DType::BF16 => "bfloat16",
            DType::F16 => "float16",
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that a [`DType`] stands for.
pub trait Element: bytemuck::Pod + Send + Sync {
    /// The value that names this type.
    const DTYPE: DType;
    /// Widens exactly.
    fn to_f32(self) -> f32;
    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
}

impl Element for f32 {
    const DTYPE: DType = DType::F32;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    const DTYPE: DType = DType::BF16;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        // half's own conversion quiets NaN payloads, which costs a branch; widening needs none.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        // half's own conversion branches, which keeps loops from being vectorised. A NaN stays one: adding could carry its
        // payload into the sign.
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        bf16::from_bits((if value.is_nan() { bits | 0x0040_0000 } else { rounded } >> 16) as u16)
    }
}

impl Element for f16 {
    const DTYPE: DType = DType::F16;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        f16::from_f32(value)
    }
}

/// A borrowed slice of any float type: how a frozen weight reaches a kernel, in the dtype it is stored in.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// f32 elements.
    F32(&'a [f32]),
    /// bfloat16 elements.
    BF16(&'a [bf16]),
    /// binary16 elements.
    F16(&'a [f16]),
}

impl<'a> Elements<'a> {
    /// The bytes, in the machine's order.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Elements::F32(values) => bytemuck::cast_slice(values),
            Elements::BF16(values) => bytemuck::cast_slice(values),
            Elements::F16(values) => bytemuck::cast_slice(values),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Elements::F32(s) => s.len(),
            Elements::BF16(s) => s.len(),
            Elements::F16(s) => s.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stored dtype.
    pub fn dtype(&self) -> DType {
        match self {
            Elements::F32(_) => DType::F32,
            Elements::BF16(_) => DType::BF16,
            Elements::F16(_) => DType::F16,
        }
    }

    /// Element `index`, widened.
    ///
    /// # Panics
    /// If `index` is out of range, as slice indexing does.
    #[inline]
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Elements::F32(s) => s[index],
            Elements::BF16(s) => s[index].to_f32(),
            Elements::F16(s) => s[index].to_f32(),
        }
    }

    /// The part `start..start + len`.
    ///
    /// # Panics
    /// If the range is out of bounds, as slicing does.
    pub fn slice(&self, start: usize, len: usize) -> Elements<'a> {
        match self {
            Elements::F32(s) => Elements::F32(&s[start..start + len]),
            Elements::BF16(s) => Elements::BF16(&s[start..start + len]),
            Elements::F16(s) => Elements::F16(&s[start..start + len]),
        }
    }

    /// Writes every element, widened, to `out`.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn widen_into(&self, out: &mut [f32]) {
        assert_eq!(self.len(), out.len(), "widen_into: lengths differ");
        match self {
            Elements::F32(s) => out.copy_from_slice(s),
            Elements::BF16(s) => simd::dispatch(Widen { from: s, to: out }),
            Elements::F16(s) => s.convert_to_f32_slice(out),
        }
    }

    /// Reads `bytes` as elements of `dtype`.
    ///
    /// # Errors
    /// [`DeviceError::Misaligned`] if the bytes do not start at a multiple of the element size or end within one.
    pub fn from_bytes(bytes: &'a [u8], dtype: DType) -> Result<Self, DeviceError> {
        let misaligned = |_| DeviceError::Misaligned { dtype, address: bytes.as_ptr() as usize, len: bytes.len() };
        Ok(match dtype {
            DType::F32 => Elements::F32(bytemuck::try_cast_slice(bytes).map_err(misaligned)?),
            DType::BF16 => Elements::BF16(bytemuck::try_cast_slice(bytes).map_err(misaligned)?),
            DType::F16 => Elements::F16(bytemuck::try_cast_slice(bytes).map_err(misaligned)?),
        })
    }
}

/// A mutable slice of any float type: what a source of elements writes to.
#[derive(Debug)]
pub enum ElementsMut<'a> {
    /// f32 elements.
    F32(&'a mut [f32]),
    /// bfloat16 elements.
    BF16(&'a mut [bf16]),
    /// binary16 elements.
    F16(&'a mut [f16]),
}

impl<'a> ElementsMut<'a> {
    /// The slice with its type as a value.
    pub fn new<T: Element>(slice: &'a mut [T]) -> Self {
        match T::DTYPE {
            DType::F32 => ElementsMut::F32(bytemuck::cast_slice_mut(slice)),
            DType::BF16 => ElementsMut::BF16(bytemuck::cast_slice_mut(slice)),
            DType::F16 => ElementsMut::F16(bytemuck::cast_slice_mut(slice)),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ElementsMut::F32(s) => s.len(),
            ElementsMut::BF16(s) => s.len(),
            ElementsMut::F16(s) => s.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The dtype that is written.
    pub fn dtype(&self) -> DType {
        match self {
            ElementsMut::F32(_) => DType::F32,
            ElementsMut::BF16(_) => DType::BF16,
            ElementsMut::F16(_) => DType::F16,
        }
    }

    /// The same elements, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> ElementsMut<'_> {
        match self {
            ElementsMut::F32(s) => ElementsMut::F32(s),
            ElementsMut::BF16(s) => ElementsMut::BF16(s),
            ElementsMut::F16(s) => ElementsMut::F16(s),
        }
    }

    /// The same elements, to read.
    pub fn as_elements(&self) -> Elements<'_> {
        match self {
            ElementsMut::F32(s) => Elements::F32(s),
            ElementsMut::BF16(s) => Elements::BF16(s),
            ElementsMut::F16(s) => Elements::F16(s),
        }
    }

    /// Writes `values`, rounded to nearest, ties to even.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn narrow_from(&mut self, values: &[f32]) {
        assert_eq!(self.len(), values.len(), "narrow_from: lengths differ");
        match self {
            ElementsMut::F32(s) => s.copy_from_slice(values),
            ElementsMut::BF16(s) => simd::dispatch(Narrow { from: values, to: s }),
            ElementsMut::F16(s) => s.convert_from_f32_slice(values),
        }
    }
}

struct Widen<'a> {
    from: &'a [bf16],
    to: &'a mut [f32],
}

impl simd::Kernel for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: simd::Isa>(self) {
        self.from.iter().zip(self.to).for_each(|(&x, y)| *y = Element::to_f32(x));
    }
}

struct Narrow<'a> {
    from: &'a [f32],
    to: &'a mut [bf16],
}

impl simd::Kernel for Narrow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<I: simd::Isa>(self) {
        self.to.iter_mut().zip(self.from).for_each(|(y, &x)| *y = Element::from_f32(x));
    }
}

impl<'a> From<&'a mut [f32]> for ElementsMut<'a> {
    fn from(slice: &'a mut [f32]) -> Self {
        ElementsMut::F32(slice)
    }
}

impl<'a> From<&'a mut [bf16]> for ElementsMut<'a> {
    fn from(slice: &'a mut [bf16]) -> Self {
        ElementsMut::BF16(slice)
    }
}

impl<'a> From<&'a [f32]> for Elements<'a> {
    fn from(slice: &'a [f32]) -> Self {
        Elements::F32(slice)
    }
}

impl<'a> From<&'a [bf16]> for Elements<'a> {
    fn from(slice: &'a [bf16]) -> Self {
        Elements::BF16(slice)
    }
}

impl<'a> From<&'a [f16]> for Elements<'a> {
    fn from(slice: &'a [f16]) -> Self {
        Elements::F16(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_half() {
        for bits in 0..=u16::MAX {
            let (b, h) = (bf16::from_bits(bits), f16::from_bits(bits));
            if !b.is_nan() {
                assert_eq!(Element::to_f32(b), b.to_f32());
                for near in [0, 0x1234, 0x7fff, 0x8000, 0x8001, 0xffff] {
                    let value = f32::from_bits(u32::from(bits) << 16 | near);
                    if !value.is_nan() {
                        assert_eq!(<bf16 as Element>::from_f32(value), bf16::from_f32(value));
                    }
                }
            }
            assert_eq!(<bf16 as Element>::from_f32(Element::to_f32(b)).is_nan(), b.is_nan());
            let longest = f32::from_bits(u32::from(bits) << 16 | 0xffff);
            assert!(!b.is_nan() || <bf16 as Element>::from_f32(longest).is_nan());
            if !h.is_nan() {
                assert_eq!(<f16 as Element>::from_f32(Element::to_f32(h)), h);
            }
        }
    }

    #[test]
    fn misaligned_bytes_are_an_error_not_a_copy() {
        let bytes = [0u8; 9];
        let start = bytes.as_ptr() as usize % 4;
        let odd = &bytes[((1 + 4 - start) % 4) | 1..];
        assert!(matches!(Elements::from_bytes(&odd[..4], DType::F32), Err(DeviceError::Misaligned { .. })));
    }
}
