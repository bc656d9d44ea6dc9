//! LoRA on every family of models against Python PEFT: an adapter in its format, then six steps of AdamW.

mod support;

use checkpoint::SafetensorsFile;
use support::{
    Batch, assert_close, by_key, cases, data, decoder, floats, integers, logits, loss_and_gradients, pass, train,
};
use tunesmith_peft::open;

/// As in `golden.rs`; models in bf16 and f16 are widened exactly on both sides.
const SAME: f32 = 2e-5;
const AFTER_TRAINING: f32 = 1e-3;

#[test]
fn logits_gradients_and_six_steps() {
    for variant in cases("families", "lora/adapter_config.json") {
        for adapter in ["lora", "lora-all-linear"] {
            let folder = format!("families/{variant}/{adapter}");
            if data(&folder).exists() {
                compare(&format!("families/{variant}"), &folder);
            }
        }
    }
}

fn compare(model: &str, folder: &str) {
    let decoder = decoder(model);
    let base = SafetensorsFile::open(data(model).join("io.safetensors")).unwrap();
    let io = SafetensorsFile::open(data(folder).join("io.safetensors")).unwrap();
    let row = |i: usize| (integers(&base, &format!("input_ids.{i}")), integers(&base, &format!("labels.{i}")));
    let (method, _) = open(&data(folder), decoder.base()).unwrap();
    for i in 0..2 {
        let batch = Batch::new(&[row(i)]);
        let got = logits(&decoder, &batch.input, &pass(&method));
        assert_close(&format!("{folder} logits {i}"), &got, &floats(&io, &format!("logits.{i}")), SAME);
    }
    let batch = Batch::new(&[row(0), row(1)]);
    let (_, gradients) = loss_and_gradients(&decoder, &batch, &method, &pass(&method));
    for (key, gradient) in by_key(&method, |leaf| gradients.of(leaf).unwrap().to_vec()) {
        assert_close(&format!("{folder} {key}"), &gradient, &floats(&io, &format!("grad.{key}")), SAME);
    }
    let steps = train(&decoder, &batch, &method, 6);
    let column = |i: usize| steps.iter().map(|step| step[i]).collect::<Vec<_>>();
    assert_close(&format!("{folder} losses"), &column(0), &floats(&io, "losses"), SAME);
    assert_close(&format!("{folder} grad_norms"), &column(1), &floats(&io, "grad_norms"), 10.0 * SAME);
    for (key, values) in by_key(&method, |leaf| leaf.to_vec()) {
        assert_close(
            &format!("{folder} trained {key}"),
            &values,
            &floats(&io, &format!("trained.{key}")),
            AFTER_TRAINING,
        );
    }
}
