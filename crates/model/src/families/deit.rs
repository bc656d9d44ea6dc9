//! DeiT: a ViT with a second token in front of the patches, which was trained on what a teacher says of the image.
//!
//! `DeiTForImageClassification` scores classes by the class token. `DeiTForImageClassificationWithTeacher` has a head for each
//! of the two tokens, and its scores are their mean; which one a model is `architectures` says. Here both are trained on the
//! loss of their scores, without a teacher.
//!
//! Source: Touvron et al. 2021, "Training data-efficient image transformers & distillation through attention".

use super::{VisionFamily, vit};
use crate::Result;
use crate::config::{Keys, VisionConfig};

pub(super) static FAMILY: VisionFamily = VisionFamily {
    model_type: "deit",
    other_heads: &[
        "deit.pooler.",
        "pooler.",
        "classifier.",
        "cls_classifier.",
        "distillation_classifier.",
        "deit.embeddings.mask_token",
        "embeddings.mask_token",
        "decoder.",
    ],
    read,
};

const WITH_TEACHER: &str = "DeiTForImageClassificationWithTeacher";

fn read(keys: &Keys<'_>) -> Result<VisionConfig> {
    let is_with_teacher = keys.texts("architectures")?.is_some_and(|classes| classes.first() == Some(&WITH_TEACHER));
    let (architecture, heads): (_, &[&str]) = if is_with_teacher {
        (WITH_TEACHER, &["cls_classifier", "distillation_classifier"])
    } else {
        ("DeiTForImageClassification", &["classifier"])
    };
    let special_tokens = &["cls_token", "distillation_token"];
    Ok(VisionConfig { architecture, special_tokens, heads, ..vit::read_as(&FAMILY, "deit", keys)? })
}
