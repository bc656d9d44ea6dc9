//! Whether an adapter has the head of a classifier: PEFT says it with the task, and for images with the class of the base.

use std::collections::BTreeSet;

use super::WholeTensor;
use crate::config::{Common, TaskType};

/// Whether the class of transformers, or AdapterHub's, is a classifier of images.
pub(crate) fn is_of_images(class: &str) -> bool {
    class.contains("ForImageClassification")
}

/// Whether heads of classifiers are saved with an adapter that says this of itself.
pub(crate) fn has_head(common: &Common) -> bool {
    let class = || common.auto_mapping.as_ref()?.get("base_model_class")?.as_str();
    is_classifier(common) || class().is_some_and(is_of_images)
}

/// `modules_to_save` of an adapter with this head, which PEFT adds by itself where there is a task.
pub(crate) fn modules_to_save(common: &Common, head: &[WholeTensor]) -> Option<Vec<String>> {
    if head.is_empty() || is_classifier(common) {
        return None;
    }
    let modules: BTreeSet<&str> = head.iter().filter_map(|tensor| Some(tensor.name.rsplit_once('.')?.0)).collect();
    Some(modules.into_iter().map(str::to_owned).collect())
}

fn is_classifier(common: &Common) -> bool {
    matches!(common.task_type, Some(TaskType::SeqCls | TaskType::TokenCls))
}
