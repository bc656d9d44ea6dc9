//! QLoRA from training to the merged model, on a base that is quantized while it is loaded or was before.

use tunesmith_tests::Workspace;

#[test]
fn a_run_on_a_base_in_8_bits_is_told_resumed_and_evaluated() {
    let workspace = Workspace::new(11);
    let (told, logged) = workspace.train_and_resume(&["model.quantization=int8", "data.eval=train.jsonl"]);
    assert!(told.stdout.contains("linear modules in int8"), "{}", told.stdout);
    let last = logged.last().unwrap()["eval_loss"].as_f64().unwrap();

    let rounded = workspace.eval_loss("model", &["--adapter", "out", "--quantization", "int8"]);
    // The log rounds to f32.
    assert!((rounded - last).abs() <= 1e-7 * last, "{rounded} and {last}");
    // Weights and activations are rounded to 1 part in 127 of the largest of their row; in a loss over many that averages out.
    let exact = workspace.eval_loss("model", &["--adapter", "out"]);
    assert!(exact != rounded && (exact - rounded).abs() <= 0.01 * exact, "{exact} and {rounded}");

    // What is rounded while computing is nothing to merge.
    let merge = ["merge", "--model", "model", "--adapter", "out", "--quantization", "int8", "--output", "merged"];
    let refused = workspace.run(&merge).expect(2).stderr;
    assert!(refused.contains("--quantization int8") && !workspace.path("merged").exists(), "{refused}");
}

#[test]
fn a_run_on_a_quantized_base_is_told_resumed_evaluated_and_merged() {
    let workspace = Workspace::new(11);
    let (told, logged) = workspace.train_and_resume(&["adapter.method=qlora", "data.eval=train.jsonl"]);
    assert!(told.stdout.contains("linear modules in nf4 with double quantization"), "{}", told.stdout);
    let last = logged.last().unwrap()["eval_loss"].as_f64().unwrap();

    let eval = |model: &str, more: &[&str]| workspace.eval_loss(model, more);
    let quantized = eval("model", &["--adapter", "out", "--quantization", "nf4"]);
    // The log rounds to f32.
    assert!((quantized - last).abs() <= 1e-7 * last, "{quantized} and {last}");
    assert!(eval("model", &["--adapter", "out"]) != quantized);
    assert!(eval("model", &["--adapter", "out", "--quantization", "nf4", "--double-quant", "false"]) != quantized);

    // A model that is quantized in its files computes the same, bit for bit.
    let written = workspace.run(&["quantize", "--model", "model", "--output", "nf4", "--double-quant"]).expect(0);
    assert!(written.stdout.contains("quantized 14 weights into nf4"), "{}", written.stdout);
    assert!(workspace.path("nf4/tokenizer.json").exists());
    assert_eq!(eval("nf4", &["--adapter", "out"]), quantized);
    let again = workspace.run(&["quantize", "--model", "nf4", "--output", "nf4-again"]).expect(2);
    assert!(again.stderr.contains("nf4 is quantized already"), "{}", again.stderr);
    assert!(!workspace.path("nf4-again").exists());

    // What the files are, and what they say they are.
    let inspected = workspace.run(&["inspect", "nf4", "--json"]).expect(0).json();
    assert_eq!((&inspected["quantization"], &inspected["quantized_weights"]), (&"nf4".into(), &14.into()));
    assert_eq!((&inspected["double_quant"], &inspected["kind"]), (&true.into(), &"model".into()));
    assert!(workspace.run(&["inspect", "model", "--json"]).expect(0).json().get("quantization").is_none());
    let config = |model: &str| std::fs::read_to_string(workspace.path(model).join("config.json")).unwrap();
    let (plain, quantized_config) = (config("model"), config("nf4"));
    for (model, text, expected) in [
        ("nf4", &plain, "there is no `quantization_config`, and the weights are in bitsandbytes' format"),
        ("model", &quantized_config, "says that the weights are quantized, and none is"),
    ] {
        let own = config(model);
        workspace.write(&format!("{model}/config.json"), text);
        let refused = workspace.run(&["eval", "--model", model, "--data", "train.jsonl"]).expect(3).stderr;
        assert!(refused.contains("config.json") && refused.contains(expected), "{refused}");
        workspace.write(&format!("{model}/config.json"), &own);
    }

    for (name, arguments) in [("a", &["--model", "model", "--quantization", "nf4"][..]), ("b", &["--model", "nf4"])] {
        let rest = ["--adapter", "out", "--output", name];
        let merged = workspace.run(&[&["merge"], arguments, &rest].concat()).expect(0);
        assert!(
            merged.stdout.contains("quantizing them again, their scales too, would move them by"),
            "{}",
            merged.stdout
        );
        let loss = eval(name, &[]);
        // One rounding of each merged weight to f32.
        assert!((loss - quantized).abs() <= 1e-5 * quantized, "{name}: {loss} and {quantized}");
    }
}
