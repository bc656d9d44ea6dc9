//! What can be done with adapters that are there: written for other programs, taken out of models, made a part of the
//! vocabulary, chosen by rows.

use std::path::Path;

use checkpoint::SafetensorsFile;
use serde_json::{Value, json};
use tunesmith_tests::{Workspace, data};

const LORA: [&str; 3] = ["adapter.target_modules=all-linear", "adapter.use_rslora=true", "training.learning_rate=5e-2"];

fn json_file(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A workspace with a trained LoRA adapter in `out`.
fn trained() -> Workspace {
    let workspace = Workspace::new(9);
    workspace.train("out", &LORA).expect(0);
    workspace
}

#[test]
fn an_adapter_goes_through_every_format_and_every_command_reads_them() {
    let workspace = trained();
    let expected = workspace.eval_loss("model", &["--adapter", "out"]);
    for format in ["gguf", "mlx"] {
        let convert = ["convert", "out", "--to", format, "--model", "model", "--output", format];
        let told = workspace.run(&convert).expect(0).stdout;
        assert!(told.contains(&format!("converted out from peft to {format} in {format}")), "{told}");
        let got = workspace.eval_loss("model", &["--adapter", format]);
        // One factor goes into B, rounded to 24 bits.
        assert!((got - expected).abs() <= 1e-5 * expected, "{format}: {got} and {expected}");
        let inspected = workspace.run(&["inspect", format, "--json"]).expect(0).json();
        assert_eq!((&inspected["format"], &inspected["kind"]), (&json!(format), &json!("adapter")));
        let merged = format!("merged-{format}");
        workspace.run(&["merge", "--model", "model", "--adapter", format, "--output", &merged]).expect(0);
        let got = workspace.eval_loss(&merged, &[]);
        assert!((got - expected).abs() <= 1e-5 * expected, "{format}: {got} and {expected}");
        let back = format!("back-{format}");
        workspace.run(&["convert", format, "--to", "peft", "--model", "model", "--output", &back]).expect(0);
        let settings = [LORA[0], "training.max_steps=1", &format!("adapter.init_from={format}")];
        workspace.train(&format!("more-{format}"), &settings).expect(0);
        // The file's own factor holds: rsLoRA is folded into it.
        let refused = workspace.train("refused", &[&settings[..], &[LORA[1]]].concat()).expect(2).stderr;
        assert!(refused.contains("disagree") && refused.contains("use_rslora"), "{refused}");
    }
    assert_eq!(workspace.run(&["inspect", "gguf/adapter.gguf", "--json"]).expect(0).json()["architecture"], "llama");
    let names = std::fs::read_dir(workspace.path("gguf")).unwrap().count();
    // The file and the manifest.
    assert_eq!(names, 2);

    let refused = workspace.run(&["convert", "out", "--to", "gguf", "--output", "no"]).expect(3).stderr;
    assert!(refused.contains("name it with --model"), "{refused}");
    let refused = workspace.run(&["convert", "gguf", "--to", "peft", "--output", "no"]).expect(3).stderr;
    assert!(refused.contains("--to peft --model DIR"), "{refused}");
    let refused = workspace.run(&["convert", "out", "--to", "onnx", "--output", "no"]).expect(2).stderr;
    assert!(refused.contains("expected one of peft, adapterhub, mlx, gguf"), "{refused}");
    let refused = workspace.run(&["convert", "out", "--to", "peft", "--output", "gguf"]).expect(2).stderr;
    assert!(refused.contains("exists already"), "{refused}");
    assert!(!workspace.path("no").exists());
}

#[test]
fn what_is_not_whole_or_of_another_base_is_not_converted() {
    let workspace = trained();
    let gpt2 = data("peft/base-gpt2");
    let other = ["convert", "out", "--to", "mlx", "--model", gpt2.to_str().unwrap(), "--output", "no"];
    let other = workspace.run(&other).expect(3).stderr;
    assert!(other.contains("means no module of this model"), "{other}");
    // The file has a projection of both blocks that the configuration does not mean now.
    let config = json_file(&workspace.path("out/adapter_config.json")).to_string();
    workspace.write("out/adapter_config.json", &config.replace("self_attn.q_proj", "self_attn.zzz"));
    for to in ["peft", "gguf", "mlx"] {
        let convert = ["convert", "out", "--to", to, "--model", "model", "--output", "no"];
        let refused = workspace.run(&convert).expect(3).stderr;
        assert!(refused.contains("4 unexpected: ") && refused.contains("q_proj.lora_A"), "{to}: {refused}");
    }
    let refused = workspace.run(&["convert", "out", "--to", "peft", "--output", "no"]).expect(3).stderr;
    assert!(refused.contains("4 unexpected: "), "{refused}");
    assert!(!workspace.path("no").exists());
}

#[test]
fn adapters_of_adapterhub_are_read_and_written() {
    let workspace = Workspace::new(3);
    let base = data("peft/base-gpt2");
    let (base, adapter) = (base.to_str().unwrap(), data("adapterhub-lora/gpt2-lora"));
    let adapter = adapter.to_str().unwrap();
    workspace.run(&["convert", adapter, "--to", "peft", "--output", "peft"]).expect(0);
    assert_eq!(json_file(&workspace.path("peft/adapter_config.json"))["fan_in_fan_out"], true);
    let there = ["convert", "peft", "--to", "adapterhub", "--model", base, "--name", "law", "--output", "hub"];
    workspace.run(&there).expect(0);
    let config = json_file(&workspace.path("hub/adapter_config.json"));
    assert_eq!((&config["name"], &config["model_type"]), (&json!("law"), &json!("gpt2")));
    let [own, again] = [adapter, "hub"].map(|adapter| workspace.eval_loss(base, &["--adapter", adapter]));
    // The same matrices, with zeros between them.
    assert!((own - again).abs() <= 1e-6 * own, "{own} and {again}");
    let inspected = workspace.run(&["inspect", adapter, "--json"]).expect(0).json();
    assert_eq!((&inspected["format"], &inspected["peft_type"]), (&json!("adapterhub"), &json!("LORA")));
    let other = workspace.run(&["eval", "--model", "model", "--adapter", adapter, "--data", "train.jsonl"]).expect(3);
    assert!(other.stderr.contains("`model_type` is `gpt2`, and this one's is `llama`"), "{}", other.stderr);
}

#[test]
fn extraction_undoes_merging() {
    let workspace = trained();
    workspace.run(&["merge", "--model", "model", "--adapter", "out", "--output", "tuned"]).expect(0);
    let extract = ["extract", "--model", "model", "--tuned", "tuned", "--rank", "4"];
    let found = workspace.run(&[&extract[..], &["--output", "lora", "--json"]].concat()).expect(0).json();
    let modules = found["modules"].as_array().unwrap();
    assert_eq!((modules.len(), found["not_extracted"].as_array().unwrap().len()), (14, 0));
    for module in modules {
        // What is left is what merging rounds: 2^-24 of weights that changed by a few per cent.
        assert!(module["error"].as_f64().unwrap() <= 1e-4, "{module}");
        assert!(module["energy"].as_f64().unwrap() >= 0.9999, "{module}");
    }
    let [expected, got] = ["out", "lora"].map(|adapter| workspace.eval_loss("model", &["--adapter", adapter]));
    assert!((got - expected).abs() <= 1e-5 * expected, "{got} and {expected}");
    let few = ["--output", "few", "--target-modules", "q_proj,v_proj"];
    let told = workspace.run(&[&extract[..], &few].concat()).expect(0);
    let summary = "extracted 4 modules of rank up to 4 into few";
    assert!(told.stdout.contains("model.layers.1.self_attn.v_proj") && told.stdout.contains(summary));
    let most = ["extract", "--model", "model", "--tuned", "tuned", "--rank", "99", "--output", "most"];
    let most = workspace.run(&[&most[..], &["--target-modules", "q_proj"]].concat()).expect(0).stdout;
    // The model has 32 hidden elements.
    assert!(most.contains("extracted 2 modules of rank up to 32 into most"), "{most}");
    assert!(told.stderr.contains("10 tensors other than these modules' weights differ"), "{}", told.stderr);

    let same = ["extract", "--model", "model", "--tuned", "model", "--rank", "4", "--output", "no"];
    let refused = workspace.run(&same).expect(3).stderr;
    assert!(refused.contains("there is nothing to extract"), "{refused}");
    let gpt2 = data("peft/base-gpt2");
    let other = ["extract", "--model", "model", "--tuned", gpt2.to_str().unwrap(), "--rank", "4", "--output", "no"];
    let refused = workspace.run(&other).expect(3).stderr;
    assert!(refused.contains("llama and gpt2"), "{refused}");
    assert!(!workspace.path("no").exists());
}

const PROMPT: [&str; 3] =
    ["adapter.method=prompt_tuning", "adapter.num_virtual_tokens=3", "training.learning_rate=1e-1"];

#[test]
fn a_baked_prompt_is_a_model_that_needs_no_adapter() {
    let workspace = Workspace::new(9);
    workspace.write("model/chat_template.jinja", "{% for m in messages %}{{ m.content }} {% endfor %}");
    workspace.train("out", &PROMPT).expect(0);
    let told = workspace.run(&["bake", "--model", "model", "--adapter", "out", "--output", "baked"]).expect(0).stdout;
    assert!(told.contains("tokens 64 to 66") && told.contains("<|prompt_0|><|prompt_1|><|prompt_2|>"), "{told}");
    let baked = workspace.path("baked");
    assert_eq!(json_file(&baked.join("config.json"))["vocab_size"], 67);
    assert_eq!(json_file(&baked.join("generation_config.json"))["suppress_tokens"], json!([64, 65, 66]));

    for chat in [&[][..], &["--chat"]] {
        let write = |model: &str, more: &[&str]| {
            let base = ["generate", "--model", model, "--prompt", "w5 w6 w7", "--max-new-tokens", "12", "--json"];
            workspace.run(&[&base[..], more, chat].concat()).expect(0).json()
        };
        let (adapted, plain) = (write("model", &["--adapter", "out"]), write("baked", &[]));
        assert_eq!(plain["token_ids"], adapted["token_ids"]);
        assert_eq!(plain["prompt_tokens"].as_u64().unwrap(), adapted["prompt_tokens"].as_u64().unwrap() + 3);
    }

    // Logits of rows that begin with the prompt's tokens, over the old vocabulary.
    let rows = [json!([5, 9, 33, 12]), json!([7, 8])];
    workspace.write_rows("plain.jsonl", rows.iter().map(|ids| json!({ "input_ids": ids })));
    let begun = |ids: &Value| [json!([64, 65, 66]), ids.clone()].map(|ids| ids.as_array().unwrap().clone()).concat();
    workspace.write_rows("begun.jsonl", rows.iter().map(|ids| json!({ "input_ids": begun(ids) })));
    let logits = |model: &str, data: &str, more: &[&str]| {
        let file = format!("{data}.safetensors");
        let base = ["eval", "--model", model, "--data", data, "--logits", &file];
        workspace.run(&[&base[..], more].concat()).expect(0);
        let file = SafetensorsFile::open(workspace.path(&file)).unwrap();
        let tensor = file.get("logits").unwrap();
        (tensor.shape().to_vec(), tensor.to_f32().unwrap())
    };
    let (shape, adapted) = logits("model", "plain.jsonl", &["--adapter", "out"]);
    let (baked_shape, baked) = logits("baked", "begun.jsonl", &[]);
    assert_eq!((shape, baked_shape), (vec![2, 7, 64], vec![2, 7, 67]));
    for (adapted, baked) in adapted.chunks(64).zip(baked.chunks(67)) {
        assert_eq!(adapted, &baked[..64]);
        let most = adapted.iter().fold(f32::MIN, |most, &value| most.max(value));
        // A mean is below the largest; rows after the end of the shorter text are zero.
        assert!(baked[64..].iter().all(|&value| value < most || most == 0.0), "{baked:?}");
    }
    // It can be baked, and tuned, again.
    workspace.run(&["bake", "--model", "baked", "--adapter", "out", "--output", "twice"]).expect(0);
    assert!(std::fs::read_to_string(workspace.path("twice/tokenizer.json")).unwrap().contains("<|prompt2_2|>"));
}

#[test]
fn what_is_no_soft_prompt_is_not_baked() {
    let workspace = trained();
    let bake = |adapter: &str| {
        let output = workspace.run(&["bake", "--model", "model", "--adapter", adapter, "--output", "baked"]).expect(2);
        assert!(!workspace.path("baked").exists());
        output.stderr
    };
    assert!(bake("out").contains("use `tunesmith merge`"));
    let prefix = ["adapter.method=prefix_tuning", "adapter.num_virtual_tokens=3", "training.max_steps=1"];
    workspace.train("prefix", &prefix).expect(0);
    assert!(bake("prefix").contains("a prefix is keys and values"));
}

/// Row `index` of the workspace's, with the adapter that it is for.
fn named_rows(workspace: &Workspace, names: &[&str]) -> Vec<Value> {
    let text = std::fs::read_to_string(workspace.path("train.jsonl")).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = rows.zip(names.iter().cycle()).map(|(mut row, name)| {
        row["adapter"] = json!(name);
        row
    });
    named.collect()
}

#[test]
fn rows_of_a_batch_have_adapters_of_their_own() {
    let workspace = trained();
    workspace.train("ia3", &["adapter.method=ia3", "training.learning_rate=1e-1"]).expect(0);
    workspace.train("prompt", &PROMPT).expect(0);
    // In one pass, and with a prompt one after another.
    for third in ["base", "prompt"] {
        let names = ["lora", "ia3", third, "lora"];
        workspace.write_rows("named.jsonl", named_rows(&workspace, &names));
        let mut adapters = vec!["--adapter", "lora=out", "--adapter", "ia3=ia3"];
        if third == "prompt" {
            adapters.extend(["--adapter", "prompt=prompt"]);
        }
        let base = ["eval", "--model", "model", "--json", "--batch-size", "5", "--data"];
        let file = ["named.jsonl", "--logits", "together.safetensors"];
        let together = workspace.run(&[&base[..], &file, &adapters].concat()).expect(0).json();
        let (mut sum, mut tokens) = (0.0, 0);
        for name in ["lora", "ia3", third] {
            let rows = named_rows(&workspace, &names).into_iter().filter(|row| row["adapter"] == name);
            workspace.write_rows("named-one.jsonl", rows.clone());
            // Where no adapter has a name, rows choose none.
            let unnamed = |mut row: Value| row.as_object_mut().unwrap().remove("adapter").map(|_| row);
            workspace.write_rows("one.jsonl", rows.filter_map(unnamed));
            let dir = if name == "lora" { "out" } else { name };
            let own = if name == "base" { vec![] } else { vec!["--adapter", dir] };
            let alone = workspace.run(&[&base[..], &["one.jsonl"], &own].concat()).expect(0).json();
            let refused = workspace.run(&[&base[..], &["named-one.jsonl"], &own].concat()).expect(3).stderr;
            assert!(refused.contains("named-one.jsonl:1: the row names an `adapter`"), "{refused}");
            let count = alone["tokens"].as_u64().unwrap();
            sum += alone["loss"].as_f64().unwrap() * count as f64;
            tokens += count;
        }
        let (loss, expected) = (together["loss"].as_f64().unwrap(), sum / tokens as f64);
        assert_eq!(together["tokens"].as_u64().unwrap(), tokens);
        // Rows of a product do not depend on the other rows; the sum of the losses is in another order.
        assert!((loss - expected).abs() <= 1e-6 * expected, "{third}: {loss} and {expected}");
        let logits = SafetensorsFile::open(workspace.path("together.safetensors")).unwrap();
        assert_eq!(logits.get("logits").unwrap().shape()[0], 5);
    }

    let eval = ["eval", "--model", "model", "--adapter", "lora=out", "--adapter", "ia3=ia3", "--data"];
    let refused = workspace.run(&[&eval[..], &["train.jsonl"]].concat()).expect(3).stderr;
    assert!(refused.contains("train.jsonl:1") && refused.contains("there are lora, ia3, base"), "{refused}");
    let twice = ["eval", "--model", "model", "--adapter", "x=out", "--adapter", "x=ia3", "--data", "train.jsonl"];
    assert!(workspace.run(&twice).expect(2).stderr.contains("the name is taken"));
}

#[test]
fn prompts_choose_adapters() {
    let workspace = trained();
    let prompts = [("w5 w6", "law"), ("w9", "base"), ("w5 w6", "base")];
    workspace.write_rows("prompts.jsonl", prompts.map(|(prompt, name)| json!({ "prompt": prompt, "adapter": name })));
    let base = ["generate", "--model", "model", "--max-new-tokens", "6", "--json"];
    let named = ["--adapter", "law=out", "--prompts", "prompts.jsonl"];
    let rows = workspace.run(&[&base[..], &named].concat()).expect(0).json();
    for (row, (prompt, name)) in rows["rows"].as_array().unwrap().iter().zip(prompts) {
        let own: &[&str] = if name == "law" { &["--adapter", "out"] } else { &[] };
        let alone = workspace.run(&[&base[..], &["--prompt", prompt], own].concat()).expect(0).json();
        assert_eq!((&row["token_ids"], &row["adapter"]), (&alone["token_ids"], &json!(name)));
    }
    let chosen = ["--adapter", "law=out", "--adapter", "mail=out", "--prompt", "w5 w6"];
    let refused = workspace.run(&[&base[..], &chosen].concat()).expect(2).stderr;
    assert!(refused.contains("name one with --use: law, mail, base"), "{refused}");
    let used = workspace.run(&[&base[..], &chosen, &["--use", "mail"]].concat()).expect(0).json();
    assert_eq!(used["token_ids"], rows["rows"][0]["token_ids"]);
    assert!(workspace.run(&[&base[..], &["--prompt", "w5", "--use", "x"]].concat()).expect(2).stderr.contains("--use"));
}

#[test]
fn what_does_not_go_together_is_not_combined() {
    let workspace = trained();
    std::fs::create_dir(workspace.path("other")).unwrap();
    let config = std::fs::read_to_string(workspace.path("out/adapter_config.json")).unwrap();
    workspace.write("other/adapter_config.json", &config.replace("\"model\"", "\"another-model\""));
    let weights = "adapter_model.safetensors";
    std::fs::copy(workspace.path("out").join(weights), workspace.path("other").join(weights)).unwrap();
    let base = ["combine", "--adapter", "out", "--adapter", "other", "--output", "both"];
    let combine = |more: &[&str]| workspace.run(&[&base[..], more].concat());
    let refused = combine(&[]).expect(2).stderr;
    assert!(
        refused.contains("`model`") && refused.contains("`another-model`") && refused.contains("--any-base"),
        "{refused}"
    );
    for (flags, expected) in [
        (&["--density", "0.5"][..], "--density does nothing with --type cat"),
        (&["--svd-rank", "3"], "--svd-rank does nothing with --type cat"),
        (&["--type", "svd", "--majority-by-frequency"], "--majority-by-frequency does nothing with --type svd"),
        (&["--type", "ties"], "`--density`: is missing"),
        (&["--type", "sum"], "`--type`: must be one of"),
        (&["--type", "svd", "--svd-rank", "0"], "`--svd-rank`: must be at least 1"),
    ] {
        let refused = combine(&[flags, &["--any-base"]].concat()).expect(2).stderr;
        assert!(refused.contains(expected), "{refused}");
    }
    combine(&["--any-base"]).expect(0);
}
