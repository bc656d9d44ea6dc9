//! Compiling kernels for the host.

use std::fmt::Write as _;
use std::path::Path;

use crate::{Error, Source};

/// The host function that runs one thread of `kernel`.
pub(crate) fn symbol(kernel: &str) -> String {
    format!("tunesmith_emulate_{kernel}")
}

/// Compiles each source with one function per kernel added, which takes the parameters by address: the executor calls all
/// kernels through one signature.
pub(crate) fn compile(cuda: &Path, family: &str, sources: &[Source], out_dir: &Path) -> Result<(), Error> {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").include(cuda).opt_level(2).debug(true).warnings(false);
    build.define("TUNESMITH_EMULATOR", None);
    // As CUDA: each operation is rounded by itself unless the source says fma, and addresses may be read as any type.
    build.flag("-ffp-contract=off").flag("-fno-strict-aliasing").flag("-fno-exceptions");
    // Parameter structs of 64-byte alignment never cross from one compiler to another by value.
    build.flag_if_supported("-Wno-psabi");
    // Registers that were never written hold a pattern that no computation hides.
    build.flag_if_supported("-ftrivial-auto-var-init=pattern");
    for source in sources {
        let path = out_dir.join(source.name.replace('/', "_")).with_extension("emulated.cpp");
        std::fs::write(&path, host_source(source)).map_err(|source| Error::Io { path: path.clone(), source })?;
        build.file(path);
    }
    let library = format!("tunesmith_emulated_{}", family.replace('-', "_"));
    build.try_compile(&library).map_err(|e| Error::Emulator { family: family.to_owned(), message: e.to_string() })
}

fn host_source(source: &Source) -> String {
    let mut text = format!("#include \"{}\"\n", source.name);
    for entry in &source.entries {
        let (name, params, symbol) = (&entry.name, &entry.params, symbol(&entry.name));
        let _ = writeln!(
            text,
            "extern \"C\" void {symbol}(const void* params) {{ {name}(*static_cast<const {params}*>(params)); }}"
        );
    }
    text
}
