//! One body of Rust, compiled for several instruction sets and chosen when the program runs.
//!
//! A loop over slices that the compiler vectorises is only as wide as the instruction set that its function is compiled
//! for, and the default one has 128-bit vectors. So a hot loop is written once as a [`Kernel`]; [`dispatch`] holds a copy
//! of it for each instruction set. A choice depends on the machine only, so results repeat bit for bit on one machine.

/// What differs between instruction sets inside a [`Kernel`].
pub trait Isa: Copy {
    /// `a * b + c`, rounded once where the instruction set has it, else twice.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// An instruction set with a fused multiply-add.
#[derive(Clone, Copy, Debug)]
pub struct Fused;

impl Isa for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// An instruction set without one, where `f32::mul_add` would be a slow library call.
#[derive(Clone, Copy, Debug)]
pub struct Separate;

impl Isa for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// A hot loop with its arguments. Mark [`Kernel::run`] and what it calls `#[inline(always)]`: code that is called instead
/// of inlined is compiled for the default instruction set.
pub trait Kernel {
    /// What the loop returns.
    type Output;
    /// The loop.
    fn run<I: Isa>(self) -> Self::Output;
}

/// Runs `kernel` compiled for the widest instruction set that this processor has.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        // Detection is cached by the standard library: this costs a load and a branch.
        if std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512dq")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c")
        {
            // SAFETY: the features that the function enables were just detected.
            return unsafe { avx512(kernel) };
        }
        if std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c")
        {
            // SAFETY: the features that the function enables were just detected.
            return unsafe { avx2(kernel) };
        }
        kernel.run::<Separate>()
    }
    #[cfg(target_arch = "aarch64")]
    {
        // NEON with fused multiply-add is part of every 64-bit ARM.
        kernel.run::<Fused>()
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        kernel.run::<Separate>()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// Width of the accumulators of [`sum_lanes`]: four 512-bit registers, so that additions overlap.
pub const LANES: usize = 64;

/// Adds accumulators in a fixed tree.
#[inline(always)]
pub fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest accumulator; a NaN is passed over.
#[inline(always)]
pub fn max_lanes(lanes: [f32; LANES]) -> f32 {
    lanes.into_iter().fold(f32::NEG_INFINITY, |max, x| if x > max { x } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dot<'a>(&'a [f32], &'a [f32]);

    impl Kernel for Dot<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<I: Isa>(self) -> f32 {
            let mut lanes = [0.0; LANES];
            for (a, b) in self.0.chunks_exact(LANES).zip(self.1.chunks_exact(LANES)) {
                for i in 0..LANES {
                    lanes[i] = I::mul_add(a[i], b[i], lanes[i]);
                }
            }
            sum_lanes(lanes)
        }
    }

    #[test]
    fn every_instruction_set_computes_the_same_kernel() {
        // Small integers: products and sums are exact, so fused and separate rounding agree.
        let a: Vec<f32> = (0..4 * LANES).map(|i| (i % 7) as f32).collect();
        let b: Vec<f32> = (0..4 * LANES).map(|i| (i % 5) as f32).collect();
        let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        assert_eq!(dispatch(Dot(&a, &b)), expected);
        assert_eq!(Dot(&a, &b).run::<Separate>(), expected);
    }
}
