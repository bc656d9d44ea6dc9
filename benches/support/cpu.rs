//! The roofline of this machine's cores, measured.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::Instant;

use device::simd::{Isa, Kernel, LANES, dispatch};
use device::{Buffer, DType, Device, parallel};

use crate::Roofline;

/// Far more than a cache holds.
const COPIED_BYTES: usize = 512 << 20;
/// Elements that a task of the copy takes: so many that the library's copy chooses what is best for memory.
const COPY_TASK: usize = 1 << 22;
/// Multiply-adds of one task: long enough that starting it does not count.
const ROUNDS: usize = 1 << 20;
const TASKS: usize = 64;
const REPEATS: usize = 5;

/// The best of several copies, and of several runs of multiply-adds in registers: f32 with the widest vectors that
/// [`device::simd`] uses. Products on matrix units, as bf16 has on some machines, can exceed the latter.
pub(crate) fn roofline() -> Roofline {
    static ROOFLINE: OnceLock<Roofline> = OnceLock::new();
    *ROOFLINE.get_or_init(|| Roofline { flops_per_s: Some(multiply_adds()), bytes_per_s: copy() })
}

/// The highest rate of `work` in units a second.
fn best(units: usize, mut work: impl FnMut()) -> f64 {
    let seconds = (0..=REPEATS).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    // The first run touches the memory and starts the threads.
    units as f64 / seconds.skip(1).fold(f64::INFINITY, f64::min)
}

fn copy() -> f64 {
    let len = COPIED_BYTES / 2 / size_of::<f32>();
    let buffer = || Buffer::zeroed(Device::Cpu, DType::F32, len).expect("there is memory");
    let (from, mut to) = (buffer(), buffer());
    let (from, to) = (from.f32().expect("it is f32"), to.f32_mut().expect("it is f32"));
    best(COPIED_BYTES, || {
        parallel::rows_mut(to, 1, COPY_TASK, |start, to| to.copy_from_slice(&black_box(from)[start..][..to.len()]));
    })
}

/// Independent chains, so that one result need not wait for another.
struct MultiplyAdds([f32; 3]);

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<I: Isa>(self) -> f32 {
        let mut chains = self.0.map(|start| [start; LANES]);
        for _ in 0..ROUNDS {
            for chain in &mut chains {
                for value in chain {
                    *value = I::mul_add(*value, 0.999, 0.001);
                }
            }
        }
        chains.iter().flatten().sum()
    }
}

fn multiply_adds() -> f64 {
    let mut results = [0.0f32; TASKS];
    best(2 * TASKS * ROUNDS * 3 * LANES, || {
        parallel::rows_mut(&mut results, 1, 1, |task, result| {
            result[0] = dispatch(MultiplyAdds(black_box([1.0, 2.0, task as f32])));
        });
    })
}
