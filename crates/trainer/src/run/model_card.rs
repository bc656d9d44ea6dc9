//! `README.md` beside the adapter: a model card with the front matter that the Hugging Face hub reads.

use std::path::Path;

/// The file.
pub const MODEL_CARD: &str = "README.md";

/// What a model card tells.
pub struct ModelCard<'a> {
    /// The base model, as it was named.
    pub base_model: &'a str,
    /// What the files are.
    pub kind: Kind,
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
        let generate = format!("```sh\ntunesmith generate --model {base} --adapter {dir} --prompt \"...\"\n```\n");
        let load = "from transformers import AutoModelForCausalLM\n\nbase = AutoModelForCausalLM.from_pretrained";
        let (base, quoted) = (yaml(base), yaml(dir));
        match self.kind {
            Kind::Peft => format!(
                "{generate}\n```python\nfrom peft import PeftModel\n{load}({base})\n\
                 model = PeftModel.from_pretrained(base, {quoted})\n```\n"
            ),
            Kind::AdapterHub => format!(
                "{generate}\n```python\nimport adapters\n{load}({base})\nadapters.init(base)\n\
                 base.load_adapter({quoted}, with_head=False, use_safetensors=True, set_active=True)\n```\n"
            ),
            Kind::Model => format!("```sh\ntunesmith generate --model {dir} --prompt \"...\"\n```\n"),
        }
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

    #[test]
    fn front_matter_survives_any_name() {
        let facts = [("loss".to_owned(), "a|b\n<i>".to_owned())];
        let card = ModelCard {
            base_model: "models/\"x\"\n---\nlicense: mit",
            kind: Kind::Peft,
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
}
