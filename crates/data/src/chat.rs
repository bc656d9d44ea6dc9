//! Chat templates: messages to text.

mod confined;
mod environment;
mod generation;
mod json;
mod source;
mod turns;

use std::path::Path;

use checkpoint::sha256_hex;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, Value, context};
use time::OffsetDateTime;

use confined::{FUEL, confined};

use crate::{Conversation, DataError, SpecialTokens};

pub(crate) use generation::MARKS;
pub use turns::Rendered;

/// The names by which a model's templates are told apart.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// The chat template of a model: a Jinja program that Hugging Face models carry.
///
/// It is rendered as transformers does (`trim_blocks`, `lstrip_blocks`, Python's string methods, `tojson` as
/// `json.dumps(ensure_ascii=False)`, `raise_exception`, `strftime_now`, `{% generation %}`), by an interpreter that can
/// reach neither files nor code and stops after a fixed amount of work.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: Value,
    /// By name, whether the template marks with `{% generation %}` what the assistant writes.
    marks_generation: Vec<(String, bool)>,
    time: OffsetDateTime,
    /// Of all names and texts.
    sha256: String,
    /// Seconds after which a text may be another: of a day where only dates are read, if the time is read at all.
    time_unit: Option<i64>,
}

impl ChatTemplate {
    /// The template of the model directory `dir`: `chat_template.jinja`, or else `chat_template` of `tokenizer_config.json`,
    /// a text or a list of named ones. `None` if there is neither.
    ///
    /// # Errors
    /// [`DataError::File`] and [`DataError::Config`] for files that cannot be read, [`DataError::TemplateSyntax`] for a
    /// template that cannot be compiled.
    pub fn load(dir: &Path, special_tokens: &SpecialTokens) -> Result<Option<Self>, DataError> {
        let templates = source::of_model(dir)?;
        if templates.is_empty() {
            return Ok(None);
        }
        Self::compile(templates, special_tokens).map(Some)
    }

    /// The template in the file `path`, in place of the model's own.
    ///
    /// # Errors
    /// [`DataError::File`] and [`DataError::TemplateSyntax`].
    pub fn read(path: &Path, special_tokens: &SpecialTokens) -> Result<Self, DataError> {
        Self::compile(vec![source::in_file(path)?], special_tokens)
    }

    /// A template given as text.
    ///
    /// # Errors
    /// [`DataError::TemplateSyntax`].
    pub fn parse(text: &str, special_tokens: &SpecialTokens) -> Result<Self, DataError> {
        let named =
            source::Named { name: DEFAULT.to_owned(), text: text.to_owned(), origin: "the chat template".into() };
        Self::compile(vec![named], special_tokens)
    }

    fn compile(templates: Vec<source::Named>, special_tokens: &SpecialTokens) -> Result<Self, DataError> {
        let mut environment = environment::with_python_habits(FUEL);
        let mut marks_generation = Vec::new();
        let named: Vec<_> = templates.iter().map(|template| (&template.name, &template.text)).collect();
        let sha256 = sha256_hex(format!("{named:?}").as_bytes());
        let time_unit = templates.iter().filter_map(|template| environment::time_unit(&template.text)).min();
        for source::Named { name, text, origin } in templates {
            let (text, marks) = generation::as_calls(&text);
            environment.add_template_owned(name.clone(), text).map_err(|error| DataError::TemplateSyntax {
                origin,
                line: error.line().unwrap_or(1),
                reason: error.detail().map_or_else(|| error.kind().to_string(), str::to_owned),
            })?;
            marks_generation.push((name, marks));
        }
        let template = Self {
            environment,
            special_tokens: Value::from(Serde(&special_tokens.names)),
            marks_generation,
            time: OffsetDateTime::UNIX_EPOCH,
            sha256,
            time_unit,
        };
        Ok(template.with_time(OffsetDateTime::now_utc().unix_timestamp()))
    }

    /// The same template at another time, in seconds since 1970 (UTC): what `strftime_now` reads. It is the time of loading
    /// at first. A run that is resumed on another day sets the time of its beginning, to render the same texts.
    pub fn with_time(mut self, unix_seconds: i64) -> Self {
        let time = OffsetDateTime::from_unix_timestamp(unix_seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        environment::set_time(&mut self.environment, time);
        self.time = time;
        self
    }

    /// What `strftime_now` reads, in seconds since 1970.
    pub fn time(&self) -> i64 {
        self.time.unix_timestamp()
    }

    /// What the text of a conversation depends on beside the special tokens: two templates with the same fingerprint render
    /// alike.
    pub(crate) fn fingerprint(&self) -> String {
        let time = self.time_unit.map_or(0, |unit| self.time().div_euclid(unit));
        format!("{} {time}", self.sha256)
    }

    /// The text of `conversation`. With `add_generation_prompt` it ends where the assistant's answer would begin.
    ///
    /// # Errors
    /// [`DataError::OutOfFuel`] for a template that does not come to an end, [`DataError::Template`] for any other failure,
    /// such as the template's own `raise_exception`.
    pub fn render(&self, conversation: &Conversation, add_generation_prompt: bool) -> Result<String, DataError> {
        confined(|| self.prefix(conversation, conversation.len(), add_generation_prompt))
    }

    /// The text of the first `count` messages.
    fn prefix(
        &self,
        conversation: &Conversation,
        count: usize,
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        Ok(generation::split_marks(self.render_marked(conversation, count, add_generation_prompt)?).0)
    }

    /// The text of the first `count` messages, with the marks of generation blocks in it.
    fn render_marked(
        &self,
        conversation: &Conversation,
        count: usize,
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        let template = self.environment.get_template(self.name_for(conversation)?).map_err(|error| failed(&error))?;
        let context = context! {
            messages => Value::from(conversation.messages()[..count].to_vec()),
            tools => conversation.tools(),
            documents => (),
            add_generation_prompt,
            ..self.special_tokens.clone()
        };
        template.render(context).map_err(|error| failed(&error))
    }

    /// Which of the model's templates renders `conversation`: `tool_use` if it has tools and the model such a template.
    fn name_for(&self, conversation: &Conversation) -> Result<&'static str, DataError> {
        let has = |name| self.marks_generation.iter().any(|(known, _)| known == name);
        match conversation.has_tools() && has(TOOL_USE) {
            true => Ok(TOOL_USE),
            false if has(DEFAULT) => Ok(DEFAULT),
            false => {
                let names = self.marks_generation.iter().map(|(name, _)| name.clone()).collect();
                Err(DataError::NoDefaultTemplate { names })
            }
        }
    }

    fn marks_generation(&self, conversation: &Conversation) -> Result<bool, DataError> {
        let name = self.name_for(conversation)?;
        Ok(self.marks_generation.iter().any(|(known, marks)| known == name && *marks))
    }
}

fn failed(error: &minijinja::Error) -> DataError {
    if error.kind() == ErrorKind::OutOfFuel {
        return DataError::OutOfFuel { fuel: FUEL };
    }
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    DataError::Template { line: error.line(), reason }
}

#[cfg(test)]
mod tests;
