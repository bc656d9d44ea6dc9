//! What can be wrong with tokenizers, templates and rows, in words that say where and what to do.

use std::path::PathBuf;

use checkpoint::{CheckpointError, Quoted};

use crate::Task;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file that cannot be read, is too large or is not JSON.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// A value of the wrong type in one of the configurations beside a model.
    #[error("{}: `{key}` is {got}, expected {expected}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What would do.
        expected: &'static str,
        /// What is there.
        got: &'static str,
    },

    /// A model without a tokenizer.
    #[error("{} holds no tokenizer.json; copy it from the model's page, or give rows with input_ids", dir.display())]
    NoTokenizer {
        /// The model directory.
        dir: PathBuf,
    },
    /// A tokenizer that cannot be loaded, or that fails on a text.
    #[error("{}: the tokenizer does not work: {}; fetch the file again", path.display(), Quoted(reason))]
    Tokenizer {
        /// Its file.
        path: PathBuf,
        /// In the library's words.
        reason: String,
    },
    /// A tokenizer of another model.
    #[error("{} has {tokens} tokens and the model's vocab_size is {vocab_size}; it belongs to another model", path.display())]
    Vocabulary {
        /// The tokenizer's file.
        path: PathBuf,
        /// Its tokens.
        tokens: usize,
        /// The model's.
        vocab_size: usize,
    },
    /// A special token that is no token.
    #[error("{}: {name} is {}, which tokenizer.json does not contain; correct tokenizer_config.json", dir.display(), Quoted(token))]
    UnknownSpecialToken {
        /// The model directory.
        dir: PathBuf,
        /// `bos_token` or `eos_token`.
        name: String,
        /// Its text.
        token: String,
    },

    /// Messages, and no way to turn them into text.
    #[error(
        "rows of messages need a chat template and the model has none; set data.chat_template to a Jinja file, or give prompt and completion"
    )]
    NoChatTemplate,
    /// Several templates, none of them the default.
    #[error(
        "the model has the chat templates {} and none is called default; set data.chat_template to a Jinja file",
        listed(names)
    )]
    NoDefaultTemplate {
        /// What there is.
        names: Vec<String>,
    },
    /// A template that is not Jinja.
    #[error("{origin}: line {line} of the template: {}", Quoted(reason))]
    TemplateSyntax {
        /// Its file.
        origin: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A template that fails on these messages.
    #[error("the chat template refuses the messages{}: {}", at_line(*line), Quoted(reason))]
    Template {
        /// In the template.
        line: Option<usize>,
        /// In the template's or the interpreter's words.
        reason: String,
    },
    /// A template that does not come to an end.
    #[error(
        "the chat template was stopped after {fuel} units of work; it loops without end or the messages are far too long"
    )]
    OutOfFuel {
        /// The limit.
        fuel: u64,
    },
    /// A template that renders earlier messages differently once more follow.
    #[error(
        "the chat template renders the messages before message {message} differently once it follows, so what the \
         assistant wrote cannot be told apart; mark it with {{% generation %}} in a template of your own \
         (data.chat_template), give prompt and completion, or set data.completion_only_loss = false"
    )]
    UnstableTemplate {
        /// From 0.
        message: usize,
    },
    /// A character that marks generation blocks while they are rendered.
    #[error("a message contains {}, a code point that Unicode keeps free of meaning; remove it", character.escape_unicode())]
    ReservedCharacter {
        /// U+FDD0 or U+FDD1.
        character: char,
    },

    /// One line of a file.
    #[error("{}:{line}: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        source: Box<DataError>,
    },
    /// A line that is not text.
    #[error("byte {column} of the line is not UTF-8; save the file as UTF-8")]
    NotUtf8 {
        /// From 1.
        column: usize,
    },
    /// A line with a zero byte.
    #[error("byte {column} of the line is zero; the file is damaged, or not UTF-8")]
    Nul {
        /// From 1.
        column: usize,
    },
    /// A line beyond the limit.
    #[error(
        "the line is longer than {limit} bytes; a row is one line, so either the file is not JSON Lines or the row must be split"
    )]
    LineTooLong {
        /// The limit.
        limit: usize,
    },
    /// A line that is not JSON.
    #[error("not JSON at byte {column}: {reason}; each line is one object")]
    NotJson {
        /// From 1.
        column: usize,
        /// In the parser's words.
        reason: String,
    },
    /// An object with two values for a key.
    #[error("{} is there twice, again at byte {column} of the line; give it one value", Quoted(key))]
    RepeatedKey {
        /// The key, of the row or of an object in it.
        key: String,
        /// Where it comes again, from 1.
        column: usize,
    },
    /// JSON, and not an object.
    #[error("the line is {got}, expected an object; a file that is one array must be rewritten with one object a line")]
    NotAnObject {
        /// What it is.
        got: &'static str,
    },
    /// An object with none of the known sets of keys.
    #[error("the row has the keys {}; a row for {task} is one of {}", listed(keys), task.rows())]
    UnknownRow {
        /// What it has.
        keys: Vec<String>,
        /// What rows are for.
        task: Task,
    },
    /// A key is missing beside the others.
    #[error("the row has `{beside}` and no `{key}`")]
    MissingKey {
        /// The missing one.
        key: &'static str,
        /// The one that asks for it.
        beside: &'static str,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {got}, expected {expected}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What would do.
        expected: &'static str,
        /// What is there.
        got: &'static str,
    },
    /// An element of a list that is no number, or out of its range.
    #[error("element {index} of `{key}` is {got}, expected {expected}")]
    Element {
        /// The list.
        key: &'static str,
        /// From 0.
        index: usize,
        /// What would do.
        expected: String,
        /// What is there.
        got: String,
    },
    /// Lists that belong together and differ in length.
    #[error("`{key}` has {got} elements and `input_ids` has {expected}")]
    Length {
        /// The list.
        key: &'static str,
        /// The length of `input_ids`.
        expected: usize,
        /// Its own.
        got: usize,
    },
    /// Words and classes that are not as many.
    #[error("the row has {words} `tokens` and {tags} `tags`; each word has one, -100 if it is not trained on")]
    Tags {
        /// How many words.
        words: usize,
        /// How many classes.
        tags: usize,
    },
    /// Parts of a text for a model that does not tell them apart.
    #[error("the row has `token_type_ids`, and the model has no table of them (`type_vocab_size`); leave them out")]
    NoTokenTypes,
    /// A row whose adapter is not known.
    #[error("{}; there are {}", match name { Some(name) => format!("there is no adapter {}", Quoted(name)), None => "the row names no `adapter`".to_owned() }, known.join(", "))]
    Adapter {
        /// As the row names it.
        name: Option<String>,
        /// The adapters that are given.
        known: Vec<String>,
    },
    /// A row that chooses an adapter where it cannot.
    #[error(
        "the row names an `adapter`, and none is given by name; give --adapter NAME=DIR to eval or generate, or leave the key out"
    )]
    NoAdapters,
    /// A row without a text to continue.
    #[error("the row has the keys {}; a row of prompts is one of {{prompt}}, {{prompt, adapter}}", listed(keys))]
    NoPrompt {
        /// What it has.
        keys: Vec<String>,
    },
    /// A list of no messages.
    #[error("`{key}` has no messages")]
    NoMessages {
        /// The list.
        key: &'static str,
    },
    /// A message of the wrong shape.
    #[error("message {index} of `{key}` {reason}")]
    Message {
        /// The list.
        key: &'static str,
        /// From 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A token that the model lacks.
    #[error(
        "token id {id} is not below the model's vocab_size {vocab_size}; tokenizer or rows belong to another model"
    )]
    TokenOutOfRange {
        /// The id.
        id: i64,
        /// The model's.
        vocab_size: usize,
    },
    /// A class that the model lacks.
    #[error("label {label} is not below num_labels {num_labels}; set model.num_labels")]
    LabelOutOfRange {
        /// The label.
        label: i64,
        /// The model's.
        num_labels: usize,
    },
    /// A class of an unknown name.
    #[error(
        "label {} is none of {}; use a number, or name the labels in id2label of the model's config.json",
        Quoted(label),
        listed(known)
    )]
    UnknownLabel {
        /// The label.
        label: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A class that has a name in some rows, and in others a number or none at all.
    #[error("the class has a name either here or in line {other}, and not in both; name it in every row or in none")]
    SomeLabelsNamed {
        /// A row where it is the other way round.
        other: usize,
    },
    /// A row of text without a tokenizer.
    #[error("the row is text and the model has no tokenizer.json; add the file, or give rows with input_ids")]
    NeedsTokenizer,

    /// An image file that is broken, or not of a kind that is read.
    #[error("{}: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model of images without a description of what is done to them.
    #[error("{} holds no preprocessor_config.json, which says how images are resized and normalized; copy it from the model's page", dir.display())]
    NoProcessor {
        /// The model directory.
        dir: PathBuf,
    },
    /// A key of such a description.
    #[error("{}: `{key}` {reason}", path.display())]
    Processor {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder of a class without images.
    #[error("{} holds no PNG or JPEG file: the class {} has nothing to learn from; add images, or remove the folder", dir.display(), Quoted(class))]
    EmptyClass {
        /// The folder.
        dir: PathBuf,
        /// Its name.
        class: String,
    },
    /// A folder without folders of classes.
    #[error("{} holds neither {rows} nor a folder of images for each class", dir.display())]
    NoClasses {
        /// The folder.
        dir: PathBuf,
        /// The file of rows that was looked for.
        rows: &'static str,
    },
    /// What is wrong with the label of an image in a folder.
    #[error("{}: {source}", dir.display())]
    Class {
        /// The folder.
        dir: PathBuf,
        /// What is wrong with it.
        source: Box<DataError>,
    },
    /// A directory without the file of a split.
    #[error("{} holds no {expected}; name the file itself, or add it", dir.display())]
    NoSplit {
        /// The directory.
        dir: PathBuf,
        /// What was looked for.
        expected: &'static str,
    },
    /// The system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Encoded rows cannot be kept.
    #[error(
        "cannot keep encoded rows in {}: {source}; set data.cache_dir to a directory with room, or data.cache = \"never\"",
        dir.display()
    )]
    Cache {
        /// The directory of the cache.
        dir: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file that was written to while it was read.
    #[error("{} changed while it was read; start again when it is complete", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file of which some row made no or several examples, where its tokens were not expected to matter for that.
    #[error(
        "{}: the tokenizer makes no tokens, or several examples, of a row that was counted as one; set data.cache = \"never\"",
        path.display()
    )]
    Miscounted {
        /// The file.
        path: PathBuf,
    },
    /// A file in another encoding.
    #[error("{} is UTF-16; save it as UTF-8", path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
    },
    /// A file without rows.
    #[error("{} has no rows", path.display())]
    NoRows {
        /// The file.
        path: PathBuf,
    },
    /// Rows, none of which trains anything.
    #[error("{}: none of the {rows} rows has a token to train on ({truncated} were cut to max_length {max_length}); raise data.max_length, or look at the labels", path.display())]
    NothingSupervised {
        /// The file.
        path: PathBuf,
        /// How many rows it has.
        rows: usize,
        /// How many were cut.
        truncated: usize,
        /// At which length.
        max_length: usize,
    },
    /// A setting out of its range.
    #[error("{setting} is {got}, expected {expected}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it is.
        got: String,
        /// What would do.
        expected: &'static str,
    },
}

/// Names from a file, as a list.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return "(none)".to_owned();
    }
    let mut list: Vec<String> = names.iter().take(SHOWN).map(|name| Quoted(name).to_string()).collect();
    if names.len() > SHOWN {
        list.push(format!("and {} more", names.len() - SHOWN));
    }
    list.join(", ")
}

fn at_line(line: Option<usize>) -> String {
    line.map(|line| format!(" (line {line} of the template)")).unwrap_or_default()
}
