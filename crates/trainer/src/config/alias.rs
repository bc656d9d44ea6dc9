//! Words that stand for several settings.

use super::document::{Node, Table, Value};
use super::problem::Problem;

/// Writes `adapter.method = "qlora"` out: `lora` with `model.quantization = "nf4"`.
pub(super) fn expand(tree: &mut Table) -> Result<(), Problem> {
    let Some(method) = section(tree, "adapter").and_then(|adapter| adapter.get_mut("method")) else { return Ok(()) };
    if !matches!(&method.1.value, Value::String(word) if word == "qlora") {
        return Ok(());
    }
    let at = method.1.at.clone();
    method.1.value = Value::String("lora".to_owned());
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

fn section<'a>(tree: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    match &mut tree.get_mut(name)?.1.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}
