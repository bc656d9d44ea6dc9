//! `{% generation %}` blocks: how a template says what the assistant writes.
//!
//! The tag is transformers' own. It is compiled as a `call` block, which has the same scope and the same white space rules;
//! the called function puts a mark before and after the block's text, and the marks become byte ranges.

use std::ops::Range;

use minijinja::value::Kwargs;
use minijinja::{Error, State};

/// The function that a generation block calls.
pub(super) const FUNCTION: &str = "__generation__";

/// Marks around generated text. Unicode sets these characters aside for such use: they stand for nothing in any text.
pub(crate) const MARKS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];

/// Rewrites the tags, and says whether there are any.
pub(super) fn as_calls(template: &str) -> (String, bool) {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    let mut found = false;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start + 2);
        text += before;
        let control = tag.starts_with(['-', '+']) as usize;
        text += &tag[..control];
        rest = &tag[control..];
        let word = rest.trim_start();
        for (name, call) in [("generation", format!(" call {FUNCTION}()")), ("endgeneration", " endcall".to_owned())] {
            if let Some(after) = word.strip_prefix(name)
                && after.trim_start().trim_start_matches(['-', '+']).starts_with("%}")
            {
                text += &call;
                rest = after;
                found = true;
            }
        }
    }
    (text + rest, found)
}

/// The function behind a block: its text between marks.
pub(super) fn marked(state: &mut State<'_, '_>, arguments: Kwargs) -> Result<String, Error> {
    let body: minijinja::Value = arguments.get("caller")?;
    Ok(format!("{}{}{}", MARKS[0], body.call(state, &[])?, MARKS[1]))
}

/// The text without its marks, and the byte ranges that lay between them.
pub(super) fn split_marks(marked: String) -> (String, Vec<Range<usize>>) {
    if !marked.contains(MARKS) {
        return (marked, Vec::new());
    }
    let mut text = String::with_capacity(marked.len());
    let mut spans = Vec::new();
    let mut open = Vec::new();
    for piece in marked.split_inclusive(MARKS) {
        text += piece.trim_end_matches(MARKS);
        if piece.ends_with(MARKS[0]) {
            open.push(text.len());
        } else if piece.ends_with(MARKS[1])
            && let Some(start) = open.pop()
        {
            spans.push(start..text.len());
        }
    }
    (text, spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_calls_with_their_white_space_control() {
        let (text, found) = as_calls("a{%- generation -%} b {%  endgeneration+%}{% generation_x %}{% if generation %}");
        assert!(found);
        assert_eq!(text, "a{%- call __generation__() -%} b {% endcall+%}{% generation_x %}{% if generation %}");
        assert_eq!(as_calls("{% if x %}y{% endif %}{%"), ("{% if x %}y{% endif %}{%".to_owned(), false));
    }

    #[test]
    fn marks_become_ranges() {
        let marked = format!("a{0}b\u{e9}{1}c{0}{1}", MARKS[0], MARKS[1]);
        assert_eq!(split_marks(marked), ("ab\u{e9}c".to_owned(), vec![1..4, 5..5]));
        assert_eq!(split_marks("plain".to_owned()), ("plain".to_owned(), vec![]));
    }
}
