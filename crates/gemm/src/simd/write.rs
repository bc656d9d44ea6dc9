//! What becomes of complete sums.

use device::DType;
use half::{bf16, f16};

use super::{Destination, Vector, load_partial, store_partial};
use crate::kernel::Sums;

/// Writes `C = alpha sums + addend`, rounded once to the dtype of `C`.
///
/// # Safety
/// The instruction set is available; `c` and an addend are valid for the rows and columns of the sums, and nothing else
/// accesses them.
#[inline(always)]
pub(crate) unsafe fn write<V: Vector>(sums: &Sums) {
    // SAFETY: the caller's.
    unsafe {
        match sums.c.dtype {
            DType::F32 => write_as::<V, f32>(sums),
            DType::BF16 => write_as::<V, bf16>(sums),
            DType::F16 => write_as::<V, f16>(sums),
        }
    }
}

/// # Safety
/// As for [`write()`], with a `c` of this type.
#[inline(always)]
unsafe fn write_as<V: Vector, T: Destination>(sums: &Sums) {
    // SAFETY: the caller's; the sums are rows of `stride` of which no more than `cols` are touched.
    unsafe {
        if sums.c.col_stride != 1 || sums.addend.col_stride != 1 {
            return write_strided::<T>(sums);
        }
        let alpha = V::splat(sums.alpha);
        let whole = sums.cols / V::LANES * V::LANES;
        let rest = sums.cols - whole;
        for (i, row) in sums.values.chunks_exact(sums.stride).enumerate() {
            let (row, addend, c) = (row.as_ptr(), sums.addend.at(i, 0).start, sums.c.at(i, 0).start.cast::<T>());
            for j in (0..whole).step_by(V::LANES) {
                let addend = if addend.is_null() { V::zero() } else { V::load(addend.add(j)) };
                T::store(V::load(row.add(j)).mul_add(alpha, addend), c.add(j));
            }
            if rest > 0 {
                let addend = if addend.is_null() { V::zero() } else { load_partial(addend.add(whole), rest) };
                let row = load_partial::<V, f32>(row.add(whole), rest);
                store_partial(row.mul_add(alpha, addend), c.add(whole), rest);
            }
        }
    }
}

/// [`write()`] where elements of a row are not neighbours: the result of a product that was transposed.
///
/// # Safety
/// As for [`write_as`].
#[inline(always)]
unsafe fn write_strided<T: Destination>(sums: &Sums) {
    for (i, row) in sums.values.chunks_exact(sums.stride).enumerate() {
        for (j, value) in row[..sums.cols].iter().enumerate() {
            // SAFETY: the caller's.
            unsafe {
                let addend = sums.addend.at(i, j).start;
                let addend = if addend.is_null() { 0.0 } else { *addend };
                *sums.c.at(i, j).start.cast() = T::from_f32(addend + sums.alpha * value);
            }
        }
    }
}
