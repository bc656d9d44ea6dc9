//! A criterion group that also puts what it measures beside the roofline.

use std::fmt::Display;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput};

use crate::{Gpu, Roofline, cpu, gpu, results};

/// One family's benchmarks. It is used as criterion's group; `Throughput::Elements` counts floating-point operations here.
#[allow(missing_debug_implementations, reason = "criterion's group has no `Debug`")]
pub struct Suite<'a> {
    family: String,
    group: BenchmarkGroup<'a, WallTime>,
    throughput: Option<Throughput>,
}

/// As criterion's bencher.
#[allow(missing_debug_implementations, reason = "criterion's bencher has no `Debug`")]
pub struct Timer<'a, 'b> {
    bencher: &'a mut Bencher<'b, WallTime>,
    /// Seconds of one iteration.
    samples: &'a mut Vec<f64>,
}

impl Timer<'_, '_> {
    /// Times `routine`.
    pub fn iter<O>(&mut self, mut routine: impl FnMut() -> O) {
        self.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                black_box(routine());
            }
            start.elapsed()
        });
    }

    fn iter_custom(&mut self, mut time: impl FnMut(u64) -> Duration) {
        let samples = &mut *self.samples;
        self.bencher.iter_custom(|iterations| {
            let elapsed = time(iterations);
            samples.push(elapsed.as_secs_f64() / iterations as f64);
            elapsed
        });
    }
}

impl<'a> Suite<'a> {
    /// The group `family`, which results are filed under.
    pub fn new(criterion: &'a mut Criterion, family: impl Into<String>) -> Self {
        let family = family.into();
        Self { group: criterion.benchmark_group(&family), family, throughput: None }
    }

    /// What an iteration of the benchmarks from here on does.
    pub fn throughput(&mut self, throughput: Throughput) {
        self.group.throughput(throughput.clone());
        self.throughput = Some(throughput);
    }

    /// How many times each is measured.
    pub fn sample_size(&mut self, count: usize) {
        self.group.sample_size(count);
    }

    /// Times what `bench` gives its timer, on the CPU.
    pub fn bench_function(&mut self, name: impl Display, bench: impl FnMut(&mut Timer<'_, '_>)) {
        if gpu::times_cpu() {
            self.measure("cpu", &name, bench, cpu::roofline);
        }
    }

    /// Times `launch` on a GPU by its own clock, on one of `sets` after the other: as many sets of operands as
    /// [`Gpu::sets`] makes do not fit its cache, so that each launch finds its operands in memory. Criterion's warm-up is the
    /// GPU's.
    pub fn launches<T, E: Display>(
        &mut self,
        gpu: &Gpu,
        name: impl Display,
        sets: &mut [T],
        mut launch: impl FnMut(&mut T) -> Result<(), E>,
    ) {
        // The first one loads the kernel and says what is missing.
        if let Err(error) = launch(&mut sets[0]) {
            println!("{}/{name} cannot run: {error}", self.family);
            return;
        }
        let bench = |timer: &mut Timer<'_, '_>| {
            timer.iter_custom(|iterations| {
                let start = gpu.record();
                for iteration in 0..iterations as usize {
                    let count = sets.len();
                    launch(&mut sets[iteration % count]).unwrap_or_else(|error| panic!("{error}"));
                }
                gpu.record().since(&start).unwrap_or_else(|error| panic!("{error}"))
            });
        };
        self.measure(gpu.name(), &name, bench, || gpu.roofline());
    }

    /// Ends the group.
    pub fn finish(self) {
        self.group.finish();
    }

    fn measure(
        &mut self,
        device: &str,
        name: &dyn Display,
        mut bench: impl FnMut(&mut Timer<'_, '_>),
        roofline: impl Fn() -> Roofline,
    ) {
        let mut samples = Vec::new();
        self.group.bench_function(name.to_string(), |bencher| bench(&mut Timer { bencher, samples: &mut samples }));
        samples.sort_by(f64::total_cmp);
        // Nothing ran if the name was filtered out, and one iteration to see that it runs is no measurement.
        if samples.len() < 3 {
            return;
        }
        let seconds = samples[samples.len() / 2];
        let (count, peak, unit) = match self.throughput {
            Some(Throughput::Elements(count)) => (count, roofline().flops_per_s, "FLOP/s"),
            Some(Throughput::Bytes(count)) => (count, Some(roofline().bytes_per_s), "B/s"),
            _ => return,
        };
        let rate = count as f64 / seconds;
        if let Some(peak) = peak {
            println!("{:24}roofline: {:.0} % of {:.1} G{unit}", "", 100.0 * rate / peak, peak / 1e9);
        }
        let result = results::Result { device, family: &self.family, case: name, seconds, rate, unit, peak };
        result.write();
    }
}
