//! The head of a language model: logits, and the loss without them in memory.

use tensor::{LossSum, Tensor, no_grad, ops};

use crate::parts::{Linear, Scope};
use crate::{Base, ModelError, Pass, Result};

/// The label of a row that is not trained on.
const IGNORED: i64 = -100;
/// Rows whose logits an adapted head computes at once in evaluation.
const EVALUATED_ROWS: usize = 256;

/// The output embedding of a model. Rows of hidden states are `[rows, hidden_size]`, logits `[rows, vocab_size]`.
#[derive(Clone, Copy)]
pub(crate) struct LmHead<'a> {
    pub(crate) base: &'a Base,
    pub(crate) linear: Linear,
    /// Bound of the logits.
    pub(crate) softcap: Option<f32>,
}

impl LmHead<'_> {
    pub(crate) fn logits(&self, hidden: &Tensor, pass: &Pass) -> Result<Tensor> {
        let logits = self.linear.forward(hidden, &Scope::of_rows(self.base, hidden.shape()[0], pass)?)?;
        match self.softcap {
            Some(cap) => Ok(ops::softcap(&logits, cap)?),
            None => Ok(logits),
        }
    }

    /// The sum of the cross-entropies; row `i` should predict `targets[i]`, nothing if that is -100.
    pub(crate) fn loss(&self, hidden: &Tensor, targets: &[i64], pass: &Pass) -> Result<Tensor> {
        let supervised = supervised(hidden, targets)?;
        if !pass.adapter.adapts(self.linear.module) {
            let weight = self.linear.weight(&Scope::of_rows(self.base, hidden.shape()[0], pass)?)?;
            return Ok(ops::linear_cross_entropy(hidden, &weight, targets, self.softcap)?);
        }
        let (logits, targets) = self.logits_of(hidden, targets, &supervised, pass)?;
        Ok(ops::cross_entropy(&logits, &targets, self.softcap)?)
    }

    /// As [`LmHead::loss`], with counts. Nothing is recorded.
    pub(crate) fn evaluate(&self, hidden: &Tensor, targets: &[i64], pass: &Pass) -> Result<LossSum> {
        let supervised = supervised(hidden, targets)?;
        if !pass.adapter.adapts(self.linear.module) {
            let weight = self.linear.weight(&Scope::of_rows(self.base, hidden.shape()[0], pass)?)?;
            return Ok(ops::linear_cross_entropy_statistics(hidden, &weight, targets, self.softcap)?);
        }
        let mut sum = LossSum::default();
        for rows in supervised.chunks(EVALUATED_ROWS) {
            let (logits, targets) = no_grad(|| self.logits_of(hidden, targets, rows, pass))?;
            sum.add(ops::cross_entropy_statistics(&logits, &targets, self.softcap)?);
        }
        Ok(sum)
    }

    /// Logits, before the soft cap, and targets of the rows `rows`.
    fn logits_of(&self, hidden: &Tensor, targets: &[i64], rows: &[u32], pass: &Pass) -> Result<(Tensor, Vec<i64>)> {
        let targets = rows.iter().map(|&row| targets[row as usize]).collect();
        let hidden = ops::select_rows(hidden, &rows.into())?;
        Ok((self.linear.forward(&hidden, &Scope::of_rows(self.base, hidden.shape()[0], pass)?)?, targets))
    }
}

/// The rows that are trained on.
fn supervised(hidden: &Tensor, targets: &[i64]) -> Result<Vec<u32>> {
    let rows = hidden.shape()[0];
    if targets.len() != rows {
        return Err(ModelError::BatchLength { argument: "targets", expected: rows, got: targets.len() });
    }
    Ok((0..rows as u32).filter(|&row| targets[row as usize] != IGNORED).collect())
}
