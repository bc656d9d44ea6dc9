//! RoBERTa and XLM-RoBERTa: BERT whose positions start after the padding token's, with a head of its own.
//!
//! Sources: Liu et al. 2019, "RoBERTa: A robustly optimized BERT pretraining approach"; Conneau et al. 2020, "Unsupervised
//! cross-lingual representation learning at scale".

use tensor::Activation;

use super::EncoderFamily;
use super::bert::bert_like;
use crate::Result;
use crate::config::{EncoderConfig, FirstPosition, HeadConfig, HeadsConfig, Keys};

pub(super) static FAMILY: EncoderFamily = EncoderFamily {
    model_type: "roberta",
    architecture: "RobertaModel",
    other_heads: OTHER_HEADS,
    read: |keys| read(keys, &FAMILY),
};

/// The same model with the vocabulary of a hundred languages.
pub(super) static XLM: EncoderFamily = EncoderFamily {
    model_type: "xlm-roberta",
    architecture: "XLMRobertaModel",
    other_heads: OTHER_HEADS,
    read: |keys| read(keys, &XLM),
};

const OTHER_HEADS: &[&str] = &["lm_head.", "roberta.pooler.", "pooler.", "classifier.", "qa_outputs."];

fn read(keys: &Keys<'_>, family: &'static EncoderFamily) -> Result<EncoderConfig> {
    let config = bert_like(keys, family, "roberta", Some(1), |padding_idx| match padding_idx {
        Some(padding_idx) => Ok(FirstPosition::AfterPadding(padding_idx)),
        None => Err(keys.refuse("pad_token_id", "a token of the vocabulary: positions are counted from it")),
    })?;
    let sequence = HeadConfig { dense: Some(("classifier.dense", Activation::Tanh)), output: "classifier.out_proj" };
    Ok(EncoderConfig { heads: HeadsConfig { sequence, ..config.heads }, ..config })
}
