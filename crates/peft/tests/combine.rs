//! Combined adapters against PEFT's own (`scripts/golden_combine.py`), and laws of combining.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterDirectory};
use support::data;
use tunesmith_peft::combine::{Combination, CombinationType, Combined, MajoritySign, Weighted};
use tunesmith_peft::lora::LoraConfig;
use tunesmith_peft::{AdapterConfig, PeftError};

/// Sums of a handful of f32 products against torch's; an SVD's factors are rounded to f32 once more.
const SAME: f64 = 2e-6;

fn open(dir: &Path) -> (AdapterDirectory, LoraConfig) {
    let adapter = AdapterDirectory::open(dir).unwrap();
    match AdapterConfig::read(&dir.join(ADAPTER_CONFIG), &adapter.config).unwrap().0 {
        AdapterConfig::Lora(config) => (adapter, config),
        other => panic!("{other:?}"),
    }
}

fn combine(names: &[(&str, f32)], combination: Combination) -> Result<Combined, PeftError> {
    let opened: Vec<_> = names.iter().map(|(name, _)| open(&data(&format!("peft/combine/{name}")))).collect();
    let weighted =
        opened.iter().zip(names).map(|((adapter, config), (_, weight))| Weighted { adapter, config, weight: *weight });
    combination.of(&weighted.collect::<Vec<_>>())
}

fn combination(name: &str) -> Combination {
    Combination {
        combination_type: name.parse().unwrap(),
        svd_rank: None,
        density: None,
        majority_sign_method: MajoritySign::Total,
        seed: 0,
    }
}

/// What a directory adds to each weight, `[out, in]`: `s B A`.
fn updates(dir: &Path) -> BTreeMap<String, Vec<f64>> {
    let (adapter, config) = open(dir);
    assert!(config.rank_pattern.is_empty() && config.alpha_pattern.is_empty());
    let scaling = config.lora_alpha / if config.use_rslora { (config.r as f64).sqrt() } else { config.r as f64 };
    let matrices: BTreeMap<String, _> = adapter.weights.tensors().map(|t| (t.name().to_owned(), t)).collect();
    let update = |(name, a): (&String, &checkpoint::MappedTensor)| {
        let module = name.strip_suffix(".lora_A.weight")?;
        let b = &matrices[&format!("{module}.lora_B.weight")];
        let (input, rank) = (a.shape()[1], a.shape()[0]);
        assert_eq!((rank, b.shape()[1]), (config.r, config.r));
        let (a, b) = (a.to_f32().unwrap(), b.to_f32().unwrap());
        let element =
            |row: &[f32], j: usize| (0..rank).map(|k| f64::from(row[k]) * f64::from(a[k * input + j])).sum::<f64>();
        let values = b.chunks(rank).flat_map(|row| (0..input).map(|j| scaling * element(row, j)).collect::<Vec<_>>());
        Some((module.to_owned(), values.collect()))
    };
    matrices.iter().filter_map(update).collect()
}

fn saved(combined: &Combined) -> BTreeMap<String, Vec<f64>> {
    let out = tempfile::tempdir().unwrap();
    combined.save(&out.path().join("combined")).unwrap();
    updates(&out.path().join("combined"))
}

fn assert_same(what: &str, got: &BTreeMap<String, Vec<f64>>, expected: &BTreeMap<String, Vec<f64>>) {
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{what}");
    for (module, expected) in expected {
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        for (got, expected) in got[module].iter().zip(expected) {
            assert!((got - expected).abs() <= SAME * largest.max(1.0), "{what}: {module}: {got} for {expected}");
        }
    }
}

#[test]
fn updates_are_those_of_peft() {
    let thinned = |name: &str, density| Combination { density: Some(density), ..combination(name) };
    let frequency = MajoritySign::Frequency;
    for (name, adapters, combination) in [
        ("cat", [("a", 0.7), ("c", -0.4)], combination("cat")),
        ("linear", [("a", 0.7), ("b", -0.4)], combination("linear")),
        ("svd", [("a", 0.7), ("c", -0.4)], Combination { svd_rank: Some(3), ..combination("svd") }),
        ("ties", [("a", 0.7), ("b", 0.4)], thinned("ties", 0.5)),
        (
            "ties_svd",
            [("a", 1.0), ("c", 0.5)],
            Combination { svd_rank: Some(5), majority_sign_method: frequency, ..thinned("ties_svd", 0.6) },
        ),
        ("magnitude_prune", [("a", 1.0), ("b", 1.0)], thinned("magnitude_prune", 0.3)),
        (
            "magnitude_prune_svd",
            [("a", 0.5), ("c", 0.5)],
            Combination { svd_rank: Some(4), ..thinned("magnitude_prune_svd", 0.3) },
        ),
    ] {
        let combined = combine(&adapters, combination).unwrap();
        assert_same(name, &saved(&combined), &updates(&data(&format!("peft/combine/{name}"))));
    }
}

#[test]
fn side_by_side_is_the_weighted_sum() {
    let (a, c) = (updates(&data("peft/combine/a")), updates(&data("peft/combine/c")));
    let sum = a
        .iter()
        .map(|(module, a)| (module.clone(), a.iter().zip(&c[module]).map(|(a, c)| 2.0 * a - 0.5 * c).collect()));
    let combined = combine(&[("a", 2.0), ("c", -0.5)], combination("cat")).unwrap();
    assert_eq!((combined.config.r, combined.config.lora_alpha, combined.largest_error), (6, 6.0, None));
    let sum: BTreeMap<String, Vec<f64>> = sum.collect();
    assert_same("cat", &saved(&combined), &sum);
    // With rank for both nothing is cut off.
    let svd = combine(&[("a", 2.0), ("c", -0.5)], Combination { svd_rank: Some(6), ..combination("svd") }).unwrap();
    assert!(svd.largest_error.unwrap() <= 1e-6);
    assert_same("svd", &saved(&svd), &sum);
}

#[test]
fn what_cannot_be_combined_says_why() {
    let refusal =
        |names: &[(&str, f32)], combination: Combination| combine(names, combination).unwrap_err().to_string();
    let ranks = refusal(&[("a", 1.0), ("c", 1.0)], combination("linear"));
    assert!(ranks.contains("ranks are 4 and 2; use `cat` or `svd`"), "{ranks}");
    assert!(refusal(&[("a", 1.0)], combination("ties")).contains("`density`: is missing"));
    let beyond = Combination { density: Some(1.5), ..combination("ties") };
    assert!(refusal(&[("a", 1.0)], beyond).contains("must be from 0 to 1, got 1.5"));
    let none = Combination { svd_rank: Some(0), ..combination("svd") };
    assert!(refusal(&[("a", 1.0)], none).contains("`svd_rank`: must be at least 1"));
    let most = Combination { svd_rank: Some(usize::MAX), ..combination("svd") };
    assert!(refusal(&[("a", 1.0), ("c", 1.0)], most).contains("`svd_rank`: must be at most 6"));
    assert!(refusal(&[("a", f32::NAN)], combination("cat")).contains("`weights`: must be finite, got NaN"));
    assert!(refusal(&[("a", 3e38)], combination("cat")).contains("overflows"));
    let unknown = "mean".parse::<CombinationType>().unwrap_err().to_string();
    assert!(unknown.contains("cat, linear, svd"), "{unknown}");

    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(data("peft/combine/a").join(ADAPTER_WEIGHTS), dir.path().join(ADAPTER_WEIGHTS)).unwrap();
    let config = std::fs::read_to_string(data("peft/combine/a").join(ADAPTER_CONFIG)).unwrap();
    for (from, to, expected) in [
        ("\"r\": 4", "\"r\": 3", "expected rank 3"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "`bias`"),
        ("\"modules_to_save\": null", "\"modules_to_save\": [\"lm_head\"]", "`modules_to_save`"),
    ] {
        std::fs::write(dir.path().join(ADAPTER_CONFIG), config.replace(from, to)).unwrap();
        let (adapter, config) = open(dir.path());
        let refused = combination("cat").of(&[Weighted { adapter: &adapter, config: &config, weight: 1.0 }]);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
