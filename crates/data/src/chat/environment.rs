//! The interpreter that templates run in: Jinja as transformers sets it up.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use time::OffsetDateTime;
use time::format_description::parse_strftime_owned;

use super::{generation, json};

/// The function that reads the time.
const STRFTIME_NOW: &str = "strftime_now";

/// An interpreter with Python's string methods and the functions that chat templates expect. It has no loader, so
/// `include` and `import` find nothing.
pub(super) fn with_python_habits(fuel: u64) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are distinct"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(fuel));
    environment.add_filter("tojson", json::tojson);
    environment.add_function(generation::FUNCTION, generation::marked);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

/// Sets the time that `strftime_now(format)` reads.
pub(super) fn set_time(environment: &mut Environment<'static>, time: OffsetDateTime) {
    environment.add_function(STRFTIME_NOW, move |format: &str| {
        parse_strftime_owned(format)
            .map_err(|error| error.to_string())
            .and_then(|format| time.format(&format).map_err(|error| error.to_string()))
            .map_err(|reason| Error::new(ErrorKind::InvalidOperation, format!("{STRFTIME_NOW}: {reason}")))
    });
}

/// Seconds after which the template `text` may render another text: a day where the formats it holds have nothing shorter,
/// one where they may. `None` if it does not read the time.
pub(super) fn time_unit(text: &str) -> Option<i64> {
    /// Days, weeks, months and years, and the sign itself.
    const DATES: &str = "aAbBdDeFgGhjmuUVwWxyYC%";
    text.contains(STRFTIME_NOW).then_some(())?;
    let bytes = text.as_bytes();
    let is_delimiter = |at: usize| bytes.get(at.wrapping_sub(1)) == Some(&b'{') || bytes.get(at + 1) == Some(&b'}');
    let mut signs = text.match_indices('%').map(|(at, _)| at).filter(|&at| !is_delimiter(at));
    // A sign without a letter may get one while rendering.
    let is_date = |at: usize| text[at + 1..].trim_start_matches('-').starts_with(|letter| DATES.contains(letter));
    Some(if signs.all(is_date) { 86400 } else { 1 })
}
