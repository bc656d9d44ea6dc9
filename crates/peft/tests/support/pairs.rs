//! Every method and a model of every kind: the pairs that laws and devices are tested on.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use checkpoint::Checkpoint;
use device::philox::Stream;
use device::{DType, Device};
use model::Images;
use tunesmith_peft::bottleneck::{BottleneckConfig, ReductionFactor};
use tunesmith_peft::{AdapterConfig, Full, Method, PeftError, attach};

use super::network::{Network, network_in};
use super::{Batch, after_prompt, data};

/// A method, with settings under which all of it is at work.
pub(crate) struct MethodCase {
    pub(crate) name: &'static str,
    config: Config,
    pub(crate) start: Start,
    /// Whether weights can take it up.
    pub(crate) merges: bool,
    /// Whether its file holds something else than what was trained, which computes the same up to rounding.
    pub(crate) saved_otherwise: bool,
    /// Whether the base is in NF4.
    quantized: bool,
}

enum Config {
    /// As PEFT writes it.
    Peft(&'static str),
    /// A preset of AdapterHub.
    Preset(&'static str),
    Full,
}

/// What it computes before it is trained.
#[derive(PartialEq)]
pub(crate) enum Start {
    /// What the base does.
    Base,
    /// The same up to rounding.
    Rounded,
    Elsewhere,
}

const PEFT: MethodCase = MethodCase {
    name: "",
    config: Config::Full,
    start: Start::Base,
    merges: true,
    saved_otherwise: false,
    quantized: false,
};
/// Virtual tokens and adapters between modules: no weight can take them up.
const BESIDE: MethodCase = MethodCase { start: Start::Elsewhere, merges: false, ..PEFT };

pub(crate) const METHODS: [MethodCase; 23] = [
    MethodCase {
        name: "lora",
        config: Config::Peft(r#"{"peft_type": "LORA", "r": 3, "lora_alpha": 4, "target_modules": "all-linear"}"#),
        ..PEFT
    },
    MethodCase {
        name: "rslora",
        config: Config::Peft(r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "use_rslora": true}"#),
        ..PEFT
    },
    MethodCase {
        name: "dora",
        config: Config::Peft(r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "use_dora": true}"#),
        start: Start::Rounded,
        ..PEFT
    },
    MethodCase {
        name: "pissa",
        config: Config::Peft(
            r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "init_lora_weights": "pissa"}"#,
        ),
        start: Start::Rounded,
        saved_otherwise: true,
        ..PEFT
    },
    MethodCase {
        name: "olora",
        config: Config::Peft(
            r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "init_lora_weights": "olora"}"#,
        ),
        start: Start::Rounded,
        saved_otherwise: true,
        ..PEFT
    },
    MethodCase {
        name: "qlora",
        config: Config::Peft(r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear"}"#),
        quantized: true,
        ..PEFT
    },
    MethodCase {
        name: "dora over nf4",
        config: Config::Peft(r#"{"peft_type": "LORA", "r": 3, "target_modules": "all-linear", "use_dora": true}"#),
        start: Start::Rounded,
        quantized: true,
        ..PEFT
    },
    MethodCase { name: "ia3", config: Config::Peft(r#"{"peft_type": "IA3"}"#), ..PEFT },
    MethodCase {
        name: "vera",
        config: Config::Peft(r#"{"peft_type": "VERA", "r": 3, "target_modules": "all-linear"}"#),
        ..PEFT
    },
    MethodCase {
        name: "adalora",
        config: Config::Peft(
            r#"{"peft_type": "ADALORA", "init_r": 3, "target_r": 2, "total_step": 4, "tinit": 0, "tfinal": 2,
                "deltaT": 1, "target_modules": "all-linear"}"#,
        ),
        // The file has the singular values that are left.
        saved_otherwise: true,
        ..PEFT
    },
    MethodCase { name: "ln tuning", config: Config::Peft(r#"{"peft_type": "LN_TUNING"}"#), ..PEFT },
    MethodCase {
        name: "trainable tokens",
        config: Config::Peft(r#"{"peft_type": "TRAINABLE_TOKENS", "token_indices": [3, 30]}"#),
        ..PEFT
    },
    MethodCase {
        name: "prompt tuning",
        config: Config::Peft(r#"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}"#),
        ..BESIDE
    },
    MethodCase {
        name: "prefix tuning",
        config: Config::Peft(r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2}"#),
        ..BESIDE
    },
    MethodCase {
        name: "prefix tuning with a projection",
        config: Config::Peft(r#"{"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "prefix_projection": true}"#),
        ..BESIDE
    },
    MethodCase {
        name: "p-tuning with an MLP",
        config: Config::Peft(r#"{"peft_type": "P_TUNING", "num_virtual_tokens": 2, "encoder_hidden_size": 8}"#),
        ..BESIDE
    },
    MethodCase {
        name: "p-tuning with an LSTM",
        config: Config::Peft(
            r#"{"peft_type": "P_TUNING", "num_virtual_tokens": 2, "encoder_hidden_size": 8,
                "encoder_reparameterization_type": "LSTM"}"#,
        ),
        ..BESIDE
    },
    MethodCase {
        name: "pixel prompt",
        config: Config::Peft(r#"{"peft_type": "PIXEL_PROMPT", "pixel_prompt": "padding", "prompt_size": 2}"#),
        ..BESIDE
    },
    MethodCase { name: "houlsby", config: Config::Preset("houlsby"), ..BESIDE },
    MethodCase { name: "pfeiffer", config: Config::Preset("pfeiffer"), ..BESIDE },
    MethodCase { name: "parallel", config: Config::Preset("parallel"), start: Start::Base, ..BESIDE },
    MethodCase { name: "compacter", config: Config::Preset("compacter"), ..BESIDE },
    MethodCase { name: "full", config: Config::Full, ..PEFT },
];

/// A model of `tests/data`.
pub(crate) struct ModelCase {
    pub(crate) name: &'static str,
    folder: &'static str,
    /// Of [`network_in`].
    pub(crate) kind: &'static str,
    task_type: Option<&'static str>,
}

pub(crate) const MODELS: [ModelCase; 6] = [
    // Two heads share each key and value.
    ModelCase { name: "llama", folder: "peft/base-llama", kind: "decoder", task_type: Some("CAUSAL_LM") },
    ModelCase { name: "gpt2", folder: "peft/base-gpt2", kind: "decoder", task_type: Some("CAUSAL_LM") },
    ModelCase { name: "t5", folder: "peft/base-t5", kind: "t5", task_type: Some("SEQ_2_SEQ_LM") },
    ModelCase { name: "bert", folder: "peft-classifiers/base-bert", kind: "bert", task_type: Some("SEQ_CLS") },
    ModelCase {
        name: "bert of tokens",
        folder: "peft-classifiers/base-bert_token",
        kind: "tagger",
        task_type: Some("TOKEN_CLS"),
    },
    ModelCase { name: "vit", folder: "vision/base-vit", kind: "vit", task_type: None },
];

/// The other families, and what models of one family differ in.
pub(crate) const FAMILIES: [ModelCase; 21] = [
    decoder("families/gemma"),
    decoder("families/gemma2"),
    decoder("families/gemma3_text"),
    decoder("families/gpt2-unscaled-relu"),
    decoder("families/gpt_neox"),
    decoder("families/gpt_neox-sequential"),
    decoder("families/llama-rope-llama3"),
    decoder("families/llama-rope-yarn"),
    decoder("families/mistral-window"),
    decoder("families/phi3"),
    decoder("families/phi3-longrope"),
    decoder("families/qwen2"),
    decoder("families/qwen3"),
    decoder("families/qwen3-bias-window"),
    ModelCase { kind: "t5", task_type: Some("SEQ_2_SEQ_LM"), ..decoder("seq2seq/mt5") },
    ModelCase { kind: "t5", task_type: Some("SEQ_2_SEQ_LM"), ..decoder("seq2seq/t5-gated-silu") },
    classifier("peft-classifiers/base-distilbert"),
    classifier("peft-classifiers/base-roberta"),
    classifier("peft-classifiers/base-llama"),
    ModelCase { kind: "vit", task_type: None, ..decoder("vision/base-deit") },
    ModelCase { kind: "vit", task_type: None, ..decoder("vision/base-deit_teacher") },
];

const fn decoder(folder: &'static str) -> ModelCase {
    ModelCase { name: folder, folder, kind: "decoder", task_type: Some("CAUSAL_LM") }
}

const fn classifier(folder: &'static str) -> ModelCase {
    ModelCase { name: folder, folder, kind: "bert", task_type: Some("SEQ_CLS") }
}

/// Of a pair that makes no sense: why it is refused, and a method that fits.
pub(crate) fn refusal(method: &MethodCase, model: &ModelCase) -> Option<[&'static str; 2]> {
    match (method.name, model.kind) {
        ("pixel prompt", kind) if kind != "vit" => Some(["is given no images", "prompt_tuning"]),
        ("trainable tokens", "vit") => Some(["has no embedding of tokens", "pixel_prompt"]),
        _ => None,
    }
}

impl ModelCase {
    pub(crate) fn dir(&self) -> PathBuf {
        data(self.folder)
    }

    /// What was written to `dir` in its layout, without `config.json`, on `device`.
    pub(crate) fn load_from(&self, dir: &std::path::Path, device: Device) -> Box<dyn Network> {
        std::fs::copy(self.dir().join("config.json"), dir.join("config.json")).unwrap();
        let mut network = network_in(dir, self.kind, DType::F32);
        network.base_mut().to_device(&Checkpoint::open(dir).unwrap(), device, None).unwrap();
        network
    }

    /// Some of its two rows, of different lengths where they are texts, behind a prompt.
    pub(crate) fn batch(&self, rows: Range<usize>, prompt_len: usize) -> Batch {
        let ids: [&[i64]; 2] = [&[3, 17, 5, 40], &[9, 30]];
        let with = |targets: [&[i64]; 2]| {
            let both = ids.into_iter().zip(targets).map(|(ids, targets)| (ids.to_vec(), targets.to_vec()));
            Batch::of_targets(&both.collect::<Vec<_>>()[rows.clone()])
        };
        match self.kind {
            "t5" => with([&[8, 21, 1], &[7, 1]]),
            "bert" => with([&[1], &[0]]),
            "tagger" => with([&[1, 0, 0, 1], &[0, 1]]),
            "vit" => {
                const PIXELS: u64 = 3 * 13 * 8;
                let pixels = rows.clone().flat_map(|row| {
                    let stream = Stream::new(3, 0, row as u32);
                    (0..PIXELS).map(move |i| stream.normal(i))
                });
                let images = Images::new(&pixels.collect::<Vec<f32>>(), rows.len());
                Batch::of_images(images, &[2, 0][rows])
            }
            _ => after_prompt(&ids.map(|ids| (ids, ids))[rows], prompt_len),
        }
    }
}

impl MethodCase {
    /// The model that it trains, computed in `dtype` on `device`.
    pub(crate) fn load(&self, model: &ModelCase, dtype: DType, device: Device) -> Box<dyn Network> {
        let checkpoint = Checkpoint::open(model.dir()).unwrap();
        let mut network = network_in(&model.dir(), model.kind, dtype);
        if self.quantized {
            network.base_mut().quantize(&checkpoint, true).unwrap();
        }
        network.base_mut().to_device(&checkpoint, device, None).unwrap();
        network
    }

    /// `None` for training in full.
    pub(crate) fn config(&self, model: &ModelCase) -> Option<AdapterConfig> {
        match self.config {
            Config::Full => None,
            Config::Preset(name) => {
                let preset = BottleneckConfig::preset(name).unwrap();
                // Four channels of the models' 32: the hypercomplex layers divide them.
                let reduction_factor = ReductionFactor::Same(8.0);
                Some(AdapterConfig::Bottleneck(BottleneckConfig { reduction_factor, ..preset }))
            }
            Config::Peft(text) => {
                let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
                json["task_type"] = model.task_type.into();
                let path = PathBuf::from("adapter_config.json");
                Some(AdapterConfig::read(&path, &json.to_string()).unwrap().0)
            }
        }
    }

    /// A new one.
    pub(crate) fn attach(&self, model: &ModelCase, network: &dyn Network) -> Result<Arc<dyn Method>, PeftError> {
        match self.config(model) {
            None => Ok(Arc::new(Full::new(network.base())?)),
            Some(config) => attach(config, network.base(), 7).map(|(method, _)| method),
        }
    }
}
