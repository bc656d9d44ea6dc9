//! Where a setting was written: a span of the config file, of a `--set` or of another flag.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Characters of a line that are shown around a caret.
const WINDOW: usize = 100;

/// The flag that sets any key.
pub(super) const SET_FLAG: &str = "--set";

/// A text that settings come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path, or the flag.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A span of a [`Source`]. Displays as the line with carets under the span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    source: Arc<Source>,
    span: Range<usize>,
}

impl Location {
    /// The bytes `span` of `source`; clamped to the text and to whole characters.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        let text = source.text.as_str();
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        Self { source: Arc::clone(source), span: start..end }
    }

    /// Line and column, both from 1; columns count characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// What was written, if it is the whole value of a `--set`: there a text needs no quotes.
    pub(super) fn bare_text(&self) -> Option<&str> {
        let is_all = self.span.end == self.source.text.trim_end().len();
        (self.source.name == SET_FLAG && is_all).then(|| &self.source.text[self.span.clone()])
    }

    /// Where the span starts in its source: the order in which problems are told.
    pub(super) fn start(&self) -> usize {
        self.span.start
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.source.text;
        let (line, column) = self.line_and_column();
        let line_start = text[..self.span.start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[self.span.start..].find('\n').map_or(text.len(), |i| self.span.start + i);
        let shown: Vec<char> = text[line_start..line_end].chars().collect();

        // A line of a megabyte is cut to what surrounds the caret.
        let first = (column - 1).saturating_sub(WINDOW / 2);
        let last = shown.len().min(first + WINDOW);
        let marked = text[self.span.start..self.span.end.min(line_end).max(self.span.start)].chars().count();
        let marked = marked.clamp(1, (last + 1).saturating_sub(column).max(1));

        let printable = |c: &char| if c.is_control() { ' ' } else { *c };
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        writeln!(f, "{margin}--> {}:{line}:{column}", self.source.name)?;
        writeln!(f, "{margin} |")?;
        writeln!(
            f,
            "{number} | {}",
            shown[first.min(last)..last].iter().map(printable).collect::<String>().trim_end()
        )?;
        write!(f, "{margin} | {}{}", " ".repeat(column - 1 - first), "^".repeat(marked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, part: &str) -> Location {
        let source = Arc::new(Source { name: "run.toml".to_owned(), text: text.to_owned() });
        let start = text.find(part).unwrap();
        Location::new(&source, start..start + part.len())
    }

    #[test]
    fn carets_stand_under_the_span() {
        let location = at("[training]\nname = \"é\"\t# lr\nseed = -1\n", "-1");
        assert_eq!(location.to_string(), " --> run.toml:3:8\n  |\n3 | seed = -1\n  |        ^^");
        let location = at("a = \"éé\" # b\n", "# b");
        assert_eq!(location.to_string(), " --> run.toml:1:10\n  |\n1 | a = \"éé\" # b\n  |          ^^^");
    }

    #[test]
    fn long_lines_are_cut_and_odd_spans_are_clamped() {
        let long = format!("x = \"{}\" # here", "y".repeat(100_000));
        assert!(at(&long, "here").to_string().len() < 400);
        let source = Arc::new(Source { name: "f".to_owned(), text: "é\n".to_owned() });
        for start in 0..5 {
            for end in 0..5 {
                assert!(!Location::new(&source, start..end).to_string().is_empty());
            }
        }
    }
}
