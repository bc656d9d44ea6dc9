//! Adapters in the files of other programs: read as what wrote them computes them, written so that they mean the same.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterDirectory, CheckpointError, Dtype, GgufTensor, GgufValue, SafetensorsFile,
    StagedDirectory, Storage, TensorSpec,
};
use model::{Decoder, ModuleKind, Pass};
use serde_json::{Map, Value};
use support::adapterhub::Recorded;
use support::network::{Network, logits_of};
use support::{Batch, assert_close, batch, cases, data, decoder, floats, logits, pass};
use tunesmith_peft::formats::gguf::{GGUF_ADAPTER, GgufAdapter};
use tunesmith_peft::formats::mlx::MLX_WEIGHTS;
use tunesmith_peft::formats::{self, Format};
use tunesmith_peft::lora::LoraConfig;
use tunesmith_peft::updates::LoraUpdates;
use tunesmith_peft::{AdapterConfig, Method, ModuleNames, PeftError, attach, open, save};

/// Both sides compute in f32 and differ in the order of sums of at most a few hundred terms, each rounded to 6e-8.
const SAME: f32 = 1e-5;

/// The adapter in `dir` in another format.
fn converted(dir: &Path, format: Format, base: &model::Base) -> Result<tempfile::TempDir, PeftError> {
    let directory = formats::read(dir, Some(base.into()))?;
    let (config, _) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    let AdapterConfig::Lora(config) = config else { panic!("a LoRA adapter") };
    let updates = LoraUpdates::read(&directory, &config)?;
    let out = tempfile::tempdir().unwrap();
    let mut staged = StagedDirectory::create(&Storage, &out.path().join("adapter"))?;
    formats::write(format, updates, Some(base.into()), "tiny", &mut staged)?;
    staged.commit(Map::new())?;
    assert_eq!(Format::of(&out.path().join("adapter"))?, format);
    Ok(out)
}

/// A case of AdapterHub with its base.
struct Case {
    name: String,
    folder: PathBuf,
    network: Box<dyn Network>,
    batch: Batch,
    io: SafetensorsFile,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        cases("adapterhub-lora", ADAPTER_CONFIG).into_iter().map(|name| {
            let Recorded { folder, network, io, batch } = Recorded::open("adapterhub-lora", &name);
            Self { network, folder, io, batch, name }
        })
    }

    fn check(&self, what: &str, dir: &Path) {
        let (method, warnings) = open(dir, self.network.base()).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        let mut expected = floats(&self.io, "logits_final");
        let per_row = if self.name.starts_with("bert") { 3 } else { 64 };
        expected.truncate(self.batch.targets.len() * per_row);
        let got = logits_of(&*self.network, &self.batch, &pass(&method));
        assert_close(&format!("{} {what}", self.name), &got, &expected, SAME);
    }
}

#[test]
fn adapters_of_adapterhub_compute_what_it_computed() {
    for case in Case::all() {
        case.check("read", &case.folder);
        if case.name.ends_with("ia3") {
            let out = tempfile::tempdir().unwrap();
            let base = case.network.base();
            let directory = formats::read(&case.folder, Some(base.into())).unwrap();
            let path = case.folder.join(ADAPTER_CONFIG);
            let AdapterConfig::Ia3(config) = AdapterConfig::read(&path, &directory.config).unwrap().0 else { panic!() };
            let mut staged = StagedDirectory::create(&Storage, &out.path().join("adapter")).unwrap();
            formats::adapterhub::write_ia3(&directory, &config, base.into(), "tiny", &mut staged).unwrap();
            staged.commit(Map::new()).unwrap();
            case.check("as AdapterHub", &out.path().join("adapter"));
            continue;
        }
        let peft = converted(&case.folder, Format::Peft, case.network.base()).unwrap();
        case.check("as PEFT", &peft.path().join("adapter"));
        let again = converted(&peft.path().join("adapter"), Format::AdapterHub, case.network.base()).unwrap();
        case.check("as AdapterHub", &again.path().join("adapter"));
        if case.name.starts_with("gpt2") {
            // All three parts have matrices now, and those of one have the rank of all.
            continue;
        }
        let config = |dir: &Path| -> Value {
            let text = std::fs::read_to_string(dir.join(ADAPTER_CONFIG)).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(config(&again.path().join("adapter")), config(&case.folder), "{}", case.name);
        for file in ["adapter.safetensors", "model_head.safetensors"] {
            let read = |dir: &Path| std::fs::read(dir.join(file)).ok();
            let (own, theirs) = (read(&again.path().join("adapter")), read(&case.folder));
            // AdapterHub writes the head of a language model too, which is the base's own.
            assert!(own.is_none() && file.starts_with("model_head") || own == theirs, "{} {file}", case.name);
        }
    }
}

/// A saved adapter with an effect everywhere.
fn saved(config: LoraConfig, base: &Decoder) -> (tempfile::TempDir, Arc<dyn Method>) {
    let (method, _) = attach(AdapterConfig::Lora(config), base.base(), 7).unwrap();
    for (index, leaf) in method.parameters().tensors().enumerate() {
        let values: Vec<f32> = (0..leaf.count()).map(|i| ((i * 7 + index * 5) % 11) as f32 / 40.0 - 0.12).collect();
        method.parameters().set(index, &values).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    save(&*method, &Storage, dir.path()).unwrap();
    (dir, method)
}

fn all_linear() -> LoraConfig {
    LoraConfig {
        r: 4,
        lora_alpha: 6.0,
        target_modules: Some(ModuleNames::Pattern("all-linear".to_owned())),
        ..LoraConfig::default()
    }
}

/// Factors and ranks that no other format has: rsLoRA with patterns of both.
fn patterns() -> LoraConfig {
    LoraConfig {
        use_rslora: true,
        rank_pattern: vec![(r".*\.0\..*".to_owned(), 2), ("o_proj".to_owned(), 3)],
        alpha_pattern: vec![(r".*\.1\..*".to_owned(), 5.0), ("v_proj".to_owned(), 0.5)],
        ..all_linear()
    }
}

#[test]
fn formats_mean_the_same_on_every_family() {
    for variant in ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "gpt2", "gpt_neox"]
    {
        let base = decoder(&format!("families/{variant}"));
        for (what, config) in [("plain", all_linear()), ("patterns", patterns())] {
            let (dir, method) = saved(config, &base);
            let expected = logits(&base, &batch().input, &pass(&method));
            assert_ne!(expected, logits(&base, &batch().input, &Pass::base()));
            for format in [Format::Gguf, Format::Mlx, Format::Peft] {
                let out = converted(dir.path(), format, base.base()).unwrap();
                let (again, warnings) = open(&out.path().join("adapter"), base.base()).unwrap();
                assert!(warnings.is_empty(), "{warnings:?}");
                let got = logits(&base, &batch().input, &pass(&again));
                assert_close(&format!("{variant} {what} {format}"), &got, &expected, SAME);
            }
        }
    }
}

#[test]
fn one_factor_and_one_rank_are_kept_bit_for_bit() {
    let base = decoder("families/llama");
    let (dir, _) = saved(all_linear(), &base);
    let tensors = |dir: &Path| std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
    for format in [Format::Gguf, Format::Mlx] {
        let there = converted(dir.path(), format, base.base()).unwrap();
        let back = converted(&there.path().join("adapter"), Format::Peft, base.base()).unwrap();
        assert!(tensors(&back.path().join("adapter")) == tensors(dir.path()), "{format}");
    }
    let there = converted(dir.path(), Format::Gguf, base.base()).unwrap();
    let adapter = GgufAdapter::open(&there.path().join("adapter")).unwrap();
    assert_eq!((adapter.architecture.as_str(), adapter.alpha), ("llama", Some(6.0)));
    assert_eq!(adapter.file.metadata()["general.type"], GgufValue::String("adapter".to_owned()));
    let there = converted(dir.path(), Format::Mlx, base.base()).unwrap();
    let text = std::fs::read_to_string(there.path().join("adapter").join(ADAPTER_CONFIG)).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&config["fine_tune_type"], &config["num_layers"]), (&"lora".into(), &2.into()));
    assert_eq!((&config["lora_parameters"]["scale"], &config["lora_parameters"]["rank"]), (&1.5.into(), &4.into()));
    assert_eq!(config["lora_parameters"]["keys"].as_array().unwrap().len(), 7);
}

#[test]
fn embeddings_and_norms_of_dora_go_where_there_is_room() {
    let base = decoder("families/qwen3");
    let names = ["embed_tokens", "q_proj"].map(str::to_owned).to_vec();
    let (dir, method) = saved(LoraConfig { target_modules: Some(ModuleNames::List(names)), ..all_linear() }, &base);
    let expected = logits(&base, &batch().input, &pass(&method));
    let tied = base.config().tie_word_embeddings;
    for format in [Format::Mlx, Format::Gguf] {
        match converted(dir.path(), format, base.base()) {
            Ok(out) => {
                let (again, _) = open(&out.path().join("adapter"), base.base()).unwrap();
                assert_close("embedding", &logits(&base, &batch().input, &pass(&again)), &expected, SAME);
            }
            Err(error) => assert!(tied && error.to_string().contains("shared with the head"), "{error}"),
        }
    }
    let (dir, method) = saved(LoraConfig { use_dora: true, ..all_linear() }, &base);
    let expected = logits(&base, &batch().input, &pass(&method));
    let out = converted(dir.path(), Format::Mlx, base.base()).unwrap();
    let (again, _) = open(&out.path().join("adapter"), base.base()).unwrap();
    assert_close("dora", &logits(&base, &batch().input, &pass(&again)), &expected, SAME);
    for format in [Format::Gguf, Format::AdapterHub] {
        let error = converted(dir.path(), format, base.base()).unwrap_err().to_string();
        assert!(error.contains("has no DoRA") || error.contains("does not have this family"), "{error}");
    }
}

#[test]
fn what_has_no_place_is_refused_by_name() {
    let base = decoder("families/llama");
    let refusal = |config: LoraConfig, format| {
        let (dir, _) = saved(config, &base);
        converted(dir.path(), format, base.base()).unwrap_err().to_string()
    };
    let whole = LoraConfig { modules_to_save: Some(vec!["lm_head".to_owned()]), ..LoraConfig::default() };
    assert!(refusal(whole, Format::Gguf).contains("`modules_to_save`: `lm_head` is saved whole"));
    let biased = LoraConfig { lora_bias: true, ..LoraConfig::default() };
    assert!(refusal(biased, Format::Mlx).contains("`lora_bias`"));
    let everywhere = refusal(all_linear(), Format::AdapterHub);
    assert!(everywhere.contains("cannot be written as AdapterHub") && everywhere.contains("gate_proj"), "{everywhere}");
    let phi = decoder("families/phi3");
    let (dir, _) = saved(all_linear(), &phi);
    let error = converted(dir.path(), Format::AdapterHub, phi.base()).unwrap_err().to_string();
    assert!(error.contains("an adapter of a phi3 model"), "{error}");
}

#[test]
fn an_adapter_of_another_base_is_refused_with_both() {
    let (llama, gpt2) = (decoder("families/llama"), decoder("families/gpt2"));
    let message = |dir: &Path, base: &Decoder| open(dir, base.base()).err().expect("must be refused").to_string();
    let (dir, _) = saved(all_linear(), &llama);
    let gguf = converted(dir.path(), Format::Gguf, llama.base()).unwrap();
    let error = message(&gguf.path().join("adapter"), &gpt2);
    assert!(error.contains("`general.architecture` is `llama`, and this one's is `gpt2`"), "{error}");
    let mlx = converted(dir.path(), Format::Mlx, llama.base()).unwrap();
    let error = message(&mlx.path().join("adapter"), &gpt2);
    assert!(error.contains("is no module of this gpt2 model"), "{error}");
    let error = formats::read(&mlx.path().join("adapter"), None).unwrap_err().to_string();
    assert!(error.contains("--to peft --model DIR"), "{error}");

    // AdapterHub's files say it, those of bottleneck adapters too.
    for folder in ["adapterhub-lora/bert-lora", "adapterhub/bert-seq_bn"] {
        let error = message(&data(folder), &gpt2);
        assert!(error.contains("`model_type` is `bert`, and this one's is `gpt2`"), "{error}");
    }
    let changed = tempfile::tempdir().unwrap();
    let folder = data("adapterhub-lora/gpt2-lora");
    std::fs::copy(folder.join("adapter.safetensors"), changed.path().join("adapter.safetensors")).unwrap();
    let base = decoder("peft/base-gpt2");
    for (from, to, expected) in [
        ("\"hidden_size\": 32", "\"hidden_size\": 48", "`hidden_size` is `48`, and this one's is `32`"),
        (
            "GPT2LMHeadModel",
            "CTRLLMHeadModel",
            "`model_class` is `CTRLLMHeadModel`, and this one's is `GPT2LMHeadModel`",
        ),
        ("\"use_gating\": false", "\"use_gating\": true", "`use_gating` is `true`, which is not supported"),
        ("\"composition_mode\": \"add\"", "\"composition_mode\": \"x\"", "expected \"add\" or \"scale\""),
        ("\"r\": 4", "\"r\": 5", "expected rank 5"),
        ("\"r\": 4", "\"r\": 0", "`r`: must be at least 1"),
        ("\"r\": 4", "\"r\": 18446744073709551615", "`r`: must be at least 1 and at most 1048576"),
        ("\"name\": \"tiny\"", "\"name\": \"other\"", "is no matrix of the adapter `other`"),
    ] {
        let text = std::fs::read_to_string(folder.join(ADAPTER_CONFIG)).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(changed.path().join(ADAPTER_CONFIG), text.replace(from, to)).unwrap();
        let error = message(changed.path(), &base);
        assert!(error.contains(expected), "{error}");
    }

    // PEFT names the class of a base without a task.
    let text = std::fs::read_to_string(data("peft/gpt2-lora").join(ADAPTER_CONFIG)).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["auto_mapping"] = serde_json::json!({"parent_library": "transformers.models.bert.modeling_bert"});
    std::fs::write(changed.path().join(ADAPTER_CONFIG), config.to_string()).unwrap();
    let weights = "adapter_model.safetensors";
    std::fs::copy(data("peft/gpt2-lora").join(weights), changed.path().join(weights)).unwrap();
    let error = message(changed.path(), &base);
    assert!(error.contains("`model_type` is `bert`, and this one's is `gpt2`"), "{error}");
}

#[test]
fn gguf_files_that_are_no_adapters_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let write = |metadata: &[(&str, GgufValue)]| {
        std::fs::write(dir.path().join(GGUF_ADAPTER), checkpoint::gguf_bytes(metadata, &[])).unwrap();
        GgufAdapter::open(dir.path()).unwrap_err().to_string()
    };
    let text = |text: &str| GgufValue::String(text.to_owned());
    assert!(write(&[("general.type", text("model"))]).contains("`general.type` is `model`, expected \"adapter\""));
    let adapter = [("general.type", text("adapter")), ("adapter.type", text("lora"))];
    let [kind, lora] = adapter;
    let alpha = ("adapter.lora.alpha", GgufValue::Float(f64::INFINITY));
    assert!(write(&[kind, lora, alpha]).contains("`adapter.lora.alpha` is no finite number"));
    std::fs::write(dir.path().join("second.gguf"), b"GGUF").unwrap();
    assert!(GgufAdapter::open(dir.path()).unwrap_err().to_string().contains("holds 2 GGUF files"));
}

/// `v_proj` of the first block, whose rows stand in one order everywhere, with its inputs and outputs.
fn value_projection(base: &Decoder) -> (&str, [usize; 2]) {
    let module = base.base().modules().find("model.layers.0.self_attn.v_proj").unwrap();
    let ModuleKind::Linear { in_features, out_features, .. } = module.kind else { panic!("a projection") };
    (&module.path, [in_features, out_features])
}

/// A GGUF adapter of rank 4 with ones for matrices of one projection.
fn write_gguf(path: &Path, alpha: Option<f64>, [inputs, outputs]: [usize; 2]) {
    let text = |text: &str| GgufValue::String(text.to_owned());
    let mut metadata = vec![
        ("general.architecture", text("llama")),
        ("general.type", text("adapter")),
        ("adapter.type", text("lora")),
    ];
    metadata.extend(alpha.map(|alpha| ("adapter.lora.alpha", GgufValue::Float(alpha))));
    let ones = vec![1.0; 4 * inputs.max(outputs)];
    let tensor = |end: &str, shape: [usize; 2]| GgufTensor {
        name: format!("blk.0.attn_v.weight.{end}"),
        shape: shape.to_vec(),
        values: &ones[..shape[0] * shape[1]],
    };
    let tensors = [tensor("lora_a", [4, inputs]), tensor("lora_b", [outputs, 4])];
    std::fs::write(path, checkpoint::gguf_bytes(&metadata, &tensors)).unwrap();
}

/// A safetensors file with ones for these tensors.
fn write_ones(path: &Path, tensors: &[(String, [usize; 2])]) {
    let spec = |(name, shape): &(String, [usize; 2])| TensorSpec {
        name: name.clone(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
    };
    let specs: Vec<TensorSpec> = tensors.iter().map(spec).collect();
    checkpoint::write_safetensors(&Storage, path, &specs, &[], |spec| {
        let ones = vec![1.0f32; spec.shape.iter().product()];
        Ok::<_, CheckpointError>(bytemuck::cast_slice(&ones).to_vec().into())
    })
    .unwrap();
}

#[test]
fn no_alpha_in_gguf_means_no_scaling() {
    let base = decoder("families/llama");
    let (_, sizes) = value_projection(&base);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(GGUF_ADAPTER);
    for (alpha, expected) in [(None, 1.0), (Some(0.0), 1.0), (Some(6.0), 1.5)] {
        write_gguf(&path, alpha, sizes);
        let directory = formats::read(&path, Some(base.base().into())).unwrap();
        assert_eq!(formats::config_path(&directory), path);
        let (config, _) = AdapterConfig::read(&path, &directory.config).unwrap();
        let AdapterConfig::Lora(config) = config else { panic!("a LoRA adapter") };
        let updates = LoraUpdates::read(&directory, &config).unwrap().updates;
        assert_eq!((updates.len(), updates[0].rank, updates[0].scaling), (1, 4, expected), "{alpha:?}");
    }
}

#[test]
fn matrices_of_other_sizes_than_the_base_are_refused_with_both() {
    let base = decoder("families/llama");
    let (module, [inputs, outputs]) = value_projection(&base);
    let dir = tempfile::tempdir().unwrap();
    let mlx_config = r#"{"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 1.0, "dropout": 0.0}}"#;
    for [wrong_inputs, wrong_outputs] in [[inputs + 1, outputs], [inputs, outputs - 1], [0, outputs], [inputs, 0]] {
        let refusal = |path: &Path| formats::read(path, Some(base.base().into())).unwrap_err().to_string();
        let expected = format!(
            "has {wrong_inputs} inputs and {wrong_outputs} outputs, expected {inputs} and {outputs} as {module} has"
        );
        let gguf = dir.path().join(GGUF_ADAPTER);
        write_gguf(&gguf, Some(4.0), [wrong_inputs, wrong_outputs]);
        assert!(refusal(&gguf).contains(&expected), "{}", refusal(&gguf));
        std::fs::remove_file(gguf).unwrap();
        std::fs::write(dir.path().join(ADAPTER_CONFIG), mlx_config).unwrap();
        let matrices =
            [(format!("{module}.lora_a"), [wrong_inputs, 4]), (format!("{module}.lora_b"), [4, wrong_outputs])];
        write_ones(&dir.path().join(MLX_WEIGHTS), &matrices);
        assert!(refusal(dir.path()).contains(&expected), "{}", refusal(dir.path()));
        std::fs::remove_file(dir.path().join(ADAPTER_CONFIG)).unwrap();
    }
}

#[test]
fn an_empty_matrix_of_a_great_rank_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rank = 1 << 20;
    let text = format!(r#"{{"peft_type": "LORA", "r": {rank}, "target_modules": ["q_proj"]}}"#);
    std::fs::write(dir.path().join(ADAPTER_CONFIG), text).unwrap();
    for [inputs, outputs] in [[0, 0], [1, 0], [0, 1]] {
        let key = |end: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{end}.weight");
        let matrices = [(key("lora_A"), [rank, inputs]), (key("lora_B"), [outputs, rank])];
        write_ones(&dir.path().join(ADAPTER_WEIGHTS), &matrices);
        let directory = AdapterDirectory::open(dir.path()).unwrap();
        let path = dir.path().join(ADAPTER_CONFIG);
        let AdapterConfig::Lora(config) = AdapterConfig::read(&path, &directory.config).unwrap().0 else { panic!() };
        let error = LoraUpdates::read(&directory, &config).unwrap_err().to_string();
        assert!(error.contains(&format!("expected rank {rank} and no empty side")), "{error}");
    }
}
