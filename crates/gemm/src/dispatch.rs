//! The choice of a kernel when the program runs.

use crate::kernel::Kernel;
#[cfg(target_arch = "aarch64")]
use crate::simd::neon;
use crate::simd::{Isa, portable};
#[cfg(target_arch = "x86_64")]
use crate::simd::{avx2, avx512};

/// Something to do with the best kernel that this machine has.
pub(crate) trait Task {
    type Output;

    /// Does it with a kernel, and an instruction set for few rows.
    fn run<K: Kernel, I: Isa>(self, kernel: K, isa: I) -> Self::Output;
}

/// Does `task`, whose deepest product is of `depth`, and all of whose operands are bf16 or read as such if `is_bf16` says so.
pub(crate) fn dispatch<T: Task>(depth: usize, is_bf16: bool, task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[cfg(target_os = "linux")]
        if let (Some(amx), Some(isa)) = (crate::amx::Amx::detect(), avx512::Avx512::detect())
            && depth >= crate::amx::LEAST_DEPTH
        {
            return task.run(amx, isa);
        }
        if let Some(isa) = avx512::Avx512::detect() {
            return match crate::avx512_bf16::Avx512Bf16::detect().filter(|_| is_bf16) {
                Some(pairs) => task.run(pairs, isa),
                None => task.run(isa, isa),
            };
        }
        if let Some(isa) = avx2::Avx2::detect() {
            return task.run(isa, isa);
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(isa) = neon::Neon::detect() {
        return task.run(isa, isa);
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    let _ = (depth, is_bf16);
    let isa = portable::Portable;
    task.run(isa, isa)
}
