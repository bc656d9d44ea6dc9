//! The kernels, emulated, against the CPU implementation.

mod case;
mod faults;
mod parts;
mod weights;

use device::DType;
use device::launch::{Architecture, testing};
use device::philox::Stream;
use proptest::prelude::*;
use tunesmith_lora::{Dropout, LoraShape, launch};

use case::{Case, Device, Sizes, check};
use weights::Storage;

/// At and around the edges of tiles and vectors, and small sizes.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..20, 2 => 60usize..70, 2 => 120usize..140]
}

fn sizes() -> impl Strategy<Value = Sizes> {
    let rank = prop_oneof![3 => 1usize..10, 1 => Just(16usize), 1 => 60usize..70];
    let flags = (any::<bool>(), any::<bool>());
    let storage = proptest::sample::select(vec![Storage::OutIn, Storage::InOut, Storage::Nf4, Storage::Nf4Nested]);
    let dropout = prop_oneof![Just(None), Just(Some(0.0f32)), Just(Some(0.3f32))];
    (size(), rank, flags, storage, dropout).prop_map(|(out_features, rank, (bias, lora_bias), storage, dropout)| {
        Sizes { out_features, rank, storage, bias, lora_bias, dropout }
    })
}

fn case() -> impl Strategy<Value = Case> {
    let projections = proptest::collection::vec(sizes(), 1..=3);
    let long = (prop_oneof![4 => size(), 1 => 1030usize..1100], prop_oneof![4 => size(), 1 => 1030usize..1100]);
    (long, projections, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(
        |((num_tokens, in_features), mut projections, f32, add, seed)| {
            // Beside quantized weights there are none stored the other way round.
            if projections.iter().any(|sizes| sizes.storage.is_quantized()) {
                let turned = projections.iter_mut().filter(|sizes| sizes.storage == Storage::InOut);
                turned.for_each(|sizes| sizes.storage = Storage::OutIn);
            }
            // One long side is enough.
            let num_tokens = if in_features > 1000 { num_tokens.min(70) } else { num_tokens };
            let dtype = if f32 { DType::F32 } else { DType::BF16 };
            Case { num_tokens, in_features, projections, dtype, add, architecture: Architecture::Ampere, seed }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(28) })]

    #[test]
    fn agrees_with_the_cpu(case in case()) {
        check(&case)?;
    }

    /// In bf16 with sizes that Hopper's kernels take; they leave some of the options to the others.
    #[test]
    fn agrees_with_the_cpu_on_hopper(mut case in case()) {
        case.architecture = Architecture::Hopper;
        case.dtype = DType::BF16;
        case.in_features = case.in_features.min(300).next_multiple_of(8);
        for projection in &mut case.projections {
            projection.out_features = projection.out_features.next_multiple_of(8);
            projection.rank = projection.rank.next_multiple_of(8);
        }
        check(&case)?;
    }
}

/// The projections of a small model, and enough tokens for several slabs of every sum over them.
#[test]
fn a_group_of_a_small_model() {
    let projection = |out_features, dropout| Sizes {
        out_features,
        rank: 16,
        storage: Storage::OutIn,
        bias: false,
        lora_bias: false,
        dropout,
    };
    let projections = vec![projection(256, Some(0.1)), projection(64, Some(0.1)), projection(64, None)];
    let case = Case {
        num_tokens: 1200,
        in_features: 64,
        projections,
        dtype: DType::BF16,
        add: true,
        architecture: Architecture::Ampere,
        seed: 5,
    };
    check(&case).unwrap();
    check(&Case { num_tokens: 130, architecture: Architecture::Hopper, ..case.clone() }).unwrap();
    // Quantized, for a few tokens, and for so many that Hopper dequantizes before it multiplies.
    let quantized = case.projections.iter().map(|sizes| Sizes { storage: Storage::Nf4Nested, ..sizes.clone() });
    let case = Case { projections: quantized.collect(), ..case };
    check(&Case { num_tokens: 5, ..case.clone() }).unwrap();
    check(&Case { num_tokens: 800, architecture: Architecture::Hopper, ..case }).unwrap();
}

/// A missing barrier or wait would show as a difference between the orders in which warps run.
#[test]
fn the_result_does_not_depend_on_the_schedule() {
    let projection =
        |storage, dropout| Sizes { out_features: 130, rank: 20, storage, bias: true, lora_bias: true, dropout };
    for (dtype, storage) in [
        (DType::F32, Storage::OutIn),
        (DType::BF16, Storage::OutIn),
        (DType::F32, Storage::Nf4Nested),
        (DType::BF16, Storage::Nf4Nested),
    ] {
        let run = |seed| {
            let projections = vec![projection(storage, Some(0.5)), projection(Storage::OutIn, None)];
            let case = Case {
                num_tokens: 150,
                in_features: 200,
                projections,
                dtype,
                add: false,
                architecture: Architecture::Ampere,
                seed: 1,
            };
            Device::run(&case, &testing::executor(seed)).unwrap().bits()
        };
        let first = run(0);
        assert!((1..4).all(|seed| run(seed) == first));
    }
}

/// With A the identity, `s` is the mask itself, and with B the identity and W zero, so is `dX`.
#[test]
fn the_mask_is_the_one_of_the_cpu() {
    let (num_tokens, features) = (50, 37);
    let (stream, p) = (Stream::new(11, 3, 7), 0.4);
    let shape = LoraShape::new(num_tokens, features, features, features).unwrap();
    let executor = testing::executor(0);
    let ones = executor.upload(&vec![1.0f32; num_tokens * features]).unwrap();
    let zeros = executor.upload(&vec![0.0f32; features * features]).unwrap();
    let identity: Vec<f32> =
        (0..features * features).map(|i| f32::from(u8::from(i / features == i % features))).collect();
    let identity = executor.upload(&identity).unwrap();
    let projections = [launch::Projection {
        shape,
        weight: launch::Weight::Dense { buffer: &zeros, transposed: false },
        bias: None,
        lora_a: &identity,
        lora_b: &identity,
        lora_bias: None,
        scaling: 1.0,
        dropout: Some(Dropout::new(p, stream).unwrap()),
    }];
    let group = launch::Group { dtype: DType::F32, x: &ones, projections: &projections };
    let [mut y, mut s, mut grad_x] = [(); 3].map(|()| executor.allocate(num_tokens * features * 4).unwrap());
    launch::forward(group, &mut [launch::Output { y: &mut y, s: &mut s }]).unwrap();
    let saved = [launch::Saved { s: &s, grad_y: &ones }];
    let backward = launch::Backward::new(group, &saved).unwrap();
    backward.x(launch::Gradient { values: &mut grad_x, add: false }).unwrap();
    let kept = |i: usize| if stream.uniform(i as u64) >= p { 1.0 / (1.0 - p) } else { 0.0 };
    for buffer in [&s, &y, &grad_x] {
        let mask: Vec<f32> = buffer.read().unwrap();
        assert!(mask.iter().enumerate().all(|(i, &value)| value == kept(i)));
    }
}
