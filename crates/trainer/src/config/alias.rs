//! Words that stand for several settings.

use super::document::{Node, Table, Value};
use super::problem::Problem;
use super::source::Location;

/// Writes words for `adapter.method` out that mean a method with another setting.
pub(super) fn expand(tree: &mut Table) -> Result<(), Problem> {
    let Some((_, method)) = section(tree, "adapter").and_then(|adapter| adapter.get_mut("method")) else {
        return Ok(());
    };
    let (word, at) = match &method.value {
        Value::String(word) => (word.clone(), method.at.clone()),
        _ => return Ok(()),
    };
    match word.as_str() {
        "qlora" => {
            method.value = Value::String("lora".to_owned());
            quantize(tree, at)
        }
        "p_tuning_v2" => {
            method.value = Value::String("prefix_tuning".to_owned());
            leave_flat(tree, at)
        }
        _ => Ok(()),
    }
}

/// `qlora`: with `model.quantization = "nf4"`.
fn quantize(tree: &mut Table, at: Location) -> Result<(), Problem> {
    // Without a table `[model]` there is no path either, and that is told.
    let Some(model) = section(tree, "model") else { return Ok(()) };
    let node = Node { at: at.clone(), value: Value::String("nf4".to_owned()) };
    match &model.entry("quantization".to_owned()).or_insert((at, node)).1 {
        Node { value: Value::String(word), .. } if word == "nf4" => Ok(()),
        set => Err(Problem::Contradiction {
            key: "model.quantization".to_owned(),
            reason: "must be \"nf4\" for adapter.method = \"qlora\"; use \"lora\" for a base as it is",
            at: set.at.clone(),
        }),
    }
}

/// `p_tuning_v2`: with `adapter.prefix_projection = false`.
fn leave_flat(tree: &mut Table, at: Location) -> Result<(), Problem> {
    let Some(adapter) = section(tree, "adapter") else { return Ok(()) };
    let node = Node { at: at.clone(), value: Value::Boolean(false) };
    match &adapter.entry("prefix_projection".to_owned()).or_insert((at, node)).1 {
        Node { value: Value::Boolean(true), at } => Err(Problem::Contradiction {
            key: "adapter.prefix_projection".to_owned(),
            reason: "must be false for adapter.method = \"p_tuning_v2\"; use \"prefix_tuning\" for a projected prefix",
            at: at.clone(),
        }),
        _ => Ok(()),
    }
}

fn section<'a>(tree: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    match &mut tree.get_mut(name)?.1.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
