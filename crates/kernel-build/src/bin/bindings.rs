//! Writes `src/params_generated.rs` of every kernel crate from its `params.h`, or with `--check` compares it.
//!
//! `scripts/bindings` calls it with libclang at hand. The output is committed, so that a build needs no libclang.

use std::path::Path;
use std::process::ExitCode;

use bindgen::callbacks::{DeriveInfo, DeriveTrait, ImplementsTrait, ParseCallbacks, TypeKind};
use tunesmith_kernel_build::Error;

/// Lets parameter structs be copied as bytes. Padding in a header is then a compile error of the kernel crate.
#[derive(Debug)]
struct PlainData;

impl ParseCallbacks for PlainData {
    fn add_derives(&self, info: &DeriveInfo<'_>) -> Vec<String> {
        match info.kind {
            TypeKind::Struct => ["bytemuck::Pod", "bytemuck::Zeroable"].map(String::from).to_vec(),
            _ => Vec::new(),
        }
    }

    /// The structs of another family, which derive as these do.
    fn blocklisted_type_implements_trait(&self, _name: &str, _trait: DeriveTrait) -> Option<ImplementsTrait> {
        Some(ImplementsTrait::Yes)
    }
}

/// The structs of `header` and of its family's `*_params.h`. Those of another family that it includes are named only:
/// `params.rs` of the crate brings them in.
fn generate(cuda: &Path, header: &Path, family: &str) -> Result<String, Error> {
    let failed = |message: String| Error::Bindgen { path: header.to_owned(), message };
    let unicode =
        |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| failed("the path is not unicode".to_owned()));
    let (cuda, path) = (unicode(cuda)?, unicode(header)?);
    let bindings = bindgen::Builder::default()
        // Included, since a header that is the main file may not say `#pragma once`.
        .header_contents("bindings.h", &format!("#include {path:?}\n"))
        .clang_args(["-x", "c++", "-std=c++20", "-I", &cuda])
        .allowlist_file(format!(".*/{family}/([a-z0-9]+_)?params\\.h"))
        .allowlist_recursively(false)
        .parse_callbacks(Box::new(PlainData))
        .derive_debug(true)
        .generate_comments(true)
        .disable_header_comment()
        .raw_line("// Written by scripts/bindings from params.h.")
        .generate()
        .map_err(|error| failed(error.to_string()))?;
    Ok(bindings.to_string())
}

fn run(check: bool) -> Result<Vec<String>, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    let cuda = root.join("cuda");
    let mut headers: Vec<_> = std::fs::read_dir(&cuda)
        .map_err(io(&cuda))?
        .flatten()
        .map(|family| family.path().join("params.h"))
        .filter(|header| header.is_file())
        .collect();
    headers.sort();
    let mut stale = Vec::new();
    for header in headers {
        let family = header.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let output = root.join("crates").join(&*family).join("src/params_generated.rs");
        let text = generate(&cuda, &header, &family)?;
        if std::fs::read_to_string(&output).ok().as_deref() == Some(&text) {
            continue;
        }
        if check {
            stale.push(format!("crates/{}/src/params_generated.rs", family));
        } else {
            std::fs::write(&output, text).map_err(io(&output))?;
        }
    }
    Ok(stale)
}

fn main() -> ExitCode {
    let check = std::env::args().nth(1).as_deref() == Some("--check");
    match run(check) {
        Ok(stale) if stale.is_empty() => ExitCode::SUCCESS,
        Ok(stale) => {
            eprintln!("not what params.h says: {}; run scripts/bindings and commit the result", stale.join(", "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
