//! Steps with moments in 8 bits against bitsandbytes' `AdamW8bit`: `tests/data/bitsandbytes`, see the README there.

use safetensors::SafeTensors;
use tunesmith_adamw::{AdamW, Codes, Step8bit, num_code_blocks, step_8bit};

#[test]
fn four_steps_are_those_of_bitsandbytes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/bitsandbytes/adamw8bit.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = |name: &str| file.tensor(name).unwrap().data().to_vec();
    let f32s =
        |name: &str| -> Vec<f32> { data(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect() };
    let near = |got: &[f32], expected: &[f32], bound: fn(f32) -> f32| {
        assert_eq!(got.len(), expected.len());
        got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() <= bound(*expected))
    };
    let method = AdamW { beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weight_decay: 0.1 };
    let mut parameters = f32s("parameters.0");
    let len = parameters.len();
    let [mut m, mut v] = [(); 2].map(|()| (vec![0u8; len], vec![0.0f32; num_code_blocks(len)]));
    for step in 1..=4 {
        step_8bit(
            &method,
            Step8bit {
                step,
                learning_rate: 1e-2,
                grad_scale: 1.0,
                gradients: &f32s(&format!("gradients.{step}")),
                parameters: &mut parameters,
                exp_avg: Codes { codes: &mut m.0, absmax: &mut m.1 },
                exp_avg_sq: Codes { codes: &mut v.0, absmax: &mut v.1 },
            },
        )
        .unwrap();
        // PyTorch orders a few operations otherwise. Each step rounds a parameter below 0.5 a few times by 3e-8, and an update of
        // a few times 1e-2 by far less.
        assert!(near(&parameters, &f32s(&format!("parameters.{step}")), |_| 1e-7), "step {step}");
    }
    for (moment, (codes, absmax)) in [("exp_avg", m), ("exp_avg_sq", v)] {
        assert_eq!(codes, data(moment), "{moment}");
        // Two units in the last place for each step.
        assert!(near(&absmax, &f32s(&format!("{moment}.absmax")), |expected| 1e-6 * expected), "{moment}");
    }
}
