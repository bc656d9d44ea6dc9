//! Files that hold more or less than their configuration means: told with the base's modules, and as far as it goes without.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTERHUB_WEIGHTS, AdapterDirectory, CheckpointError, SafetensorsFile, Storage,
    TensorSpec, write_safetensors,
};
use model::Base;
use support::network::network;
use support::{cases, data, decoder};
use tunesmith_peft::combine::{Combination, MajoritySign, Weighted};
use tunesmith_peft::lora::LoraConfig;
use tunesmith_peft::updates::{LoraUpdates, check_complete};
use tunesmith_peft::{AdapterConfig, PeftError, formats, open};

const LORA: &str = r#"{"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "v_proj"]}"#;
const WHOLE: [&str; 4] = ["0.self_attn.q_proj", "0.self_attn.v_proj", "1.self_attn.q_proj", "1.self_attn.v_proj"];

/// A PEFT adapter of rank 2 with ones for the matrices of these modules of a Llama.
fn write(dir: &Path, config: &str, modules: &[&str]) {
    let keys = modules.iter().flat_map(|module| {
        let key = |end: &str| format!("base_model.model.model.layers.{module}.{end}.weight");
        [(key("lora_A"), vec![2, 32]), (key("lora_B"), vec![32, 2])]
    });
    write_ones(&dir.join(ADAPTER_WEIGHTS), keys);
    std::fs::write(dir.join(ADAPTER_CONFIG), config).unwrap();
}

fn write_ones(path: &Path, tensors: impl IntoIterator<Item = (String, Vec<usize>)>) {
    let spec = |(name, shape)| TensorSpec { name, dtype: checkpoint::Dtype::F32, shape };
    let specs: Vec<TensorSpec> = tensors.into_iter().map(spec).collect();
    write_safetensors(&Storage, path, &specs, &[], |spec| {
        let ones = vec![1.0f32; spec.shape.iter().product()];
        Ok::<_, CheckpointError>(bytemuck::cast_slice(&ones).to_vec().into())
    })
    .unwrap();
}

fn read(dir: &Path) -> (AdapterDirectory, LoraConfig) {
    let directory = AdapterDirectory::open(dir).unwrap();
    match AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config).unwrap().0 {
        AdapterConfig::Lora(config) => (directory, config),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_whole_as_far_as_it_says_itself() {
    let check = |config: &str, modules: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), config, modules);
        let (directory, config) = read(dir.path());
        let checked = check_complete(&directory, &config);
        // Whoever reads the matrices is told the same.
        let updates = LoraUpdates::read(&directory, &config).map(|_| ());
        assert_eq!(format!("{checked:?}"), format!("{updates:?}"));
        checked
    };
    let refusal = |config: &str, modules: &[&str]| check(config, modules).unwrap_err().to_string();
    check(LORA, &WHOLE).unwrap();
    let missing = refusal(LORA, &WHOLE[..3]);
    assert!(
        missing.contains("2 missing: `base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight`"),
        "{missing}"
    );
    let more = refusal(LORA, &[&WHOLE[..], &["1.self_attn.o_proj"]].concat());
    assert!(more.contains("2 unexpected: `base_model.model.model.layers.1.self_attn.o_proj.lora_A.weight`"), "{more}");
    // What the configuration leaves out is not missing.
    let only_last = LORA.replace(r#""r": 2"#, r#""r": 2, "layers_to_transform": [1]"#);
    check(&only_last, &WHOLE[2..]).unwrap();
    assert!(refusal(&only_last, &WHOLE).contains("4 unexpected"));
    check(&LORA.replace(r#"["q_proj", "v_proj"]"#, r#"".*\\.(0.*q|1.*v)_proj""#), &[WHOLE[0], WHOLE[3]]).unwrap();
    check(&LORA.replace(r#"["q_proj", "v_proj"]"#, r#""all-linear""#), &WHOLE).unwrap();
}

#[test]
fn matrices_come_in_pairs() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), LORA, &[]);
    let key = |end: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{end}.weight");
    write_ones(&dir.path().join(ADAPTER_WEIGHTS), [(key("lora_A"), vec![2, 32])]);
    let (directory, config) = read(dir.path());
    let error = check_complete(&directory, &LoraConfig { target_modules: None, ..config }).unwrap_err().to_string();
    assert!(error.contains(&format!("1 missing: `{}`;", key("lora_B"))), "{error}");
}

/// What [`formats::check`] says about the adapter in `dir`.
fn checked(dir: &Path, base: &Base) -> Result<(), PeftError> {
    let directory = formats::read(dir, Some(base.into()))?;
    let (config, _) = AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &directory.config)?;
    formats::check(&directory, &config, base.into())
}

#[test]
fn an_adapter_that_does_not_fit_its_base_is_refused_as_where_it_is_loaded() {
    let (llama, gpt2) = (decoder("peft/base-llama"), decoder("peft/base-gpt2"));
    let dir = tempfile::tempdir().unwrap();
    for modules in [&WHOLE[..2], &[], &["0.self_attn.zzz"]] {
        write(dir.path(), LORA, modules);
        let loaded = open(dir.path(), llama.base()).err().expect("must be refused").to_string();
        assert_eq!(checked(dir.path(), llama.base()).unwrap_err().to_string(), loaded);
        assert!(loaded.contains("missing"), "{loaded}");
    }
    let own = data("peft/llama-lora");
    let loaded = open(&own, gpt2.base()).err().expect("must be refused").to_string();
    assert_eq!(checked(&own, gpt2.base()).unwrap_err().to_string(), loaded);
    // Matrices of another hidden size.
    let (config, weights) = (ADAPTER_CONFIG, ADAPTER_WEIGHTS);
    std::fs::copy(own.join(config), dir.path().join(config)).unwrap();
    let file = SafetensorsFile::open(own.join(weights)).unwrap();
    let doubled = |shape: &[usize]| shape.iter().map(|size| 2 * size).collect::<Vec<_>>();
    write_ones(
        &dir.path().join(weights),
        file.tensors().map(|tensor| (tensor.name().to_owned(), doubled(tensor.shape()))),
    );
    let refused = checked(dir.path(), llama.base()).unwrap_err().to_string();
    let count = file.tensors().count();
    assert!(refused.contains(&format!("{count} misshapen")) && refused.contains("expected ["), "{refused}");
}

#[test]
fn what_peft_saved_fits() {
    let mut bases = BTreeMap::new();
    for name in cases("peft", ADAPTER_CONFIG) {
        let family = name.split('-').next().unwrap().to_owned();
        let base =
            bases.entry(family.clone()).or_insert_with(|| network(&data(&format!("peft/base-{family}")), &family));
        checked(&data(&format!("peft/{name}")), base.base()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(bases.len() > 3);
}

#[test]
fn adapters_of_the_same_modules_are_combined_and_no_others() {
    let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let combine = || {
        let opened = [&one, &other].map(|dir| read(dir.path()));
        let weighted = opened.iter().map(|(adapter, config)| Weighted { adapter, config, weight: 1.0 });
        let combination = Combination {
            combination_type: "cat".parse().unwrap(),
            svd_rank: None,
            density: None,
            majority_sign_method: MajoritySign::Total,
            seed: 0,
        };
        combination.of(&weighted.collect::<Vec<_>>()).map(|_| ())
    };
    write(one.path(), LORA, &WHOLE);
    // A block less than the base has: the other adapter tells.
    write(other.path(), LORA, &WHOLE[..2]);
    let refused = combine().unwrap_err().to_string();
    assert!(refused.contains("layers.1.self_attn.q_proj") && refused.contains("a file is not whole"), "{refused}");
    write(other.path(), &LORA.replace(r#"["q_proj", "v_proj"]"#, r#"["q_proj"]"#), &[WHOLE[0], WHOLE[2]]);
    combine().unwrap();
}

#[test]
fn what_adapterhub_left_out_is_missed() {
    for (name, removed) in [("bert-lora", ".layer.1.attention.self.query."), ("t5-ia3", "decoder.block.0.layer.2.")] {
        let (own, dir) = (data("adapterhub-lora").join(name), tempfile::tempdir().unwrap());
        let family = name.split('-').next().unwrap();
        let bases = if family == "bert" { "peft-classifiers" } else { "peft" };
        let network = network(&data(&format!("{bases}/base-{family}")), family);
        for file in std::fs::read_dir(&own).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let file = SafetensorsFile::open(own.join(ADAPTERHUB_WEIGHTS)).unwrap();
        let kept = file.tensors().filter(|tensor| !tensor.name().contains(removed));
        let kept: Vec<_> = kept.map(|tensor| (tensor.name().to_owned(), tensor.shape().to_vec())).collect();
        assert!(kept.len() < file.tensors().count(), "{name}");
        write_ones(&dir.path().join(ADAPTERHUB_WEIGHTS), kept);
        let refused = open(dir.path(), network.base()).err().expect("must be refused").to_string();
        assert!(refused.contains("missing: ") && refused.contains(removed), "{name}: {refused}");
        // Fewer in the configuration is as wrong as fewer in the file.
        let config = std::fs::read_to_string(own.join(ADAPTER_CONFIG)).unwrap();
        let left_out = config.replace("\"leave_out\": []", "\"leave_out\": [0]");
        assert!(left_out != config, "{config}");
        std::fs::copy(own.join(ADAPTERHUB_WEIGHTS), dir.path().join(ADAPTERHUB_WEIGHTS)).unwrap();
        std::fs::write(dir.path().join(ADAPTER_CONFIG), left_out).unwrap();
        let refused = open(dir.path(), network.base()).err().expect("must be refused").to_string();
        assert!(refused.contains("unexpected: "), "{name}: {refused}");
    }
}
