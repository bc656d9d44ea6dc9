//! What is said about a run before it begins, and again in its report and its model card.

use std::collections::BTreeMap;

use checkpoint::Quoted;
use data::Statistics;
use model::{Base, ParameterId};

use super::base_model::BaseModel;
use super::plan::{DevicePlan, RunPlan, Trained};
use crate::config::{self, Config};
use crate::units::{Bytes, Counted, Grouped, Share};

/// Name and value.
pub type Fact = (String, String);

/// The model and what of it is trained.
pub fn model(config: &Config, base: &BaseModel, trained: &Trained) -> Vec<Fact> {
    let modules = base.task.base().modules();
    let trainable = trained.parameters as u64;
    let base_parameters = modules.count() as u64;
    let all = all_parameters(config, base_parameters, trainable);
    let mut facts = vec![
        fact(
            "model",
            format!(
                "{} ({}, {} parameters, {}{})",
                Quoted(&base.dir.display().to_string()),
                base.task.base().dimensions().model_type,
                Grouped(base_parameters),
                base.dtype,
                quantization(config, base)
            ),
        ),
        fact(
            "trainable params",
            format!("{} || all params: {} || trainable%: {}", Grouped(trainable), Grouped(all), Share(trainable, all)),
        ),
    ];
    let adapted: Vec<&str> = trained.adapted(modules).collect();
    let purpose = &base.purpose;
    if purpose.is_classifier() {
        facts.push(fact("classes", classes(purpose.labels.names())));
    }
    if !adapted.is_empty() {
        facts.push(fact("adapted modules", format!("{} ({})", adapted.len(), by_last_part(&adapted))));
    }
    facts
}

/// What is said about a base in blocks of few bits.
fn quantization(config: &Config, base: &BaseModel) -> &'static str {
    match (config.model.quantization, config.model.double_quant) {
        _ if base.task.base().is_quantized() => ", quantized in its files",
        (config::Quantization::None, _) => "",
        (config::Quantization::Nf4, false) => ", linear modules in nf4",
        (config::Quantization::Int8, _) => ", linear modules in int8",
        (config::Quantization::Nf4, true) => ", linear modules in nf4 with double quantization",
    }
}

/// Parameters of the base and of the adapter, as PEFT counts them.
pub fn all_parameters(config: &Config, base: u64, trainable: u64) -> u64 {
    if config.adapter.method == config::Method::Full { base } else { base + trainable }
}

/// The memory plan in one line.
pub fn memory(plan: &RunPlan) -> Fact {
    let available = plan.available_bytes.map_or_else(String::new, |bytes| format!(" of {} available", Bytes(bytes)));
    let mut items = plan.memory.items().to_vec();
    items.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let largest: Vec<String> = items.iter().take(3).map(|(name, bytes)| format!("{name} {}", Bytes(*bytes))).collect();
    fact("memory", format!("about {}{available} ({}, ...)", Bytes(plan.memory.total()), largest.join(", ")))
}

/// The plan of a device's memory in one line.
pub fn device_memory(plan: &DevicePlan) -> Fact {
    let available = plan.available_bytes.map_or_else(String::new, |bytes| format!(" of {} available", Bytes(bytes)));
    let items = plan.memory.items().map(|(name, bytes)| format!("{name} {}", Bytes(bytes)));
    fact(
        "device memory",
        format!("{}{available} on {} ({})", Bytes(plan.memory.total()), plan.device, items.join(", ")),
    )
}

/// Every item of a memory plan.
pub fn memory_items(items: &[(&str, u64)]) -> String {
    let items: Vec<String> = items.iter().map(|(name, bytes)| format!("  {name:<22}{}", Bytes(*bytes))).collect();
    format!("the memory of this run was planned as\n{}", items.join("\n"))
}

/// The rows.
pub fn rows(statistics: &Statistics) -> Fact {
    let Statistics { examples, tokens, targets, longest, truncated, .. } = statistics;
    fact(
        "data",
        format!(
            "{}, {}, {} supervised, longest {longest}, {truncated} truncated",
            Counted(*examples as u64, "row"),
            Counted(*tokens, "token"),
            Share(*targets, *tokens),
        ),
    )
}

/// Rows that are on their way.
pub fn growing_rows(rows: usize) -> Fact {
    fact("data", format!("{}, encoded while training goes on", Counted(rows as u64, "row")))
}

/// What about the rows is likely to be a mistake. `must_stop` says that they should teach to stop, and that it is known which
/// tokens do.
pub fn warnings(statistics: &Statistics, max_length: usize, must_stop: bool) -> Vec<String> {
    let Statistics { truncated, without_targets, empty, split, merged, stopping, examples, .. } = *statistics;
    let rows = |count: usize| Counted(count as u64, "row");
    let told = [
        (truncated, format!("{} cut to data.max_length = {max_length} tokens", rows(truncated))),
        (without_targets, format!("{} without a token to train on", rows(without_targets))),
        (empty, format!("{} left out, being empty", rows(empty))),
        (
            split,
            format!(
                "{} made into a row for each answer, as their template renders them differently",
                Counted(split as u64, "conversation")
            ),
        ),
        (merged, format!("in {} one token holds the end of the prompt and the start of the completion", rows(merged))),
        (
            usize::from(must_stop && stopping == 0) * examples,
            "no row teaches to stop: none ends with a stop token of the model that is trained on".to_owned(),
        ),
    ];
    told.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect()
}

/// What the model's files do not have and nothing stands in for, as `has` tells of each parameter.
pub fn newly_initialized(base: &Base, has: impl Fn(ParameterId) -> bool) -> Option<String> {
    let new = base.newly_initialized().iter().filter(|id| !has(**id));
    let names: Vec<&str> = new.map(|id| base.modules().parameter(*id).name.as_str()).collect();
    (!names.is_empty())
        .then(|| format!("newly initialized, since the model's files do not have them: {}", names.join(", ")))
}

/// How long the run is.
pub fn length(config: &Config, max_steps: u64, epochs: f64) -> Fact {
    let training = &config.training;
    fact(
        "training",
        format!(
            "{} of {} x {} sequences, {epochs:.2} epochs, {} learning rate {}",
            Counted(max_steps, "step"),
            training.per_device_train_batch_size,
            training.gradient_accumulation_steps,
            serde_json::to_value(training.lr_scheduler_type).ok().as_ref().and_then(|v| v.as_str()).unwrap_or_default(),
            training.learning_rate,
        ),
    )
}

/// What the recipe has set.
pub fn recipe(config: &Config) -> Option<Fact> {
    let name = serde_json::to_value(config.adapter.recipe).ok()?;
    let set = config.from_recipe.join(", ");
    (!set.is_empty()).then(|| fact("recipe", format!("{} ({set})", name.as_str().unwrap_or_default())))
}

fn fact(name: &str, value: String) -> Fact {
    (name.to_owned(), value)
}

/// `3 (north, south, up)`, the first few of many.
fn classes(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| Quoted(name).to_string()).collect();
    let more = if names.len() > SHOWN { ", ..." } else { "" };
    format!("{} ({}{more})", names.len(), shown.join(", "))
}

/// `q_proj 30, v_proj 30`.
fn by_last_part(paths: &[&str]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in paths {
        *counts.entry(path.rsplit('.').next().unwrap_or(path)).or_default() += 1;
    }
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_counted_by_their_last_name() {
        let paths = ["model.layers.0.q_proj", "model.layers.0.v_proj", "model.layers.1.q_proj", "lm_head"];
        assert_eq!(by_last_part(&paths), "lm_head 1, q_proj 2, v_proj 1");
    }

    #[test]
    fn rows_that_never_stop_are_warned_about() {
        let statistics =
            Statistics { rows: 3, examples: 3, tokens: 30, targets: 10, truncated: 1, ..Statistics::default() };
        let warnings = warnings(&statistics, 8, true);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("1 row cut to data.max_length = 8"));
        assert!(warnings[1].contains("no row teaches to stop"));
    }
}
