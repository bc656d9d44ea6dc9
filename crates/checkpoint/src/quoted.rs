//! Names from files, made safe to print.

use std::fmt::{Display, Formatter, Result, Write};

/// Characters of a name that a message shows.
const SHOWN: usize = 160;

/// Shows a name from a file in backticks, control characters escaped and over-long names cut, so that no file can write
/// to the terminal of whoever reads the message.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_char('`')?;
        for c in self.0.chars().take(SHOWN) {
            if c.is_control() || is_bidi_control(c) { write!(f, "{}", c.escape_unicode())? } else { f.write_char(c)? }
        }
        if self.0.chars().nth(SHOWN).is_some() {
            f.write_str("...")?;
        }
        f.write_char('`')
    }
}

/// Characters that reorder the text around them.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_names_cut() {
        assert_eq!(Quoted("model.layers.0").to_string(), "`model.layers.0`");
        assert_eq!(Quoted("a\u{1b}[31m\n\u{202e}b").to_string(), "`a\\u{1b}[31m\\u{a}\\u{202e}b`");
        assert_eq!(Quoted(&"x".repeat(1_000_000)).to_string().len(), SHOWN + 5);
    }
}
