//! `report.html`: the curves, the settings and the samples of a run in one file that needs nothing else.

mod chart;

use std::fmt::Write;

use super::log::Entry;
use chart::{Series, line_chart, smoothed};

/// The file.
pub const REPORT_FILE: &str = "report.html";

const RAW: &str = "#9bb8d3";
const LINE: &str = "#1f5f99";
const EVALUATION: &str = "#c2571a";
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}\
    figure{margin:1.5em 0}figcaption{font-weight:600}svg{width:100%;height:auto}text{font-size:11px;fill:#555}\
    polyline{fill:none;stroke-width:1.5}.grid{stroke:#e4e4e4}table{border-collapse:collapse}\
    td,th{padding:.2em .8em .2em 0;text-align:left;vertical-align:top}\
    pre{background:#f6f6f6;padding:.8em;overflow-x:auto;white-space:pre-wrap}";

/// A prompt and what the model makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// As given.
    pub prompt: String,
    /// The base's continuation.
    pub before: String,
    /// The trained model's continuation.
    pub after: String,
}

/// What a report tells.
pub struct Report<'a> {
    /// The run, in a few words.
    pub title: &'a str,
    /// Name and value: model, parameters, data, time.
    pub facts: &'a [(String, String)],
    /// The settings as TOML.
    pub settings: &'a str,
    /// Logged steps and evaluations.
    pub log: &'a [Entry],
    /// Continuations before and after.
    pub samples: &'a [Sample],
}

impl Report<'_> {
    /// The page. Every text in it is escaped: names, prompts and rows come from strangers.
    pub fn to_html(&self) -> String {
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n\
             <style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n<table>\n",
            escape(self.title)
        );
        for (name, value) in self.facts {
            let _ = writeln!(html, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
        }
        html.push_str("</table>\n");
        html.push_str(&self.charts());
        if !self.samples.is_empty() {
            html.push_str("<h2>Samples</h2>\n<table><tr><th>prompt</th><th>before</th><th>after</th></tr>\n");
            for Sample { prompt, before, after } in self.samples {
                let cells = [prompt, before, after].map(|text| format!("<td><pre>{}</pre></td>", escape(text)));
                let _ = writeln!(html, "<tr>{}</tr>", cells.concat());
            }
            html.push_str("</table>\n");
        }
        let _ = write!(html, "<h2>Settings</h2>\n<pre>{}</pre>\n</body></html>\n", escape(self.settings));
        html
    }

    fn charts(&self) -> String {
        let steps = |value: fn(&super::log::StepEntry) -> f64| -> Vec<(f64, f64)> {
            self.log
                .iter()
                .filter_map(|entry| match entry {
                    Entry::Step(step) => Some((step.step as f64, value(step))),
                    Entry::Evaluation(_) => None,
                })
                .collect()
        };
        let evaluations = self.log.iter().filter_map(|entry| match entry {
            Entry::Evaluation(e) => Some((e.step as f64, f64::from(e.eval_loss))),
            Entry::Step(_) => None,
        });
        let loss = steps(|s| f64::from(s.loss));
        let smooth = smoothed(&loss, loss.len() as f64 / 20.0);
        let one = |points| [Series { colour: LINE, points }];
        [
            line_chart(
                "Loss (pale: every step, dark: running mean, orange: evaluation)",
                &[
                    Series { colour: RAW, points: loss },
                    Series { colour: LINE, points: smooth },
                    Series { colour: EVALUATION, points: evaluations.collect() },
                ],
            ),
            line_chart("Learning rate", &one(steps(|s| s.learning_rate))),
            line_chart("Gradient norm before clipping", &one(steps(|s| f64::from(s.grad_norm)))),
            line_chart("Tokens per second", &one(steps(|s| s.tokens_per_second))),
        ]
        .concat()
    }
}

/// `text` as HTML text or attribute value. Control characters that have no place in a page are replaced.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::log::{EvaluationEntry, StepEntry};

    #[test]
    fn text_of_strangers_stays_text() {
        let hostile = "<script>alert('x')</script>\u{1b}[31m\" onload=\"";
        let facts = [(hostile.to_owned(), hostile.to_owned())];
        let sample = Sample { prompt: hostile.to_owned(), before: hostile.to_owned(), after: hostile.to_owned() };
        let report = Report { title: hostile, facts: &facts, settings: hostile, log: &[], samples: &[sample] };
        let html = report.to_html();
        assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains("\" onload"), "{html}");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }

    #[test]
    fn curves_are_drawn_and_nothing_is_fetched() {
        let step = |step| {
            let (loss, grad_norm, learning_rate) = (3.0 / step as f32, 1.0, 1e-4);
            Entry::Step(StepEntry {
                step,
                epoch: 0.1,
                loss,
                grad_norm,
                learning_rate,
                tokens: 8,
                tokens_per_second: 4.0,
            })
        };
        let evaluation = Entry::Evaluation(EvaluationEntry {
            step: 2,
            epoch: 0.2,
            eval_loss: 2.0,
            perplexity: Some(7.4),
            eval_accuracy: 0.1,
            eval_runtime: 1.0,
        });
        let log = [step(1), step(2), evaluation];
        let html = Report { title: "t", facts: &[], settings: "", log: &log, samples: &[] }.to_html();
        assert_eq!(html.matches("<svg").count(), 4);
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="), "{html}");
    }
}
