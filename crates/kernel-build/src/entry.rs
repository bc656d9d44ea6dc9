//! Reading the kernels that a `.cu` file declares.

use crate::Error;

/// How every kernel is declared; the launch bounds may be left out.
pub(crate) const FORM: &str =
    "extern \"C\" __global__ void __launch_bounds__(threads) name(const __grid_constant__ Params p)";

/// One `extern "C" __global__` function.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, which a launch on a GPU looks up.
    pub name: String,
    /// Its parameter struct, of `params.h`.
    pub params: String,
}

impl Entry {
    /// The kernels of `text`, the contents of `file`.
    ///
    /// # Errors
    /// [`Error::Entry`] for a `__global__` function of another form than `FORM`.
    pub fn parse(file: &str, text: &str) -> Result<Vec<Self>, Error> {
        let code = without_comments(text);
        code.match_indices("__global__")
            .map(|(at, keyword)| {
                let refuse = |problem| Error::Entry {
                    file: file.to_owned(),
                    line: code[..at].matches('\n').count() + 1,
                    problem,
                };
                if !code[..at].trim_end().ends_with("extern \"C\"") {
                    return Err(refuse("the kernel is not `extern \"C\"`"));
                }
                declaration(&code[at + keyword.len()..]).map_err(refuse)
            })
            .collect()
    }
}

/// `text` with its line comments blanked, so that positions stay.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// Reads what follows `__global__`.
fn declaration(rest: &str) -> Result<Entry, &'static str> {
    let rest = rest.trim_start().strip_prefix("void").ok_or("the kernel does not return void")?.trim_start();
    let rest = match rest.strip_prefix("__launch_bounds__") {
        Some(bounds) => bounds.split_once(')').ok_or("the launch bounds do not end")?.1,
        None => rest,
    };
    let (name, rest) = rest.split_once('(').ok_or("the kernel has no parameters")?;
    let (parameters, _) = rest.split_once(')').ok_or("the parameters do not end")?;
    let mut words = parameters.split_whitespace();
    let form = (words.next(), words.next(), words.next(), words.next(), words.next());
    match form {
        (Some("const"), Some("__grid_constant__"), Some(params), Some(_), None) if !parameters.contains(',') => {
            Ok(Entry { name: name.trim().to_owned(), params: params.to_owned() })
        }
        _ => Err("the kernel does not take one parameter struct"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_with_their_parameter_structs() {
        let text = "template <typename T> __device__ void body(P p);\n\
            // a __global__ in a comment\n\
            extern \"C\" __global__ void __launch_bounds__(256, 2) scale_f32(const __grid_constant__ ScaleParams p) {}\n\
            extern \"C\" __global__ void\n    scale_bf16(const __grid_constant__ ScaleParams params) {}\n";
        let entry = |name: &str| Entry { name: name.to_owned(), params: "ScaleParams".to_owned() };
        assert_eq!(Entry::parse("ia3/scale.cu", text).unwrap(), [entry("scale_f32"), entry("scale_bf16")]);
    }

    #[test]
    fn another_form_is_refused_with_its_line() {
        let refused = |text: &str| Entry::parse("ia3/scale.cu", text).unwrap_err().to_string();
        assert!(refused("\n\n__global__ void f(P p);").starts_with("cuda/ia3/scale.cu:3: the kernel is not `extern"));
        assert!(refused("extern \"C\" __global__ int f();").contains("does not return void"));
        assert!(refused("extern \"C\" __global__ void f(const float* x, int n);").contains("one parameter struct"));
        assert!(refused("extern \"C\" __global__ void f(P p);").contains("one parameter struct"));
        assert!(
            refused("extern \"C\" __global__ void f(const __grid_constant__ P p, int n)").contains("one parameter")
        );
    }
}
