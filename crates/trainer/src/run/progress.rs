//! How far the run is: a bar that redraws itself on a terminal, otherwise one line a logged step that grep can read.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::log::{EvaluationEntry, StepEntry};
use crate::console::Console;
use crate::memory;
use crate::units::{Bytes, Count, Span};

/// Tells of the steps of one process.
pub struct Progress {
    console: Console,
    bar: Option<ProgressBar>,
    max_steps: u64,
    first_step: u64,
    started: Instant,
    tokens: u64,
    last: Option<StepEntry>,
}

impl Progress {
    /// For a run of `max_steps` steps, of which `steps_done` are done with `tokens` tokens.
    pub fn start(console: Console, max_steps: u64, steps_done: u64, tokens: u64) -> Self {
        let bar = console.is_interactive().then(|| {
            let bar = ProgressBar::with_draw_target(Some(max_steps), ProgressDrawTarget::stderr());
            bar.set_style(style());
            bar.set_position(steps_done);
            bar
        });
        Self { console, bar, max_steps, first_step: steps_done, started: Instant::now(), tokens, last: None }
    }

    /// A step is done; `logged` if it is one of those that are logged.
    pub fn step(&mut self, entry: &StepEntry, logged: bool) {
        self.tokens += entry.tokens;
        match &self.bar {
            Some(bar) => {
                bar.set_message(self.short_status(entry));
                bar.set_position(entry.step);
            }
            None if logged => self.console.line(self.status(entry)),
            None => {}
        }
        self.last = Some(entry.clone());
    }

    /// A step is done, and nothing more is known of it.
    pub fn advance(&mut self, step: u64, tokens: u64) {
        self.tokens += tokens;
        self.bar.iter().for_each(|bar| bar.set_position(step));
    }

    /// An evaluation is done.
    pub fn evaluation(&self, entry: &EvaluationEntry) {
        let perplexity = entry.perplexity.map_or_else(|| "inf".to_owned(), |p| format!("{p:.3}"));
        self.note(&format!(
            "eval at step {} | eval_loss {:.4} | perplexity {perplexity} | accuracy {:.4} | {:.1}s",
            entry.step, entry.eval_loss, entry.eval_accuracy, entry.eval_runtime
        ));
    }

    /// A line beside the steps.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.console.line(text)),
            None => self.console.line(text),
        }
    }

    /// Something to be aware of.
    pub fn warning(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.console.warning(text)),
            None => self.console.warning(text),
        }
    }

    /// No more steps: the bar makes way for the line of the last one.
    pub fn finish(&self) {
        if let (Some(bar), Some(last)) = (&self.bar, &self.last) {
            bar.finish_and_clear();
            self.console.line(self.status(last));
        }
    }

    /// What fits beside a bar, the most wanted first: the terminal cuts off the rest.
    fn short_status(&self, entry: &StepEntry) -> String {
        let speed = Count(entry.tokens_per_second as u64);
        let memory = memory::peak_rss_bytes().map_or_else(String::new, |b| format!(" | {}", Bytes(b)));
        format!("loss {:.4} | {speed} tok/s | eta {}{memory}", entry.loss, Span(self.remaining(entry.step)))
    }

    /// A whole line.
    fn status(&self, entry: &StepEntry) -> String {
        let memory = memory::peak_rss_bytes().map_or_else(String::new, |b| format!(" | peak mem {}", Bytes(b)));
        format!(
            "step {}/{} | loss {:.4} | grad_norm {:.3} | lr {:.2e} | {} tok/s | {} tokens{memory} | eta {}",
            entry.step,
            self.max_steps,
            entry.loss,
            entry.grad_norm,
            entry.learning_rate,
            Count(entry.tokens_per_second as u64),
            Count(self.tokens),
            Span(self.remaining(entry.step))
        )
    }

    /// The time left at the pace of this process so far. The clock is monotonic: setting the system's does not matter.
    fn remaining(&self, step: u64) -> Duration {
        let done = step.saturating_sub(self.first_step).max(1) as f64;
        let left = self.max_steps.saturating_sub(step) as f64;
        Duration::try_from_secs_f64(self.started.elapsed().as_secs_f64() / done * left).unwrap_or(Duration::MAX)
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:20} {pos}/{len} | {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}
