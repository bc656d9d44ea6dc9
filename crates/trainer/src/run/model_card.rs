//! `README.md` beside the adapter: a model card with the front matter that the Hugging Face hub reads.

use std::path::Path;

/// The file.
pub const MODEL_CARD: &str = "README.md";

/// What a model card tells.
pub struct ModelCard<'a> {
    /// The base model, as it was named.
    pub base_model: &'a str,
    /// Whether the files are an adapter in PEFT's format, or else a whole model.
    pub is_adapter: bool,
    /// Name and value.
    pub facts: &'a [(String, String)],
    /// The settings as TOML.
    pub settings: &'a str,
    /// Where the files are.
    pub dir: &'a Path,
}

impl ModelCard<'_> {
    /// The card.
    pub fn to_markdown(&self) -> String {
        let base = one_line(self.base_model);
        let library = if self.is_adapter { "peft" } else { "transformers" };
        let kind = if self.is_adapter { "An adapter for" } else { "A fine-tuned copy of" };
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
        card.push_str(&if self.is_adapter {
            format!(
                "\n## Use\n\n```sh\ntunesmith generate --model {base} --adapter {dir} --prompt \"...\"\n```\n\n\
                 ```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n\
                 base = AutoModelForCausalLM.from_pretrained({0})\n\
                 model = PeftModel.from_pretrained(base, {1})\n```\n",
                yaml(&base),
                yaml(&dir)
            )
        } else {
            format!("\n## Use\n\n```sh\ntunesmith generate --model {dir} --prompt \"...\"\n```\n")
        });
        card.push_str(&format!("\n## Settings\n\n```toml\n{}```\n", self.settings.replace("```", "'''")));
        card
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
            is_adapter: true,
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
