//! `README.md` beside the adapter: a model card with the front matter that the Hugging Face hub reads.

use std::path::Path;

use data::Task;

use super::purpose::Purpose;

/// The file.
pub const MODEL_CARD: &str = "README.md";

/// What a model card tells.
pub struct ModelCard<'a> {
    /// The base model, as it was named.
    pub base_model: &'a str,
    /// What the files are.
    pub kind: Kind,
    /// What the model is for.
    pub purpose: &'a Purpose,
    /// Name and value.
    pub facts: &'a [(String, String)],
    /// The settings as TOML.
    pub settings: &'a str,
    /// Where the files are.
    pub dir: &'a Path,
}

/// What a run wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An adapter in PEFT's format.
    Peft,
    /// An adapter in AdapterHub's format.
    AdapterHub,
    /// A whole model.
    Model,
}

impl Kind {
    /// What the Hugging Face hub calls the library that loads it.
    fn library(self) -> &'static str {
        match self {
            Kind::Peft => "peft",
            Kind::AdapterHub => "adapter-transformers",
            Kind::Model => "transformers",
        }
    }
}

impl ModelCard<'_> {
    /// The card.
    pub fn to_markdown(&self) -> String {
        let base = one_line(self.base_model);
        let library = self.kind.library();
        let kind = if self.kind == Kind::Model { "A fine-tuned copy of" } else { "An adapter for" };
        let mut card = format!(
            "---\nbase_model: {}\nlibrary_name: {library}\ntags:\n- tunesmith\n---\n\n# {kind} `{base}`\n\n\
             Trained with tunesmith. `report.html` shows the curves, `metrics.jsonl` holds the numbers.\n\n\
             | | |\n|---|---|\n",
            yaml(&base)
        );
        for (name, value) in self.facts {
            card.push_str(&format!("| {} | {} |\n", cell(name), cell(value)));
        }
        let dir = one_line(&self.dir.display().to_string());
        card.push_str("\n## Use\n\n");
        card.push_str(&self.usage(&base, &dir));
        card.push_str(&format!("\n## Settings\n\n```toml\n{}```\n", self.settings.replace("```", "'''")));
        card
    }
}

impl ModelCard<'_> {
    /// Commands and code that use the files.
    fn usage(&self, base: &str, dir: &str) -> String {
        let (model, adapter) = match self.kind {
            Kind::Model => (dir, String::new()),
            Kind::Peft | Kind::AdapterHub => (base, format!(" --adapter {dir}")),
        };
        let command = match self.purpose.is_classifier() {
            true => format!("tunesmith eval --model {model}{adapter} --data ..."),
            false => format!("tunesmith generate --model {model}{adapter} --prompt \"...\""),
        };
        let auto_class = auto_class(self.purpose.task);
        let (import, quoted) = (format!("from transformers import {auto_class}\n\n"), yaml(dir));
        let head = self.head();
        let load = format!("base = {auto_class}.from_pretrained({}{head})\n", yaml(base));
        let python = match self.kind {
            Kind::Peft => {
                format!("from peft import PeftModel\n{import}{load}model = PeftModel.from_pretrained(base, {quoted})\n")
            }
            Kind::AdapterHub => format!(
                "import adapters\n{import}{load}adapters.init(base)\n\
                 base.load_adapter({quoted}, with_head=False, use_safetensors=True, set_active=True)\n"
            ),
            Kind::Model => format!("{import}model = {auto_class}.from_pretrained({quoted})\n"),
        };
        format!("```sh\n{command}\n```\n\n```python\n{python}```\n")
    }

    /// What makes the base's head one for the classes that were trained, which the adapter's is put over.
    fn head(&self) -> String {
        match self.purpose.is_classifier() {
            true => format!(", num_labels={}, ignore_mismatched_sizes=True", self.purpose.labels.len()),
            false => String::new(),
        }
    }
}

/// The class of transformers that loads a model for `task`.
fn auto_class(task: Task) -> &'static str {
    match task {
        Task::CausalLm => "AutoModelForCausalLM",
        Task::Seq2SeqLm => "AutoModelForSeq2SeqLM",
        Task::SequenceClassification => "AutoModelForSequenceClassification",
        Task::TokenClassification => "AutoModelForTokenClassification",
        Task::ImageClassification => "AutoModelForImageClassification",
        Task::FeatureExtraction => "AutoModel",
    }
}

/// A double-quoted string, which YAML and Python read alike.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn cell(text: &str) -> String {
    one_line(text).replace('|', "\\|").replace('<', "&lt;")
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::Labels;

    #[test]
    fn front_matter_survives_any_name() {
        let facts = [("loss".to_owned(), "a|b\n<i>".to_owned())];
        let card = ModelCard {
            base_model: "models/\"x\"\n---\nlicense: mit",
            kind: Kind::Peft,
            purpose: &Purpose::causal_lm(),
            facts: &facts,
            settings: "[model]\npath = \"```\"\n",
            dir: Path::new("out"),
        };
        let text = card.to_markdown();
        let front: Vec<&str> = text.split("---\n").collect();
        assert!(front[1].starts_with("base_model: \"models/\\\"x\\\" "), "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("license")).count(), 0);
        assert!(text.contains("| loss | a\\|b &lt;i> |"));
        assert!(text.contains("```toml\n[model]\npath = \"'''\"\n```"));
    }

    #[test]
    fn every_task_has_its_class() {
        let card = |task, kind| {
            let purpose = Purpose { task, labels: Labels::numbered(3), seed: 0 };
            let (base_model, dir) = ("base", Path::new("out"));
            ModelCard { base_model, kind, purpose: &purpose, facts: &[], settings: "", dir }.to_markdown()
        };
        let text = card(Task::ImageClassification, Kind::Peft);
        let load = "base = AutoModelForImageClassification.from_pretrained(\"base\", num_labels=3, ignore_mismatched_sizes=True)";
        assert!(text.contains(load) && text.contains("tunesmith eval --model base --adapter out --data"), "{text}");
        let text = card(Task::Seq2SeqLm, Kind::AdapterHub);
        assert!(text.contains("base = AutoModelForSeq2SeqLM.from_pretrained(\"base\")\nadapters.init(base)"), "{text}");
        let text = card(Task::TokenClassification, Kind::Model);
        assert!(text.contains("model = AutoModelForTokenClassification.from_pretrained(\"out\")"), "{text}");
        assert!(text.contains("tunesmith eval --model out --data ..."), "{text}");
    }
}
