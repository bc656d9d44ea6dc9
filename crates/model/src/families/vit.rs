//! ViT: patches of an image as tokens of an encoder with norms before its parts, and a class token in front of them.
//!
//! Modules have the names of transformers 5; those of transformers 4, which files of weights and many adapters have, are
//! kept beside them.
//!
//! Source: Dosovitskiy et al. 2021, "An image is worth 16x16 words: transformers for image recognition at scale".

use tensor::Layout;

use super::VisionFamily;
use crate::Result;
use crate::config::{
    AttentionConfig, BlockConfig, Heads, Keys, Labels, LayerConfig, MlpConfig, MlpInput, NormConfig, NormKind,
    Projection, Residual, VisionConfig, even_head_dim, num_layers, read_activation, read_dtype, width,
};
use crate::load::Renames;

pub(super) static FAMILY: VisionFamily = VisionFamily {
    model_type: "vit",
    other_heads: &[
        "vit.pooler.",
        "pooler.",
        "classifier.",
        "vit.embeddings.mask_token",
        "embeddings.mask_token",
        "decoder.",
    ],
    read,
};

/// The largest side of an image and of a patch, and the most channels. No model comes near them.
const MAX_SIDE: usize = 1 << 13;
const MAX_CHANNELS: usize = 1 << 10;

/// Parts of names as transformers 5 has them, and as transformers 4 has them.
const OLDER: Renames = &[
    ("layers.", "encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
];

/// The name that a tensor of an adapter has in transformers 5. Others than those of ViT and DeiT under a head, as transformers
/// 4 names them, are given back as they are.
pub fn current_name(name: &str) -> String {
    const OLDER_BLOCKS: [&str; 2] = ["vit.encoder.layer.", "deit.encoder.layer."];
    let is_older = |blocks: &&str| name.starts_with(*blocks) || name.contains(&format!(".{blocks}"));
    if !OLDER_BLOCKS.iter().any(is_older) {
        return name.to_owned();
    }
    OLDER.iter().fold(name.to_owned(), |name, (now, then)| name.replace(then, now))
}

fn read(keys: &Keys<'_>) -> Result<VisionConfig> {
    read_as(&FAMILY, "vit", keys)
}

/// Reads what a family has in common with ViT, of which `base` is the part of the tree below a head.
pub(super) fn read_as(family: &'static VisionFamily, base: &'static str, keys: &Keys<'_>) -> Result<VisionConfig> {
    let hidden_size = width(keys, "hidden_size", 768)?;
    let num_heads = width(keys, "num_attention_heads", 12)?;
    let head_dim = even_head_dim(keys, "hidden_size", hidden_size, num_heads)?;
    let image_size = keys.sides("image_size", 224, MAX_SIDE)?;
    let patch_size = keys.sides("patch_size", 16, MAX_SIDE)?;
    if patch_size.iter().zip(image_size).any(|(patch, image)| *patch > image) {
        return Err(
            keys.refuse("patch_size", format!("no more than `image_size`, {} x {}", image_size[0], image_size[1]))
        );
    }
    let layer = LayerConfig { softmax_scale: (head_dim as f64).powf(-0.5) as f32, window: None, rope: 0 };
    Ok(VisionConfig {
        family,
        architecture: "ViTForImageClassification",
        base,
        image_size,
        patch_size,
        num_channels: keys.bounded_size("num_channels", 3, MAX_CHANNELS)?,
        special_tokens: &["cls_token"],
        heads: &["classifier"],
        dtype: read_dtype(keys)?,
        block: BlockConfig {
            hidden_size,
            intermediate_size: width(keys, "intermediate_size", 3072)?,
            heads: Heads { num_attention_heads: num_heads, num_key_value_heads: num_heads, head_dim },
            norm: NormConfig { kind: NormKind::Layer, eps: keys.positive("layer_norm_eps", 1e-12)? as f32 },
            residual: Residual::Sequential {
                before_attention: "layernorm_before",
                after_attention: None,
                before_mlp: "layernorm_after",
                after_mlp: None,
            },
            attention: AttentionConfig {
                projection: Projection::Separate {
                    query: "attention.q_proj",
                    key: "attention.k_proj",
                    value: "attention.v_proj",
                },
                bias: keys.flag("qkv_bias", true)?,
                output: "attention.o_proj",
                output_bias: true,
                layout: Layout::OutIn,
                head_norms: None,
                softcap: None,
            },
            mlp: MlpConfig {
                input: MlpInput::Plain { up: "mlp.fc1" },
                output: "mlp.fc2",
                bias: true,
                layout: Layout::OutIn,
                activation: read_activation(keys, "hidden_act", "gelu")?,
            },
            rotary: false,
            causal: false,
        },
        layers: vec![layer; num_layers(keys, "num_hidden_layers", 12)?],
        blocks: "layers",
        older: OLDER,
        labels: Labels::read(keys)?,
        initializer_range: keys.positive("initializer_range", 0.02)? as f32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::renamed;

    #[test]
    fn both_names_of_a_module_lead_to_each_other() {
        let now =
            ["attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "mlp.fc1", "mlp.fc2"];
        let then = [
            "attention.attention.query",
            "attention.attention.key",
            "attention.attention.value",
            "attention.output.dense",
            "intermediate.dense",
            "output.dense",
        ];
        for (now, then) in now.into_iter().zip(then) {
            let now = format!("vit.layers.3.{now}");
            assert_eq!(renamed(&now, OLDER), format!("vit.encoder.layer.3.{then}"));
            assert_eq!(current_name(&renamed(&now, OLDER)), now);
        }
        let bert = "base_model.model.bert.encoder.layer.0.attention.output.dense.lora_A.weight";
        assert_eq!(current_name(bert), bert);
    }
}
