//! Models of every kind, as a training step sees them.

use device::DType;
use model::{Base, Classifier, ClassifierConfig, Decoder, EncoderDecoder, ImageClassifier, Pass, TaskHead};
use tensor::{Tensor, ops};

use super::Batch;

/// A model with what its batches are made of.
pub(crate) trait Network {
    fn base(&self) -> &Base;
    fn base_mut(&mut self) -> &mut Base;
    /// Hidden states of the rows whose logits the batch's targets belong to.
    fn hidden(&self, batch: &Batch, pass: &Pass) -> Tensor;
    fn logits_of(&self, hidden: &Tensor, pass: &Pass) -> Tensor;
    /// The sum of the losses.
    fn loss_of(&self, hidden: &Tensor, batch: &Batch, pass: &Pass) -> Tensor;
}

impl Network for Decoder {
    fn base(&self) -> &Base {
        self.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.base_mut()
    }

    fn hidden(&self, batch: &Batch, pass: &Pass) -> Tensor {
        self.forward(&batch.input, pass).unwrap()
    }

    fn logits_of(&self, hidden: &Tensor, pass: &Pass) -> Tensor {
        self.logits(hidden, pass).unwrap()
    }

    fn loss_of(&self, hidden: &Tensor, batch: &Batch, pass: &Pass) -> Tensor {
        self.loss(hidden, &batch.targets, pass).unwrap()
    }
}

impl Network for EncoderDecoder {
    fn base(&self) -> &Base {
        self.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.base_mut()
    }

    fn hidden(&self, batch: &Batch, pass: &Pass) -> Tensor {
        let decoder_input = self.decoder_input(&batch.targets, &batch.cu_target_lens).unwrap();
        self.forward(&batch.input, &decoder_input, pass).unwrap()
    }

    fn logits_of(&self, hidden: &Tensor, pass: &Pass) -> Tensor {
        self.logits(hidden, pass).unwrap()
    }

    fn loss_of(&self, hidden: &Tensor, batch: &Batch, pass: &Pass) -> Tensor {
        self.loss(hidden, &batch.targets, pass).unwrap()
    }
}

/// Of sequences or of tokens; its scores are what is hidden.
impl Network for Classifier {
    fn base(&self) -> &Base {
        self.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.base_mut()
    }

    fn hidden(&self, batch: &Batch, pass: &Pass) -> Tensor {
        self.logits(&batch.input, pass).unwrap()
    }

    fn logits_of(&self, hidden: &Tensor, _pass: &Pass) -> Tensor {
        hidden.clone()
    }

    fn loss_of(&self, hidden: &Tensor, batch: &Batch, _pass: &Pass) -> Tensor {
        ops::cross_entropy(hidden, &batch.targets, None).unwrap()
    }
}

/// As a classifier of sequences.
impl Network for ImageClassifier {
    fn base(&self) -> &Base {
        self.base()
    }

    fn base_mut(&mut self) -> &mut Base {
        self.base_mut()
    }

    fn hidden(&self, batch: &Batch, pass: &Pass) -> Tensor {
        self.logits(batch.images.as_ref().expect("a batch of images"), pass).unwrap()
    }

    fn logits_of(&self, hidden: &Tensor, _pass: &Pass) -> Tensor {
        hidden.clone()
    }

    fn loss_of(&self, hidden: &Tensor, batch: &Batch, _pass: &Pass) -> Tensor {
        ops::cross_entropy(hidden, &batch.targets, None).unwrap()
    }
}

/// The model in a folder of reference data, whose name says of which kind it is.
pub(crate) fn network(dir: &std::path::Path, family: &str) -> Box<dyn Network> {
    network_in(dir, family, DType::F32)
}

/// The same, computed in `dtype`.
pub(crate) fn network_in(dir: &std::path::Path, family: &str, dtype: DType) -> Box<dyn Network> {
    match family {
        "t5" => Box::new(EncoderDecoder::load(dir, dtype).unwrap()),
        "bert" | "tagger" => {
            let num_labels = ClassifierConfig::read(dir).unwrap().labels.len();
            let head = match family {
                "tagger" => TaskHead::TokenClassification { num_labels },
                _ => TaskHead::SequenceClassification { num_labels },
            };
            Box::new(Classifier::load(dir, head, dtype, 1).unwrap())
        }
        "vit" => Box::new(ImageClassifier::load(dir, Some(3), dtype, 1).unwrap()),
        _ => Box::new(Decoder::load(dir, dtype).unwrap()),
    }
}

/// Logits of every row of the batch.
pub(crate) fn logits_of(network: &dyn Network, batch: &Batch, pass: &Pass) -> Vec<f32> {
    network.logits_of(&network.hidden(batch, pass), pass).to_vec()
}
