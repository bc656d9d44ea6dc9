//! Learning rate schedules, each the factor that transformers' `get_scheduler` multiplies the peak with.
//!
//! With `s` steps done, `w` warm-up steps and `n` steps in all:
//!
//! | name | `s < w` | after |
//! |---|---|---|
//! | `linear` | `s / w` | `(n - s) / (n - w)` |
//! | `cosine` | `s / w` | `(1 + cos(pi (s - w) / (n - w))) / 2` |
//! | `constant` | 1 | 1 |
//! | `constant_with_warmup` | `s / w` | 1 |
//!
//! Step 1 is taken with no step done: with a warm-up its learning rate is zero, as there.

use std::f64::consts::PI;

use serde::Serialize;

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// Down to zero on a line.
    Linear,
    /// Down to zero on half a cosine.
    Cosine,
    /// The peak throughout; there is no warm-up.
    Constant,
    /// The peak after the warm-up.
    ConstantWithWarmup,
}

/// The learning rate of every step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Its shape.
    pub scheduler_type: SchedulerType,
    /// The peak.
    pub learning_rate: f64,
    /// Steps of the warm-up.
    pub warmup_steps: u64,
    /// Steps of the run.
    pub max_steps: u64,
}

impl Schedule {
    /// The learning rate with which step `step`, counted from 1, is taken.
    pub fn at(&self, step: u64) -> f64 {
        self.learning_rate * self.factor(step.saturating_sub(1))
    }

    fn factor(&self, steps_done: u64) -> f64 {
        let (done, warmup, all) = (steps_done as f64, self.warmup_steps as f64, self.max_steps as f64);
        let after_warmup = (all - warmup).max(1.0);
        match self.scheduler_type {
            SchedulerType::Constant => 1.0,
            _ if steps_done < self.warmup_steps => done / warmup.max(1.0),
            SchedulerType::ConstantWithWarmup => 1.0,
            SchedulerType::Linear => ((all - done) / after_warmup).max(0.0),
            SchedulerType::Cosine => (0.5 * (1.0 + (PI * (done - warmup) / after_warmup).cos())).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(scheduler_type: SchedulerType, warmup_steps: u64, max_steps: u64) -> Vec<f64> {
        let schedule = Schedule { scheduler_type, learning_rate: 1.0, warmup_steps, max_steps };
        (1..=max_steps).map(|step| schedule.at(step)).collect()
    }

    fn assert_close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            // Both sides are a handful of f64 operations.
            assert!((g - e).abs() <= 1e-15, "{got:?}");
        }
    }

    /// The factors that `transformers.get_scheduler(name, optimizer, 2, 6)` uses for its six steps.
    #[test]
    fn factors_are_those_of_transformers() {
        let half_cosine = |progress: f64| 0.5 * (1.0 + (PI * progress).cos());
        assert_close(&factors(SchedulerType::Linear, 2, 6), &[0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
        assert_close(
            &factors(SchedulerType::Cosine, 2, 6),
            &[0.0, 0.5, 1.0, half_cosine(0.25), half_cosine(0.5), half_cosine(0.75)],
        );
        assert_close(&factors(SchedulerType::ConstantWithWarmup, 2, 6), &[0.0, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_close(&factors(SchedulerType::Constant, 2, 6), &[1.0; 6]);
    }

    #[test]
    fn no_factor_leaves_zero_to_one() {
        for scheduler_type in [SchedulerType::Linear, SchedulerType::Cosine, SchedulerType::ConstantWithWarmup] {
            for (warmup_steps, max_steps) in [(0, 1), (1, 1), (5, 5), (0, 7), (3, 2)] {
                let schedule = Schedule { scheduler_type, learning_rate: 1.0, warmup_steps, max_steps };
                for step in 0..20 {
                    assert!((0.0..=1.0).contains(&schedule.at(step)), "{schedule:?} at {step}");
                }
            }
        }
    }
}
