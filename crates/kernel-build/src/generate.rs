//! The generated description of a family's kernels.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::{Source, architectures, emulator};

/// Rust source: an image for each file and a static for each kernel.
pub(crate) fn kernels(sources: &[Source], images: &[Result<PathBuf, String>], emulated: bool) -> String {
    let mut text = String::from("// Written by tunesmith-kernel-build.\n");
    for (source, image) in sources.iter().zip(images) {
        let stem = constant(source.path.file_stem().unwrap_or_default().to_string_lossy().as_ref());
        let built = match image {
            Ok(path) => format!(
                "::device::launch::Built::Fatbin {{ bytes: include_bytes!({:?}), architectures: {:?} }}",
                path.display().to_string(),
                architectures(&source.name)
            ),
            Err(reason) => format!("::device::launch::Built::Not {{ reason: {reason:?} }}"),
        };
        let _ = writeln!(
            text,
            "static {stem}_IMAGE: ::device::launch::Image =\n    \
             ::device::launch::Image {{ source: \"cuda/{}\", built: {built} }};",
            source.name
        );
        for entry in &source.entries {
            let (name, params) = (&entry.name, &entry.params);
            let symbol = emulator::symbol(name);
            let host = if emulated {
                let _ = writeln!(text, "unsafe extern \"C\" {{ fn {symbol}(params: *const ::core::ffi::c_void); }}");
                format!("Some({symbol})")
            } else {
                "None".to_owned()
            };
            let _ = writeln!(
                text,
                "/// `{name}` of cuda/{}.\n\
                 // SAFETY: name, parameter struct and host function were read from one signature in that file.\n\
                 pub(crate) static {}: ::device::launch::Kernel<{params}> =\n    \
                 unsafe {{ ::device::launch::Kernel::new({name:?}, &{stem}_IMAGE, {host}) }};",
                source.name,
                constant(name),
            );
        }
    }
    text
}

fn constant(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn source() -> Source {
        let entry = Entry { name: "scale_f32".to_owned(), params: "ScaleParams".to_owned() };
        Source { name: "ia3/scale.cu".to_owned(), path: "cuda/ia3/scale.cu".into(), entries: vec![entry] }
    }

    #[test]
    fn a_build_without_nvcc_keeps_the_reason() {
        let text = kernels(&[source()], &[Err("no \"nvcc\"".to_owned())], false);
        assert!(text.contains(r#"Built::Not { reason: "no \"nvcc\"" }"#), "{text}");
        assert!(text.contains("pub(crate) static SCALE_F32: ::device::launch::Kernel<ScaleParams>"), "{text}");
        assert!(text.contains("&SCALE_IMAGE, None"), "{text}");
    }

    #[test]
    fn a_fatbin_is_embedded_and_an_emulated_kernel_is_linked() {
        let text = kernels(&[source()], &[Ok("/out/scale.fatbin".into())], true);
        assert!(text.contains(r#"include_bytes!("/out/scale.fatbin")"#), "{text}");
        assert!(text.contains("Some(tunesmith_emulate_scale_f32)"), "{text}");
    }
}
