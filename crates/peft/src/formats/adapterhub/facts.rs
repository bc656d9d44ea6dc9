//! Which base model an adapter says that it is for.

use std::path::Path;

use serde_json::Value;

use super::super::Blueprint;
use crate::PeftError;
use crate::bottleneck::ModelFacts;

/// Ends of the names of transformers' classes, and of AdapterHub's own.
const CLASS_ENDS: [&str; 5] = ["AdapterModel", "LMHeadModel", "WithHeads", "Model", "For"];

/// Compares what the file `path` says about the model with `base`.
///
/// # Errors
/// [`PeftError::OtherModel`] names the first difference. A class is compared without its head.
pub(super) fn check(path: &Path, file: &Value, base: Blueprint<'_>) -> Result<(), PeftError> {
    let text = |key: &str| file.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let differ = |key, adapter: &str, base: &str| {
        Err(PeftError::OtherModel { path: path.to_owned(), key, adapter: adapter.to_owned(), base: base.to_owned() })
    };
    let dimensions = base.dimensions;
    match (text("model_type"), text("model_class"), file.get("hidden_size").and_then(Value::as_u64)) {
        (Some(adapter), ..) if adapter != dimensions.model_type => differ("model_type", adapter, dimensions.model_type),
        (_, Some(adapter), _) if family(adapter) != family(dimensions.architecture) => {
            differ("model_class", adapter, dimensions.architecture)
        }
        (.., Some(size)) if size != dimensions.hidden_size as u64 => {
            differ("hidden_size", &size.to_string(), &dimensions.hidden_size.to_string())
        }
        _ => Ok(()),
    }
}

/// The start of a class's name, which all classes of a family share.
fn family(class: &str) -> &str {
    CLASS_ENDS.iter().filter_map(|end| class.find(end)).min().map_or(class, |end| &class[..end])
}

/// What is written about `base`, whose name is `model_name`; a classifier's class ends in `head`.
pub(super) fn of(base: Blueprint<'_>, model_name: String, head: Option<&str>) -> ModelFacts {
    let architecture = base.dimensions.architecture;
    let model_class = head.map_or(architecture.to_owned(), |head| format!("{}{head}", family(architecture)));
    ModelFacts {
        model_name,
        model_class,
        model_type: base.dimensions.model_type.to_owned(),
        hidden_size: Some(base.dimensions.hidden_size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_a_family_begin_alike() {
        for class in ["BertModel", "BertAdapterModel", "BertForSequenceClassification", "BertModelWithHeads"] {
            assert_eq!(family(class), "Bert", "{class}");
        }
        assert_eq!(family("GPT2LMHeadModel"), "GPT2");
        assert_eq!(family("XLMRobertaForTokenClassification"), "XLMRoberta");
        assert_eq!(family("T5ForConditionalGeneration"), "T5");
        assert_eq!(family("LlamaForCausalLM"), "Llama");
    }
}
