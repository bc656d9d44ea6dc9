//! The kernels for Hopper, emulated, against the CPU implementation.

use device::DType;
use device::launch::testing::{self, BF16_UNIT, UNIT};
use device::launch::{Architecture, DeviceBuffer, Executor};
use device::philox::Stream;
use half::bf16;
use proptest::prelude::*;
use tunesmith_gemm::launch::{self, Sum, sums_on_hopper};
use tunesmith_gemm::{Matrix, MatrixMut, Update, sum_of_products};

/// Values on the host, widened, and on the device.
struct Values {
    host: Vec<f32>,
    device: DeviceBuffer,
}

impl Values {
    fn new(executor: &Executor, len: usize, seed: u64, site: u32) -> Self {
        let stream = Stream::new(seed, 0, site);
        let values: Vec<bf16> = (0..len as u64).map(|i| bf16::from_f32(stream.normal(i))).collect();
        Self { device: executor.upload(&values).unwrap(), host: values.into_iter().map(bf16::to_f32).collect() }
    }

    /// The same in f32.
    fn wide(executor: &Executor, len: usize, seed: u64) -> Self {
        let stream = Stream::new(seed, 0, 60);
        let host: Vec<f32> = (0..len as u64).map(|i| stream.normal(i)).collect();
        Self { device: executor.upload(&host).unwrap(), host }
    }

    fn read(&self, wide: bool) -> Vec<f32> {
        match wide {
            true => self.device.read().unwrap(),
            false => self.device.read::<bf16>().unwrap().into_iter().map(bf16::to_f32).collect(),
        }
    }

    fn magnitudes(&self) -> Vec<f32> {
        self.host.iter().map(|x| x.abs()).collect()
    }
}

/// A launch: results with `columns`, each a sum of products of `depths`.
#[derive(Clone, Debug)]
struct Case {
    m: usize,
    columns: Vec<usize>,
    depths: Vec<usize>,
    a_transposed: bool,
    b_transposed: bool,
    /// C is f32.
    wide: bool,
    bias: bool,
    add: bool,
    c_padding: usize,
    seed: u64,
}

/// One result on both sides.
struct Operands {
    terms: Vec<(Values, Values)>,
    bias: Values,
    c: Values,
    n: usize,
}

impl Case {
    fn operands(&self, executor: &Executor) -> Vec<Operands> {
        let operands = |(i, &n): (usize, &usize)| {
            let values = |len, site| Values::new(executor, len, self.seed, 20 * i as u32 + site);
            let term = |(t, &k): (usize, &usize)| (values(self.m * k, 2 * t as u32), values(k * n, 2 * t as u32 + 1));
            let terms = self.depths.iter().enumerate().map(term).collect();
            let c_len = self.m * (n + self.c_padding);
            let c = if self.wide { Values::wide(executor, c_len, self.seed) } else { values(c_len, 19) };
            Operands { terms, bias: values(n, 18), c, n }
        };
        self.columns.iter().enumerate().map(operands).collect()
    }

    /// Runs the kernel; whether there was one.
    fn launch(&self, operands: &mut [Operands]) -> bool {
        let mut sums = Vec::new();
        for Operands { terms, bias, c, n } in operands {
            let terms = terms.iter().zip(&self.depths).map(|((a, b), &k)| {
                let b = if self.b_transposed {
                    launch::Matrix::new(&b.device, DType::BF16, *n, k).transposed()
                } else {
                    launch::Matrix::new(&b.device, DType::BF16, k, *n)
                };
                let a = if self.a_transposed {
                    launch::Matrix::new(&a.device, DType::BF16, k, self.m).transposed()
                } else {
                    launch::Matrix::new(&a.device, DType::BF16, self.m, k)
                };
                (a, b)
            });
            let terms = terms.collect();
            let dtype = if self.wide { DType::F32 } else { DType::BF16 };
            let c = launch::MatrixMut::new(&mut c.device, dtype, self.m, *n).with_row_stride(*n + self.c_padding);
            sums.push(Sum { terms, bias: self.bias.then_some(&bias.device), scale: None, c });
        }
        sums_on_hopper(0.5, self.add, &mut sums).unwrap()
    }

    /// The CPU implementation, of the values or of their magnitudes.
    fn reference(&self, operands: &Operands, values: impl Fn(&Values) -> Vec<f32>) -> Vec<f32> {
        let n = operands.n;
        let terms: Vec<_> = operands.terms.iter().map(|(a, b)| (values(a), values(b))).collect();
        let products = terms.iter().zip(&self.depths).map(|((a, b), &k)| {
            let b = if self.b_transposed { Matrix::new(&b[..], n, k).transposed() } else { Matrix::new(&b[..], k, n) };
            let a = match self.a_transposed {
                true => Matrix::new(&a[..], k, self.m).transposed(),
                false => Matrix::new(&a[..], self.m, k),
            };
            (a, b)
        });
        let products: Vec<_> = products.collect();
        let (bias, mut c) = (values(&operands.bias), values(&operands.c));
        let update = if self.add {
            Update::Accumulate
        } else if self.bias {
            Update::Bias(&bias)
        } else {
            Update::Overwrite
        };
        let to = MatrixMut::new(&mut c, self.m, n).with_row_stride(n + self.c_padding);
        sum_of_products(0.5, &products, update, to).unwrap();
        c
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let executor = testing::executor_as(Architecture::Hopper, case.seed);
    let mut operands = case.operands(&executor);
    prop_assert!(case.launch(&mut operands), "{:?} is for this kernel", case);
    for operands in &operands {
        let got = operands.c.read(case.wide);
        let expected = case.reference(operands, |values| values.host.clone());
        let size = case.reference(operands, Values::magnitudes);
        let stride = operands.n + case.c_padding;
        for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
            if i % stride >= operands.n {
                prop_assert_eq!(got.to_bits(), operands.c.host[i].to_bits(), "padding was written: {:?}", case);
                continue;
            }
            // As many roundings as terms on each side, and three more; a result in bf16 is rounded once more.
            let depth = case.depths.iter().sum::<usize>();
            let bound = 2.02 * (depth as f64 + 4.0) * UNIT * f64::from(size[i]);
            let bound = if case.wide { bound } else { bound + BF16_UNIT * (f64::from(expected).abs() + bound) };
            let difference = (f64::from(got) - f64::from(expected)).abs();
            prop_assert!(difference <= bound, "C[{i}] = {got}, expected {expected}, bound {bound:e}: {case:?}");
        }
    }
    Ok(())
}

fn case() -> impl Strategy<Value = Case> {
    // Rows of bf16 matrices begin at multiples of 16 bytes if they are a multiple of 8 long.
    let eighths = |most: usize| (1..=most).prop_map(|x| 8 * x);
    let columns = proptest::collection::vec(prop_oneof![2 => eighths(20), 1 => eighths(70)], 1..=3);
    let depths = prop_oneof![
        3 => proptest::collection::vec(eighths(12), 1..=2),
        // One result of the deeper ones is summed in two slabs or three.
        1 => eighths(60).prop_map(|k| vec![k]),
        1 => (128usize..200).prop_map(|k| vec![8, 8 * k]),
    ];
    let m = prop_oneof![2 => 1usize..40, 1 => 120usize..300];
    let stored = proptest::sample::select(vec![(false, false), (false, true), (true, false)]);
    let flags = (stored, any::<bool>(), any::<bool>(), any::<bool>(), prop_oneof![Just(0usize), Just(3usize)]);
    (m, columns, depths, flags, any::<u64>()).prop_map(
        |(m, columns, depths, ((a_transposed, b_transposed), wide, bias, add, c_padding), seed)| Case {
            // Rows of A as stored begin at multiples of 16 bytes too.
            m: if a_transposed { m.next_multiple_of(8) } else { m },
            wide: wide && columns.len() == 1,
            columns,
            depths,
            a_transposed,
            b_transposed,
            bias: bias && !add,
            add,
            c_padding,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn agrees_with_the_cpu(case in case()) {
        if testing::runs(Architecture::Hopper) {
            check(&case)?;
        }
    }
}

/// More tiles than blocks, and more stages than the ring has: the ring goes round from one tile into the next. A stage that
/// was given back too early, or read before it was full, would show as NaN or as a difference between schedules.
#[test]
fn the_ring_goes_round_on_any_schedule() {
    if !testing::runs(Architecture::Hopper) {
        return;
    }
    for (a_transposed, b_transposed) in [(false, false), (false, true), (true, false)] {
        let case = Case {
            m: 304,
            columns: vec![520],
            depths: vec![16, 392],
            a_transposed,
            b_transposed,
            wide: false,
            bias: false,
            add: false,
            c_padding: 0,
            seed: 3,
        };
        check(&case).unwrap();
        let run = |seed, depth| {
            let executor = testing::executor_as(Architecture::Hopper, seed);
            let smaller = Case { m: 136, columns: vec![264], depths: vec![16, depth], ..case.clone() };
            let mut operands = smaller.operands(&executor);
            assert!(smaller.launch(&mut operands));
            operands[0].c.device.read::<u16>().unwrap()
        };
        // In one slab, and in two.
        for depth in [392, 1032] {
            let first = run(0, depth);
            assert!((1..4).all(|seed| run(seed, depth) == first));
        }
    }
}

/// What the kernel does not take is left to others, untouched.
#[test]
fn other_devices_and_layouts_are_declined() {
    let case = Case {
        m: 70,
        columns: vec![72],
        depths: vec![64],
        a_transposed: false,
        b_transposed: true,
        wide: false,
        bias: false,
        add: false,
        c_padding: 0,
        seed: 3,
    };
    let run = |architecture, case: &Case| {
        let executor = testing::executor_as(architecture, 0);
        let mut operands = case.operands(&executor);
        let ran = case.launch(&mut operands);
        let c: Vec<bf16> = operands[0].c.device.read().unwrap();
        assert_eq!(ran, c.into_iter().map(bf16::to_f32).collect::<Vec<_>>() != operands[0].c.host);
        ran
    };
    assert_eq!(run(Architecture::Hopper, &case), testing::runs(Architecture::Hopper));
    assert!(!run(Architecture::Ampere, &case));
    // Rows of A and B begin at multiples of 2 bytes.
    assert!(!run(Architecture::Hopper, &Case { depths: vec![63], ..case.clone() }));
    assert!(!run(Architecture::Hopper, &Case { columns: vec![8; 4], ..case.clone() }));
    assert!(!run(Architecture::Hopper, &Case { m: 72, a_transposed: true, ..case.clone() }));
    assert!(!run(Architecture::Hopper, &Case { depths: vec![8; 7], ..case }));
}
