//! What can be wrong with a model, in words that say which file and key or tensor, and what to do.

use std::path::PathBuf;

use checkpoint::{CheckpointError, Quoted};
use tensor::TensorError;

/// Errors of reading a configuration, loading weights and running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file that cannot be read or is not what its name says.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An op refused its arguments, or memory ran out.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A key that has to be there.
    #[error("{}: the key `{key}` is missing; {remedy}", path.display())]
    MissingKey {
        /// The configuration.
        path: PathBuf,
        /// The key, with the objects that it is in.
        key: String,
        /// What to do.
        remedy: String,
    },
    /// A key whose value cannot be used.
    #[error("{}: `{key}` is {got}, expected {expected}", path.display())]
    Key {
        /// The configuration.
        path: PathBuf,
        /// The key, with the objects that it is in.
        key: String,
        /// What would be right.
        expected: String,
        /// The value, as JSON.
        got: String,
    },
    /// A `model_type` that no file of `families/` describes.
    #[error("{}: `model_type` {} is not supported; supported are {supported}{hint}", path.display(), Quoted(got))]
    UnsupportedFamily {
        /// The configuration.
        path: PathBuf,
        /// The value of `model_type`.
        got: String,
        /// Those that are.
        supported: String,
        /// A family that is close to it, if there is one.
        hint: &'static str,
    },
    /// A feature of a supported family that is not computed here.
    #[error("{}: `{key}` is {got}: {reason}", path.display())]
    Unsupported {
        /// The configuration.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value, as JSON.
        got: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// Tensors that the configuration asks for and the files do not hold.
    #[error("{}: missing {names}; the weights do not belong to this config.json", dir.display())]
    MissingTensors {
        /// The model directory.
        dir: PathBuf,
        /// Which.
        names: TensorNames,
    },
    /// Tensors that the files hold and the configuration does not account for.
    #[error("{}: no module of this model uses {names}; the weights do not belong to this config.json", dir.display())]
    ExtraTensors {
        /// The model directory.
        dir: PathBuf,
        /// Which.
        names: TensorNames,
    },
    /// A tensor of another shape than the configuration says.
    #[error("{}: tensor {} has shape {got:?}, but config.json says {expected:?} ({reason})", dir.display(), Quoted(name))]
    TensorShape {
        /// The model directory.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// What the configuration says.
        expected: Vec<usize>,
        /// What the file holds.
        got: Vec<usize>,
        /// The keys that the expected shape comes from.
        reason: String,
    },
    /// A head for another number of classes.
    #[error(
        "{}: the head's tensor {} has shape {got:?}, and {num_labels} classes make it {expected:?}; a head that the files \
         have is kept: give rows and model.num_labels of its classes, or a base without a head",
        dir.display(), Quoted(name)
    )]
    HeadShape {
        /// The model directory.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// The classes asked for.
        num_labels: usize,
        /// What they make of the shape.
        expected: Vec<usize>,
        /// What the file holds.
        got: Vec<usize>,
    },
    /// A tensor of integers or of a packed type.
    #[error("{}: tensor {} is stored as {got}, expected F32, BF16 or F16", dir.display(), Quoted(name))]
    TensorDtype {
        /// The model directory.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// The stored type.
        got: String,
    },
    /// A quantized weight whose parts are missing or contradict each other, or of a kind that is not computed.
    #[error("{}: quantized weight {}: {reason}", dir.display(), Quoted(name))]
    QuantState {
        /// The model directory.
        dir: PathBuf,
        /// The weight.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A head of its own that is not there.
    #[error("{}: the output embedding {} is missing and `tie_word_embeddings` is false; if the model shares its input embedding, set it to true in config.json", dir.display(), Quoted(name))]
    MissingHead {
        /// The model directory.
        dir: PathBuf,
        /// The head's weight.
        name: String,
    },
    /// A weight that is not a number.
    #[error("{}: tensor {} holds {got} at element {index}: the weights are broken; fetch them again", dir.display(), Quoted(name))]
    NonFinite {
        /// The model directory.
        dir: PathBuf,
        /// The tensor.
        name: String,
        /// Where, in row-major order.
        index: usize,
        /// The value.
        got: f32,
    },
    /// A token that the vocabulary does not have.
    #[error("token {index} of the batch is {id}, but the model's vocabulary ends at {}; the tokenizer does not belong to this model", vocab_size - 1)]
    TokenId {
        /// Its position in the batch.
        index: usize,
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocab_size: usize,
    },
    /// A label that no token is.
    #[error(
        "label {index} of the batch is {label}, expected a token below {vocab_size} or -100, which is not trained on"
    )]
    Label {
        /// Its position in the batch.
        index: usize,
        /// The label.
        label: i64,
        /// Rows of the head.
        vocab_size: usize,
    },
    /// A sequence longer than the table of learned positions.
    #[error("position {got} is asked for, but the model has learned {limit} positions; lower max_length")]
    TooLong {
        /// The first position that is not there.
        got: usize,
        /// How many there are.
        limit: usize,
    },
    /// A sequence that has no token whose class could be asked for.
    #[error("sequence {index} of the batch is empty: it has no token to classify it by")]
    EmptySequence {
        /// Its position in the batch.
        index: usize,
    },
    /// A task that the kind of model has no head for.
    #[error(
        "a decoder has no head for {task}; it classifies sequences (SEQ_CLS), and encoders such as bert do the rest"
    )]
    NoHead {
        /// The task.
        task: &'static str,
    },
    /// Pixel values that are no whole images of the model's size.
    #[error(
        "`pixel_values` has {got} values for {images} images, expected {expected}: channels, height and width of the model"
    )]
    PixelValues {
        /// Images of the batch.
        images: usize,
        /// Values of so many images.
        expected: usize,
        /// How many there are.
        got: usize,
    },
    /// Lists of one batch that have different lengths.
    #[error("`{argument}` has {got} entries, expected {expected}: one for each token of the batch")]
    BatchLength {
        /// Which list.
        argument: &'static str,
        /// Tokens of the batch.
        expected: usize,
        /// Its length.
        got: usize,
    },
}

/// Names of tensors; a message shows the first few and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorNames(pub Vec<String>);

impl std::fmt::Display for TensorNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 4;
        let total = self.0.len();
        write!(f, "{total} tensor{}: ", if total == 1 { "" } else { "s" })?;
        for (i, name) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, Quoted(name))?;
        }
        if total > SHOWN { write!(f, " and {} more", total - SHOWN) } else { Ok(()) }
    }
}
