//! What is logged of a run: one entry a logged step and one an evaluation, kept, and appended to `metrics.jsonl`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, Fs, atomic_write};
use serde::{Deserialize, Serialize};

/// The file of entries, one JSON object a line.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// One line of `metrics.jsonl`, and one item of `log_history` in `trainer_state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// An optimizer step.
    Step(StepEntry),
    /// An evaluation.
    Evaluation(EvaluationEntry),
}

impl Entry {
    /// The step it belongs to.
    pub fn step(&self) -> u64 {
        match self {
            Entry::Step(entry) => entry.step,
            Entry::Evaluation(entry) => entry.step,
        }
    }
}

/// What is logged of an optimizer step. Floats are printed with as many digits as bring back the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepEntry {
    /// From 1.
    pub step: u64,
    /// Passes over the data when the step was done.
    pub epoch: f64,
    /// Mean over the supervised tokens of the whole batch, before the update.
    pub loss: f32,
    /// Norm of all gradients, before clipping.
    pub grad_norm: f32,
    /// What the step was taken with.
    pub learning_rate: f64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Speed since the entry before.
    pub tokens_per_second: f64,
}

/// What is logged of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationEntry {
    /// Steps done.
    pub step: u64,
    /// Passes over the data done.
    pub epoch: f64,
    /// Mean over all supervised tokens.
    pub eval_loss: f32,
    /// `exp(eval_loss)`; absent where it is too large for a number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub perplexity: Option<f32>,
    /// Share of supervised tokens that were the most likely ones.
    pub eval_accuracy: f32,
    /// Seconds it took.
    pub eval_runtime: f64,
}

/// The entries of a run so far, and their file.
///
/// The file is for readers beside the run. A checkpoint holds the entries too, and a resumed run writes the file anew from
/// there, so that it never tells of steps that were lost.
pub struct Log {
    path: PathBuf,
    entries: Vec<Entry>,
    file: Option<File>,
}

impl Log {
    /// Starts `metrics.jsonl` in `dir` with `entries`, those of the steps that a resumed run need not take again.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn start(dir: &Path, entries: Vec<Entry>, fs: &dyn Fs) -> Result<Self, CheckpointError> {
        let path = dir.join(METRICS_FILE);
        let mut text = Vec::new();
        for entry in &entries {
            write_line(&mut text, entry).map_err(|source| io_error(&path, source))?;
        }
        atomic_write(fs, &path, &text)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| io_error(&path, source))?;
        Ok(Self { path, entries, file: Some(file) })
    }

    /// Adds an entry. Returns what to warn about, once: a file that can no longer be written does not stop a run.
    pub fn push(&mut self, entry: Entry) -> Option<CheckpointError> {
        let written = self.file.as_mut().map_or(Ok(()), |file| write_line(file, &entry));
        self.entries.push(entry);
        let source = written.err()?;
        self.file = None;
        Some(io_error(&self.path, source))
    }

    /// Every entry, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// One write per line, so that a reader never sees half of one.
fn write_line(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    out.write_all(&line)
}

fn io_error(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Io { action: "write", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use checkpoint::Storage;

    fn step(step: u64) -> Entry {
        Entry::Step(StepEntry {
            step,
            epoch: 0.01,
            loss: 0.1 + 0.2,
            grad_norm: 0.7,
            learning_rate: 2e-4,
            tokens: 1024,
            tokens_per_second: 512.0,
        })
    }

    fn evaluation(step: u64) -> Entry {
        let perplexity = Some(3.0);
        Entry::Evaluation(EvaluationEntry {
            step,
            epoch: 1.0,
            eval_loss: 1.1,
            perplexity,
            eval_accuracy: 0.5,
            eval_runtime: 0.1,
        })
    }

    #[test]
    fn lines_are_as_documented_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::start(dir.path(), vec![step(1)], &Storage).unwrap();
        assert!(log.push(evaluation(1)).is_none());
        let text = std::fs::read_to_string(dir.path().join(METRICS_FILE)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"step":1,"epoch":0.01,"loss":0.3,"grad_norm":0.7,"learning_rate":0.0002,"tokens":1024,"tokens_per_second":512.0}"#
        );
        let read: Vec<Entry> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, log.entries());
    }

    #[test]
    fn every_f32_comes_back() {
        for bits in (0x0080_0000u32..0x7f80_0000).step_by(65_521) {
            let loss = f32::from_bits(bits);
            let Entry::Step(mut entry) = step(1) else { unreachable!() };
            entry.loss = loss;
            let read: StepEntry = serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap();
            assert_eq!(read.loss.to_bits(), bits);
        }
    }

    #[test]
    fn a_resumed_log_forgets_lost_steps_and_half_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS_FILE);
        std::fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"st").unwrap();
        let mut log = Log::start(dir.path(), vec![step(1)], &Storage).unwrap();
        log.push(step(2));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
