//! Which parameters share a learning rate and a weight decay.
//!
//! Without LoRA+ all of them do, as in `torch.optim.AdamW(parameters)`. With it there are the groups of PEFT's
//! `create_loraplus_optimizer`, whose `loraplus_weight_decay` is `training.weight_decay` here:
//!
//! | parameters | learning rate | decay |
//! |---|---|---|
//! | A and other matrices | `learning_rate` | yes |
//! | updates of embeddings | `loraplus_lr_embedding` | yes |
//! | B, vectors | `learning_rate * loraplus_lr_ratio` | yes |
//! | of these biases and layer norms | `learning_rate * loraplus_lr_ratio` | no |
//!
//! Source: Hayou et al. 2024, "LoRA+: Efficient Low Rank Adaptation of Large Models".

use std::ops::Range;

use adamw::Group;
use model::{ModuleKind, Modules};
use tensor::Parameters;

use super::base_name;
use crate::config::Training;

/// PEFT's default.
const LEARNING_RATE_OF_EMBEDDINGS: f64 = 1e-6;

/// The parts of `groups` that lie in `range`, from its start on.
pub(super) fn within(groups: &[Group], range: &Range<usize>) -> Vec<Group> {
    let inside = |at: usize| at.clamp(range.start, range.end) - range.start;
    let parts =
        groups.iter().map(|group| Group { range: inside(group.range.start)..inside(group.range.end), ..group.clone() });
    parts.filter(|group| !group.range.is_empty()).collect()
}

/// Groups of `parameters`, one after another, for a method on a base with `modules`.
pub(super) fn groups(parameters: &Parameters, training: &Training, modules: &Modules) -> Vec<Group> {
    let Some(ratio) = training.loraplus_lr_ratio else {
        return vec![Group { range: 0..parameters.count(), learning_rate: 1.0, weight_decay: 1.0 }];
    };
    let of_embeddings = training.loraplus_lr_embedding.unwrap_or(LEARNING_RATE_OF_EMBEDDINGS);
    // The learning rate that a group's is a multiple of moves with the schedule; 0 moves nothing.
    let of_embeddings = if training.learning_rate > 0.0 { of_embeddings / training.learning_rate } else { 0.0 };
    let mut groups: Vec<Group> = Vec::new();
    let mut start = 0;
    for (name, tensor) in parameters.iter() {
        let range = start..start + tensor.count();
        start = range.end;
        let (learning_rate, decays) = if name.contains(".lora_embedding_") {
            (of_embeddings, true)
        } else if name.contains("lora_B") || tensor.shape().len() == 1 {
            (ratio, !name.contains("bias") && !is_of_layer_norm(name, modules))
        } else {
            (1.0, true)
        };
        let weight_decay = f64::from(u8::from(decays));
        match groups.last_mut().filter(|last| (last.learning_rate, last.weight_decay) == (learning_rate, weight_decay))
        {
            Some(last) => last.range.end = range.end,
            None => groups.push(Group { range, learning_rate, weight_decay }),
        }
    }
    groups
}

/// Whether it stands in for the weight of a layer norm: torch knows those, which have a bias, and not what models define.
fn is_of_layer_norm(name: &str, modules: &Modules) -> bool {
    let module = modules.find_parameter(base_name(name)).map(|parameter| modules.get(parameter.module));
    module.is_some_and(|module| matches!(module.kind, ModuleKind::Norm { .. }) && module.bias.is_some())
}

#[cfg(test)]
mod tests {
    use tensor::Shape;

    use super::*;
    use crate::config::{Config, Overrides};

    fn training(lines: &str) -> Training {
        let text = format!(
            "[model]\npath = 'm'\n[data]\ntrain = 'd'\n[training]\noutput_dir = 'o'\nlearning_rate = 1e-3\n{lines}"
        );
        Config::parse("c.toml", &text, &Overrides::default()).unwrap().training
    }

    fn parameters() -> Parameters {
        let shapes: [(&str, Shape); 7] = [
            ("base_model.model.embed.lora_embedding_A", [5, 2].into()),
            ("base_model.model.embed.lora_embedding_B", [3, 2].into()),
            ("base_model.model.q.lora_A.weight", [2, 3].into()),
            ("base_model.model.q.lora_B.weight", [3, 2].into()),
            ("base_model.model.q.lora_magnitude_vector", [3].into()),
            ("base_model.model.q.base_layer.bias", [3].into()),
            ("base_model.model.score.weight", [2, 3].into()),
        ];
        Parameters::zeros(shapes.map(|(name, shape)| (name.to_owned(), shape))).unwrap()
    }

    #[test]
    fn one_learning_rate_is_one_group() {
        let groups = groups(&parameters(), &training(""), &Modules::default());
        assert_eq!(groups, [Group { range: 0..40, learning_rate: 1.0, weight_decay: 1.0 }]);
    }

    #[test]
    fn groups_of_a_part_begin_with_it() {
        let group = |range, learning_rate| Group { range, learning_rate, weight_decay: 1.0 };
        let all = [group(0..10, 1.0), group(10..16, 4.0), group(16..20, 1.0)];
        assert_eq!(within(&all, &(12..18)), [group(0..4, 4.0), group(4..6, 1.0)]);
        assert_eq!(within(&all, &(10..16)), [group(0..6, 4.0)]);
        assert_eq!(within(&all, &(0..20)), all);
    }

    #[test]
    fn groups_of_loraplus() {
        let groups = groups(&parameters(), &training("loraplus_lr_ratio = 16"), &Modules::default());
        let found: Vec<_> = groups.iter().map(|g| (g.range.clone(), g.learning_rate, g.weight_decay)).collect();
        assert_eq!(
            found,
            [
                (0..16, 1e-6 / 1e-3, 1.0),
                (16..22, 1.0, 1.0),
                (22..31, 16.0, 1.0),
                (31..34, 16.0, 0.0),
                (34..40, 1.0, 1.0)
            ]
        );
    }
}
