//! The table at the end.

use std::time::Duration;

use crate::units::{Bytes, Grouped};

/// One line of the table.
pub(crate) struct Outcome {
    /// The method, or the base.
    pub(crate) method: String,
    /// Trained values.
    pub(crate) trainable: u64,
    /// Values of the base model.
    pub(crate) total: u64,
    /// Size of the adapter's weights.
    pub(crate) adapter_bytes: Option<u64>,
    /// Mean loss of the answers' tokens.
    pub(crate) loss: f64,
    /// Share of the answers' tokens that are the most likely one where all before them are right.
    pub(crate) token_accuracy: f64,
    /// Share of answers that are right to the letter.
    pub(crate) exact_match: f64,
    /// Time of training.
    pub(crate) elapsed: Option<Duration>,
}

const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] =
    ["method", "trainable", "share", "adapter file", "loss", "tokens right", "exact match", "seconds"];

/// The outcomes as aligned columns under their headings.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(outcomes.iter().map(cells));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            // Names to the left, numbers to the right.
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, "-".repeat(lines[0].chars().count()));
    lines.join("\n")
}

fn cells(outcome: &Outcome) -> [String; COLUMNS] {
    let none = || "-".to_owned();
    let trained = outcome.trainable > 0;
    let share = 100.0 * outcome.trainable as f64 / outcome.total.max(1) as f64;
    [
        outcome.method.clone(),
        if trained { Grouped(outcome.trainable).to_string() } else { none() },
        if trained { format!("{share:.2} %") } else { none() },
        outcome.adapter_bytes.map_or_else(none, |bytes| Bytes(bytes).to_string()),
        format!("{:.4}", outcome.loss),
        format!("{:.1} %", 100.0 * outcome.token_accuracy),
        format!("{:.1} %", 100.0 * outcome.exact_match),
        outcome.elapsed.map_or_else(none, |elapsed| format!("{:.1}", elapsed.as_secs_f64())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let base = Outcome {
            method: "base model".to_owned(),
            trainable: 0,
            total: 2_000_000,
            adapter_bytes: None,
            loss: 4.25,
            token_accuracy: 0.125,
            exact_match: 0.0,
            elapsed: None,
        };
        let lora = Outcome {
            method: "lora".to_owned(),
            trainable: 12_800,
            adapter_bytes: Some(55_296),
            loss: 0.01,
            token_accuracy: 0.9994,
            exact_match: 0.985,
            elapsed: Some(Duration::from_millis(21_340)),
            ..base
        };
        let base = Outcome { method: "base model".to_owned(), adapter_bytes: None, elapsed: None, ..base };
        assert_eq!(
            table(&[base, lora]),
            "method      trainable   share  adapter file    loss  tokens right  exact match  seconds\n\
             ---------------------------------------------------------------------------------------\n\
             base model          -       -             -  4.2500        12.5 %        0.0 %        -\n\
             lora           12,800  0.64 %      54.0 KiB  0.0100        99.9 %       98.5 %     21.3"
        );
    }
}
