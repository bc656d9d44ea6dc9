//! What AdapterHub calls an adapter's parameters.

use model::{Part, Residual};

/// Families in which the module that takes the sum is itself AdapterHub's layer of adapters, by the start of their name.
/// In all others the layer is a module of its own in it.
const LAYERS_THEMSELVES: [&str; 8] = ["bert", "roberta", "xlm-roberta", "electra", "deberta", "xmod", "t5", "mt5"];

/// The path of the adapter `name` at a residual connection.
pub(super) fn site(residual: &Residual, model_type: &str, name: &str) -> String {
    let path = &residual.path;
    if matches!(model_type, "vit" | "deit") {
        // AdapterHub stands on transformers 4, where the last projection of a block takes the sum itself. It has no DeiT,
        // which is given the names of its ViT.
        let block = path.replace("layers.", "encoder.layer.");
        return match residual.part {
            Part::Mlp => format!("{block}.output.output_adapters.adapters.{name}"),
            Part::Attention | Part::CrossAttention => format!("{block}.attention_adapters.adapters.{name}"),
        };
    }
    if LAYERS_THEMSELVES.contains(&model_type) {
        return format!("{path}.adapters.{name}");
    }
    let layer = match residual.part {
        Part::Attention => "attention_adapters",
        Part::CrossAttention => "cross_attention_adapters",
        Part::Mlp => "output_adapters",
    };
    format!("{path}.{layer}.adapters.{name}")
}

/// The key of what all layers share. It belongs to the base model, of which a head's own modules are no part.
pub(super) fn shared(residual: &Residual, name: &str, parameter: &str) -> String {
    let base = match residual.path.split('.').next() {
        // The model is the base itself.
        None | Some("encoder" | "decoder") => String::new(),
        Some(base) => format!("{base}."),
    };
    format!("{base}shared_parameters.{name}.{parameter}")
}

#[cfg(test)]
mod tests {
    use model::VisionConfig;

    use super::*;

    #[test]
    fn a_vit_has_the_names_of_transformers_4() {
        let json = serde_json::json!({ "model_type": "vit", "num_hidden_layers": 2 });
        let serde_json::Value::Object(json) = json else { unreachable!() };
        let modules = VisionConfig::from_json(std::path::Path::new("config.json"), &json).unwrap().modules(Some(2));
        let sites: Vec<String> = modules.residuals().skip(2).map(|residual| site(residual, "vit", "tiny")).collect();
        let block = "vit.encoder.layer.1";
        assert_eq!(
            sites,
            [
                format!("{block}.attention_adapters.adapters.tiny"),
                format!("{block}.output.output_adapters.adapters.tiny")
            ]
        );
    }
}
