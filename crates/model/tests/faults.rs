//! Files that are wrong: the message names the file and the key or tensor, and nothing is allocated by what a file claims.

mod support;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, SafetensorsFile, Storage, TensorSpec, write_safetensors};
use device::DType;
use serde_json::{Map, Value, json};
use support::{Recorded, data, load, logits};
use tunesmith_model::{Decoder, DecoderConfig, Family, Input, ModelError, Pass};

/// The `config.json` of a variant with some keys set, or removed where the value is null.
fn edited(variant: &str, edits: &[(&str, Value)]) -> Map<String, Value> {
    let path = data("families").join(variant).join("config.json");
    let mut config: Map<String, Value> = checkpoint::read_json(&path, 1 << 20).unwrap();
    for (key, value) in edits {
        match value {
            Value::Null => config.remove(*key),
            _ => config.insert((*key).to_owned(), value.clone()),
        };
    }
    config
}

fn refused(variant: &str, edits: &[(&str, Value)]) -> String {
    match DecoderConfig::from_json(Path::new("m/config.json"), &edited(variant, edits)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{variant} with {edits:?} was accepted"),
    }
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let cases: &[(&str, &str, Value, &str)] = &[
        ("llama", "num_hidden_layers", json!(1e9), "a whole number from 1 to"),
        ("llama", "num_hidden_layers", json!(1_000_000_000), "a whole number from 1 to"),
        ("llama", "num_hidden_layers", json!(1_000_000), "at most 4096"),
        ("gpt2", "n_layer", json!(5000), "at most 4096"),
        ("llama", "num_hidden_layers", json!(0), "a whole number from 1 to"),
        ("llama", "hidden_size", json!(-24), "a whole number from 1 to"),
        ("llama", "hidden_size", json!("24"), "a whole number from 1 to"),
        ("llama", "hidden_size", json!(25), "a multiple of the number of attention heads, 4"),
        ("gpt2", "n_embd", json!(25), "a multiple of the number of attention heads, 4"),
        ("gpt_neox", "hidden_size", json!(31), "a multiple of the number of attention heads, 2"),
        ("llama", "num_key_value_heads", json!(3), "a divisor of the number of attention heads, 4"),
        ("llama", "vocab_size", json!([51]), "a whole number from 1 to"),
        ("llama", "vocab_size", json!(1u64 << 60), "a whole number from 1 to"),
        ("llama", "rms_norm_eps", json!(0), "a number above 0"),
        ("llama", "rms_norm_eps", json!("1e-6"), "a number"),
        ("llama", "tie_word_embeddings", json!("no"), "true or false"),
        ("llama", "rope_parameters", json!(7), "an object"),
        ("gpt2", "n_positions", json!(-1), "a whole number from 1 to"),
        ("gemma2", "query_pre_attn_scalar", json!(-3), "a number above 0"),
        ("gemma2", "layer_types", json!(["full_attention"]), "2 names, one for each block"),
        ("gemma2", "layer_types", json!(["full_attention", "linear"]), "a list of `full_attention` and"),
        ("gemma3_text", "layer_types", json!(3), "a list of strings"),
        ("mistral", "eos_token_id", json!("</s>"), "a token id or a list of them"),
        ("phi3", "sliding_window", json!(0), "a whole number from 1 to"),
        ("llama", "hidden_size", json!(1 << 24), "at most 1048576"),
        ("llama", "head_dim", json!(1 << 20), "at most 1048576 by the number of attention heads"),
        ("gpt2", "n_inner", json!(1 << 21), "at most 1048576"),
        ("gpt_neox", "hidden_size", json!(1 << 21), "at most 1048576"),
        ("llama", "rms_norm_eps", json!(1e-60), "a number above 0"),
        ("gemma2", "query_pre_attn_scalar", json!(1e39), "a number"),
    ];
    for (variant, key, value, expected) in cases {
        let message = refused(variant, &[(key, value.clone())]);
        let start = format!("m/config.json: `{key}` is `");
        assert!(message.starts_with(&start) && message.contains(expected), "{variant}: {message}");
    }
    let message = refused("qwen2-window", &[("sliding_window", json!(null)), ("use_sliding_window", json!(false))]);
    assert!(message.contains("`sliding_window` is absent, expected a window"), "{message}");
}

#[test]
fn unknown_activations_are_refused_with_the_known_ones() {
    for (variant, key) in
        [("llama", "hidden_act"), ("gpt2", "activation_function"), ("gemma3_text", "hidden_activation")]
    {
        let message = refused(variant, &[(key, json!("swoosh"))]);
        assert!(message.contains(key) && message.contains("swoosh") && message.contains("gelu_new"), "{message}");
    }
}

#[test]
fn unknown_rope_types_are_refused_with_the_known_ones() {
    for (variant, spelling, name) in [
        ("llama", "rope_parameters", "rope_type"),
        ("llama", "rope_scaling", "rope_type"),
        ("qwen2", "rope_scaling", "type"),
    ] {
        let message = refused(variant, &[(spelling, json!({ name: "mrope", "factor": 2.0 }))]);
        let expected = format!("`{spelling}.{name}` is `\"mrope\"`, expected a rope type among default, linear");
        assert!(message.contains(&expected), "{message}");
    }
    let nested = json!({ "full_attention": { "rope_type": "magic" } });
    let message = refused("gemma3_text", &[("rope_parameters", nested)]);
    assert!(message.contains("`rope_parameters.full_attention.rope_type` is `\"magic\"`"), "{message}");
    let message = refused("phi3", &[("rope_parameters", json!({ "rope_type": "linear", "factor": 2.0 }))]);
    assert!(message.contains("the only ones that Phi-3 knows"), "{message}");
}

#[test]
fn rope_parameters_are_checked() {
    let cases = [
        (json!({ "rope_type": "linear" }), "`rope_parameters.factor` is missing"),
        (json!({ "rope_type": "linear", "factor": -1 }), "`rope_parameters.factor` is `-1`"),
        (json!({ "rope_type": "llama3", "factor": 8 }), "`rope_parameters.low_freq_factor` is missing"),
        (
            json!({ "rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4 }),
            "expected more than low_freq_factor, 4",
        ),
        (json!({ "rope_type": "longrope", "long_factor": [1, 1, 1] }), "`rope_parameters.short_factor` is missing"),
        (
            json!({ "rope_type": "longrope", "short_factor": [1, 2, 3], "long_factor": [1, 2] }),
            "expected 3 numbers above 0",
        ),
        (json!({ "rope_type": "yarn", "factor": "4" }), "`rope_parameters.factor` is `\"4\"`, expected a number"),
        (json!({ "rope_theta": 0 }), "`rope_parameters.rope_theta` is `0`"),
        (json!({ "rope_theta": 1e-300 }), "`rope_parameters.rope_theta` is `1e-300`, expected a number above 0"),
        (
            json!({ "rope_type": "linear", "factor": 1e-38 }),
            "`rope_parameters` is `{\"rope_type\":\"linear\",\"factor\":1e-38}`: with it and `rope_theta`, tokens",
        ),
        (
            json!({ "rope_type": "longrope", "short_factor": [1, 1, 1], "long_factor": [1, 1, 1e-44] }),
            "angles that are no finite numbers",
        ),
        (
            json!({ "rope_type": "yarn", "factor": 4, "rope_theta": 1, "original_max_position_embeddings": 99999 }),
            "angles that are no finite numbers",
        ),
        (json!({ "partial_rotary_factor": 0.5 }), "this family rotates whole heads"),
        (json!({ "full_attention": {} }), "this family has one rotation for all layers"),
    ];
    for (parameters, expected) in cases {
        let message = refused("llama", &[("rope_parameters", parameters)]);
        assert!(message.contains(expected), "{message}");
    }
    for share in [json!(2.0), json!(1e30), json!(0.01)] {
        let message = refused("gpt_neox", &[("rope_parameters", json!({ "partial_rotary_factor": share }))]);
        assert!(message.contains("a share of the 16 channels of a head"), "{message}");
    }
}

#[test]
fn a_missing_or_unknown_family_lists_the_known_ones() {
    let all: Vec<&str> = Family::all().map(|family| family.model_type).collect();
    for (model_type, expected) in [(json!(null), "`model_type` is missing"), (json!("bert"), "`bert` is not supported")]
    {
        let message = refused("llama", &[("model_type", model_type)]);
        assert!(message.contains(expected) && message.contains(&all.join(", ")), "{message}");
    }
    assert!(refused("llama", &[("model_type", json!("gemma3"))]).contains("as gemma3_text"));
    let hostile = refused("llama", &[("model_type", json!("\u{1b}[31m\n"))]);
    assert!(hostile.chars().all(|c| !c.is_control()), "{hostile:?}");
}

#[test]
fn features_that_are_not_computed_are_refused() {
    let message = refused("gpt2", &[("add_cross_attention", json!(true))]);
    assert!(message.contains("there is no encoder"), "{message}");
    let message = refused("gemma3_text", &[("use_bidirectional_attention", json!(true))]);
    assert!(message.contains("a decoder looks back only"), "{message}");
}

#[test]
fn a_config_that_is_no_json_object() {
    let dir = tempfile::tempdir().unwrap();
    let read = |content: &str| {
        std::fs::write(dir.path().join("config.json"), content).unwrap();
        DecoderConfig::read(dir.path()).unwrap_err().to_string()
    };
    assert!(read("{}").contains("`model_type` is missing"));
    for content in ["[]", "7", "{\"model_type\": }", "{\"model_type\": \"llama\", \"rms_norm_eps\": NaN}"] {
        assert!(read(content).contains("config.json"), "{content}");
    }
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let missing = DecoderConfig::read(dir.path()).unwrap_err();
    assert!(matches!(missing, ModelError::Checkpoint(CheckpointError::Io { .. })), "{missing}");
}

/// A model directory whose tensors are those of `variant`, changed by `change`: `None` removes one.
struct Model(tempfile::TempDir);

type Stored = (checkpoint::Dtype, Vec<usize>, Vec<u8>);

impl Model {
    fn new(variant: &str, edits: &[(&str, Value)], change: impl Fn(&str, Stored) -> Vec<(String, Stored)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Value::Object(edited(variant, edits)).to_string();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        let file = SafetensorsFile::open(data("families").join(variant).join("model.safetensors")).unwrap();
        let tensors: Vec<(String, Stored)> = file
            .names()
            .flat_map(|name| {
                let tensor = file.get(name).unwrap();
                change(name, (tensor.dtype(), tensor.shape().to_vec(), tensor.bytes().to_vec()))
            })
            .collect();
        let specs: Vec<TensorSpec> = tensors
            .iter()
            .map(|(name, (dtype, shape, _))| TensorSpec { name: name.clone(), dtype: *dtype, shape: shape.clone() })
            .collect();
        let path = dir.path().join("model.safetensors");
        write_safetensors(&Storage, &path, &specs, &[], |spec| {
            let (_, (_, _, bytes)) = tensors.iter().find(|(name, _)| *name == spec.name).unwrap();
            Ok::<_, CheckpointError>(Cow::Borrowed(&bytes[..]))
        })
        .unwrap();
        Self(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn load(&self) -> Result<Decoder, ModelError> {
        Decoder::load(self.0.path(), DType::F32)
    }

    fn refused(&self) -> String {
        let Err(error) = self.load() else { panic!("accepted") };
        let message = error.to_string();
        assert!(message.contains(&*self.path().to_string_lossy()), "{message}");
        message
    }
}

fn keep(name: &str, tensor: Stored) -> Vec<(String, Stored)> {
    vec![(name.to_owned(), tensor)]
}

#[test]
fn tensors_that_are_not_there() {
    let model =
        Model::new("llama", &[], |name, tensor| if name.contains("layers.1.") { vec![] } else { keep(name, tensor) });
    let message = model.refused();
    assert!(message.contains("missing 9 tensors: `model.layers.1.input_layernorm.weight`, "), "{message}");
    assert!(message.contains(" and 5 more"), "{message}");
}

#[test]
fn tensors_that_no_module_uses() {
    let model = Model::new("llama", &[("num_hidden_layers", json!(1))], keep);
    assert!(model.refused().contains("no module of this model uses 9 tensors: `model.layers.1."));
    let model = Model::new("llama-biases", &[("attention_bias", json!(false)), ("mlp_bias", json!(false))], keep);
    assert!(model.refused().contains("_proj.bias`"));
}

#[test]
fn tensors_of_another_shape() {
    let message = Model::new("llama", &[("vocab_size", json!(52))], keep).refused();
    assert!(
        message.contains("`model.embed_tokens.weight` has shape [51, 24], but config.json says [52, 24]"),
        "{message}"
    );
    assert!(message.contains("`vocab_size` 52"), "{message}");
    let message = Model::new("llama", &[("intermediate_size", json!(35))], keep).refused();
    assert!(message.contains("gate_proj.weight` has shape [36, 24]") && message.contains("`intermediate_size` 35"));
    let message = Model::new("gpt2", &[("n_positions", json!(65))], keep).refused();
    assert!(message.contains("`transformer.wpe.weight`") && message.contains("`max_position_embeddings` 65"));
    let message = Model::new("llama", &[("num_key_value_heads", json!(2))], keep).refused();
    assert!(message.contains("k_proj.weight` has shape [24, 24]") && message.contains("`num_key_value_heads` 2"));
    // One size more than a tensor here can have.
    let deep = Model::new("llama", &[], |name, (dtype, shape, bytes)| {
        let shape = if name == "model.norm.weight" { vec![1, 1, 1, 1, 24] } else { shape };
        keep(name, (dtype, shape, bytes))
    });
    assert!(deep.refused().contains("`model.norm.weight` has shape [1, 1, 1, 1, 24]"));
}

#[test]
fn tensors_of_a_type_that_no_weight_has() {
    let model = Model::new("llama", &[], |name, (dtype, shape, bytes)| match name {
        "model.norm.weight" => keep(name, (checkpoint::Dtype::I32, shape, bytes)),
        _ => keep(name, (dtype, shape, bytes)),
    });
    assert!(model.refused().contains("`model.norm.weight` is stored as I32, expected F32, BF16 or F16"));
}

#[test]
fn a_head_of_its_own_that_is_not_there() {
    let model = Model::new("llama-tied", &[("tie_word_embeddings", json!(false))], keep);
    let message = model.refused();
    assert!(message.contains("`lm_head.weight` is missing and `tie_word_embeddings` is false"), "{message}");
}

/// The tied model with its head written out as well, or in place of the embedding.
fn tied(embedding: bool, head: impl Fn(Vec<u8>) -> Vec<u8>) -> Model {
    Model::new("llama-tied", &[], move |name, tensor| {
        if name != "model.embed_tokens.weight" {
            return keep(name, tensor);
        }
        let (dtype, shape, bytes) = tensor.clone();
        let mut both = keep("lm_head.weight", (dtype, shape, head(bytes)));
        if embedding {
            both.extend(keep(name, tensor));
        }
        both
    })
}

#[test]
fn heads_that_are_tied_and_stored() {
    let ids = Recorded::of("llama-tied").input_ids(1);
    let expected = logits(&load("llama-tied"), &[&ids], &Pass::base());
    let tied_to = |model: &Decoder| {
        let modules = model.base().modules();
        modules.parameter(modules.head().unwrap().weight).tied_to.is_some()
    };
    for model in [tied(true, |bytes| bytes), tied(false, |bytes| bytes)] {
        let model = model.load().unwrap();
        assert!(tied_to(&model));
        assert_eq!(logits(&model, &[&ids], &Pass::base()), expected);
    }
    // Other values in both places: each is used, as transformers does. Here the head is the negated embedding.
    let negated = tied(true, |bytes| bytes.chunks(4).flat_map(|b| [b[0], b[1], b[2], b[3] ^ 0x80]).collect());
    let model = negated.load().unwrap();
    assert!(!tied_to(&model));
    let negative: Vec<f32> = expected.iter().map(|logit| -logit).collect();
    assert_eq!(logits(&model, &[&ids], &Pass::base()), negative);
}

#[test]
fn weights_that_are_not_numbers() {
    load("llama").base().check_finite().unwrap();
    let model = Model::new("llama", &[], |name, (dtype, shape, mut bytes)| {
        if name == "model.layers.1.mlp.up_proj.weight" {
            bytes[20..24].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        keep(name, (dtype, shape, bytes))
    });
    let error = model.load().unwrap().base().check_finite().unwrap_err().to_string();
    assert!(error.contains("`model.layers.1.mlp.up_proj.weight` holds NaN at element 5"), "{error}");
}

#[test]
fn inputs_that_do_not_belong_to_the_model() {
    let pass = Pass::base();
    let model = load("gpt2");
    let run = |ids: &[u32]| model.forward(&Input::from_sequences(&[ids]).unwrap(), &pass).unwrap_err().to_string();
    assert!(run(&[1, 51]).contains("token 1 of the batch is 51, but the model's vocabulary ends at 50"));
    assert!(run(&[1; 65]).contains("position 64 is asked for, but the model has learned 64 positions"));
    assert!(matches!(
        Input::packed(&[1, 2], &[0], &[0, 2]),
        Err(ModelError::BatchLength { argument: "positions", .. })
    ));
    assert!(matches!(
        Input::packed(&[1, 2], &[0, 1], &[0, 1]),
        Err(ModelError::BatchLength { argument: "cu_seqlens", .. })
    ));
    let hidden = model.forward(&Input::from_sequences(&[&[1, 2]]).unwrap(), &pass).unwrap();
    assert!(matches!(model.loss(&hidden, &[1], &pass), Err(ModelError::BatchLength { argument: "targets", .. })));
    assert!(model.loss(&hidden, &[51, -100], &pass).is_err());
    // The cache is usable after an error.
    let mut cache = model.new_cache().unwrap();
    model.forward_cached(&mut cache, &[&[1, 2]], &pass).unwrap();
    assert!(model.forward_cached(&mut cache, &[&[99]], &pass).is_err());
    assert!(cache.input_ids(0).is_empty());
    model.forward_cached(&mut cache, &[&[1, 2]], &pass).unwrap();
}
