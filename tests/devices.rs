//! Training on the emulated device: the program's own kernels, thread by thread, against its own functions for the CPU.

use std::path::Path;

use serde_json::json;
use tunesmith_tests::{Workspace, metrics};

const EMULATED: &str = "training.device=emulated";
const LORA: [&str; 4] =
    ["adapter.target_modules=all-linear", "adapter.lora_dropout=0.1", "training.max_steps=3", "training.save_steps=2"];

/// Loss and gradient norm of every step.
fn steps(out: &Path) -> Vec<[f64; 2]> {
    let of = |entry: serde_json::Value| Some([entry["loss"].as_f64()?, entry["grad_norm"].as_f64()?]);
    metrics(out).into_iter().filter_map(of).collect()
}

fn assert_close(what: &str, got: &[[f64; 2]], expected: &[[f64; 2]], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() <= tolerance * expected.abs(), "{what}: {got}, expected {expected}");
    }
}

#[test]
fn the_same_steps_as_on_the_cpu_and_the_same_bits_every_time() {
    let workspace = Workspace::new(9);
    let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
    // f32: sums in another order, and Adam divides what differs by its own size. bf16: a device rounds every activation,
    // 2^-9 each and some forty on the way, which add up as independent errors do.
    for (dtype, tolerance) in [("float32", 1e-4), ("bfloat16", 0.04)] {
        let dtype = format!("model.dtype={dtype}");
        let settings = [&LORA[..], &[&dtype]].concat();
        workspace.train("cpu", &settings).expect(0);
        let emulated = [&settings[..], &[EMULATED]].concat();
        workspace.train("emulated", &emulated).expect(0);
        let [cpu, device] = ["cpu", "emulated"].map(|out| steps(&workspace.path(out)));
        assert_close(&dtype, &device, &cpu, tolerance);

        workspace.train("again", &emulated).expect(0);
        assert!(adapter("emulated") == adapter("again"), "{dtype}: another adapter in another run");
        assert_eq!(metrics(&workspace.path("emulated")), metrics(&workspace.path("again")), "{dtype}");
        for out in ["cpu", "emulated", "again"] {
            std::fs::remove_dir_all(workspace.path(out)).unwrap();
        }
    }
}

#[test]
fn a_run_goes_on_on_another_device() {
    let workspace = Workspace::new(9);
    workspace.train("whole", &LORA).expect(0);
    let expected = steps(&workspace.path("whole"));
    for (out, first, second) in [("there", "training.device=cpu", EMULATED), ("back", EMULATED, "training.device=cpu")]
    {
        assert_close(out, &moved(&workspace, out, &LORA, [first, second]), &expected, 1e-4);
    }
}

#[test]
fn moments_in_8_bits_go_on_on_another_device() {
    let workspace = Workspace::new(9);
    let settings = [&LORA[..], &["training.optim=adamw_8bit", "adapter.r=128"]].concat();
    workspace.train("whole", &settings).expect(0);
    let expected = steps(&workspace.path("whole"));
    // A code may be the one beside where sums differ in their last places: 1/20 of a moment where codes lie farthest apart.
    let there = moved(&workspace, "there", &settings, ["training.device=cpu", EMULATED]);
    assert_close("there", &there, &expected, 1e-3);
}

/// Every step of a run with `settings` that was stopped after step 2 on the first of two devices, and went on on the second.
fn moved(workspace: &Workspace, out: &str, settings: &[&str], [first, second]: [&str; 2]) -> Vec<[f64; 2]> {
    workspace.train(out, &[settings, &[first]].concat()).expect(0);
    let half = format!("{out}-resumed");
    std::fs::create_dir(workspace.path(&half)).unwrap();
    std::fs::rename(workspace.path(out).join("checkpoint-2"), workspace.path(&half).join("checkpoint-2")).unwrap();
    workspace.train(&half, &[settings, &[second]].concat()).expect(0);
    steps(&workspace.path(&half))
}

/// A method that reads gradients on the host, and one with masks of dropout whose run goes on with graphs from where it stopped
/// without them.
#[test]
fn graphs_change_no_bit_of_a_run() {
    let workspace = Workspace::new(9);
    let adalora =
        ["adapter.method=adalora", "adapter.init_r=4", "adapter.target_r=2", "adapter.tinit=1", "adapter.tfinal=1"];
    let adalora = [&adalora[..], &["adapter.deltaT=1", "training.max_steps=4"]].concat();
    let accumulated = [&LORA[..], &["training.gradient_accumulation_steps=2", "training.max_steps=4"]].concat();
    for (method, settings) in [("adalora", adalora), ("lora", accumulated)] {
        let train = |out: &str, graphs: &str| {
            workspace.train(out, &[&settings[..], &[EMULATED, graphs]].concat()).expect(0);
        };
        let adapter = |out: &str| std::fs::read(workspace.path(out).join("adapter_model.safetensors")).unwrap();
        let [without, with, resumed] = ["without", "with", "resumed"].map(|name| format!("{method}-{name}"));
        train(&without, "training.cuda_graphs=false");
        train(&with, "training.cuda_graphs=true");
        assert!(adapter(&without) == adapter(&with), "{method}");
        assert_eq!(metrics(&workspace.path(&without)), metrics(&workspace.path(&with)), "{method}");
        if method == "lora" {
            std::fs::create_dir(workspace.path(&resumed)).unwrap();
            let [from, to] = [&without, &resumed].map(|out| workspace.path(out).join("checkpoint-2"));
            std::fs::rename(from, to).unwrap();
            train(&resumed, "training.cuda_graphs=true");
            assert!(adapter(&without) == adapter(&resumed));
        }
    }
}

#[test]
fn evaluation_and_generation_are_those_of_the_cpu() {
    let workspace = Workspace::new(5);
    let eval = |device: &str| workspace.eval_loss("model", &["--device", device]);
    let (cpu, emulated) = (eval("cpu"), eval("emulated"));
    assert!((cpu - emulated).abs() <= 1e-5 * cpu, "{emulated}, expected {cpu}");
    let generate = |device: &str| {
        workspace.written(&["generate", "--model", "model", "--max-new-tokens", "3", "--device", device], 3)
    };
    assert_eq!(generate("emulated"), generate("cpu"));
}

/// Bytes of a run's line such as `peak device memory: 1.4 MiB (planned 1.4 MiB)`.
fn planned_and_peak(stdout: &str) -> [f64; 2] {
    let line = stdout.lines().find_map(|line| line.strip_prefix("peak device memory: ")).expect("the run tells");
    let of = |text: &str| {
        let (number, unit) = text.trim_end_matches(')').split_once(' ').expect("a number and its unit");
        let unit = ["B", "KiB", "MiB", "GiB"].iter().position(|known| *known == unit).expect("a unit");
        number.parse::<f64>().unwrap() * 1024f64.powi(unit as i32)
    };
    let (peak, planned) = line.split_once(" (planned ").expect("what was planned");
    [of(planned), of(peak)]
}

#[test]
fn the_memory_of_a_device_is_planned() {
    let workspace = Workspace::new(9);
    // Rows of one length: the largest step, which is planned, is every step.
    workspace.write_rows("train.jsonl", (0..8).map(|row| json!({ "input_ids": (row..row + 20).collect::<Vec<_>>() })));
    for settings in
        [&[][..], &["model.quantization=nf4", "model.dtype=bfloat16", "training.gradient_accumulation_steps=2"]]
    {
        let all = [&LORA[..2], settings, &[EMULATED, "training.max_steps=3"]].concat();
        let out = workspace.train("out", &all).expect(0).stdout;
        let [planned, peak] = planned_and_peak(&out);
        assert!((planned - peak).abs() <= 0.1 * peak, "{settings:?}: {planned} bytes planned, {peak} taken");
        std::fs::remove_dir_all(workspace.path("out")).unwrap();
    }
}

#[test]
fn a_device_without_memory_ends_a_run_with_its_plan_and_the_last_checkpoint() {
    let workspace = Workspace::new(6);
    // Evaluation takes more than the steps that were planned: 64 rows at once.
    workspace.write_rows("long.jsonl", (0..64).map(|_| json!({ "input_ids": (0..63).collect::<Vec<_>>() })));
    let settings = [
        &LORA[..],
        &[EMULATED, "training.save_steps=1", "training.eval_steps=2", "data.eval=long.jsonl"],
        &["training.per_device_eval_batch_size=64"],
    ]
    .concat();
    let limited = [&settings[..], &["training.device_memory_mib=2"]].concat();
    let stopped = workspace.train("out", &limited).expect(4);
    let told = &stopped.stderr;
    assert!(told.contains("out of memory") && told.contains("on emulated") && told.contains("lower"), "{told}");
    assert!(told.contains("was planned as") && told.contains("base weights") && told.contains("activations"), "{told}");
    assert!(workspace.path("out/checkpoint-1").is_dir() && !workspace.path("out/checkpoint-2").is_dir());
    let resumed = workspace.train("out", &settings).expect(0).stdout;
    assert!(resumed.contains("resuming from"), "{resumed}");

    let refused = workspace
        .train("none", &[&LORA[..], &[EMULATED, "training.device_memory_mib=1", "adapter.r=256"]].concat())
        .expect(4);
    assert!(refused.stderr.contains("are available") && refused.stderr.contains("lower"), "{}", refused.stderr);
}

#[test]
fn devices_that_are_not_there_are_told() {
    let workspace = Workspace::new(3);
    let refused = workspace.train("out", &["training.device=gpu"]).expect(2);
    assert!(refused.stderr.contains("emulated"), "{}", refused.stderr);
    let doctor = workspace.run(&["doctor"]).expect(0).stdout;
    assert!(doctor.contains("emulated: built") && doctor.contains("\ndevice "), "{doctor}");
    if !doctor.contains("cuda:0") {
        let refused = workspace.train("out", &["training.device=cuda"]).expect(5);
        assert!(refused.stderr.contains("`cuda:0` cannot be used"), "{}", refused.stderr);
        assert!(doctor.contains("auto is cpu"), "{doctor}");
    }
}
