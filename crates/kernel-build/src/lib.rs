//! Compiles `cuda/<family>/*.cu` for a kernel crate, from its build script:
//!
//! ```no_run
//! tunesmith_kernel_build::build("adamw")
//! ```
//!
//! The same sources are compiled up to twice. With nvcc, if [`Nvcc::find`] finds one, to fatbins that are embedded; without,
//! the crate builds all the same and a launch on a GPU returns `DeviceError::KernelsNotBuilt` with the reason. With the
//! crate's feature `emulator`, by the host's C++ compiler against `cuda/emulator`, to functions that the emulated executor
//! runs thread by thread.
//!
//! Both are described in one generated file, `$OUT_DIR/kernels.rs`: for each `extern "C" __global__` function a static
//! `device::launch::Kernel<Params>`, typed with the parameter struct that its signature names.

mod emulator;
mod entry;
mod error;
mod generate;
mod nvcc;

use std::path::{Path, PathBuf};

pub use entry::Entry;
pub use error::Error;
pub use nvcc::{ARCHITECTURES, Nvcc, architectures};

/// One `.cu` file and the kernels in it.
#[derive(Debug)]
pub struct Source {
    /// Path from the `cuda` folder, as `adamw/step.cu`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its kernels, in the order of the file.
    pub entries: Vec<Entry>,
}

/// Compiles the kernels of `cuda/<family>` and writes `$OUT_DIR/kernels.rs`. For build scripts: a failure is reported to
/// cargo and ends the process.
pub fn build(family: &str) {
    if let Err(error) = try_build(family) {
        println!("cargo::error={}", error.to_string().replace('\n', "\ncargo::error="));
        std::process::exit(1);
    }
}

fn try_build(family: &str) -> Result<(), Error> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let cuda = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../../cuda");
    let sources = sources(&cuda, family)?;
    for folder in folders(&cuda, family)? {
        println!("cargo::rerun-if-changed={}", cuda.join(folder).display());
    }
    let images = match Nvcc::find() {
        Ok(nvcc) => sources
            .iter()
            .map(|source| nvcc.fatbin(&cuda, &source.path, &out_dir).map(Ok))
            .collect::<Result<Vec<_>, Error>>()?,
        Err(reason) => vec![Err(reason); sources.len()],
    };
    let emulated = std::env::var_os("CARGO_FEATURE_EMULATOR").is_some();
    if emulated {
        emulator::compile(&cuda, family, &sources, &out_dir)?;
    }
    let generated = generate::kernels(&sources, &images, emulated);
    let path = out_dir.join("kernels.rs");
    std::fs::write(&path, generated).map_err(|source| Error::Io { path, source })
}

fn variable(name: &'static str) -> Result<String, Error> {
    std::env::var(name).map_err(|_| Error::NotInBuildScript { variable: name })
}

/// The folders of `cuda` that a family is compiled from: its own, the emulator, and whatever their files include.
fn folders(cuda: &Path, family: &str) -> Result<Vec<String>, Error> {
    let mut folders = vec![family.to_owned(), "emulator".to_owned()];
    let mut read = 0;
    while let Some(folder) = folders.get(read) {
        for path in files(&cuda.join(folder))? {
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path, source })?;
            let included = text.lines().filter_map(|line| line.strip_prefix("#include \"")?.split_once('/'));
            for (included, _) in included {
                if !folders.iter().any(|known| known == included) {
                    folders.push(included.to_owned());
                }
            }
        }
        read += 1;
    }
    Ok(folders)
}

/// What a folder contains, by name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let items = std::fs::read_dir(folder).map_err(io)?;
    let mut paths = items.map(|item| Ok(item.map_err(io)?.path())).collect::<Result<Vec<_>, Error>>()?;
    paths.sort();
    Ok(paths)
}

/// The folders of `cuda` with kernels, by name.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read.
pub fn families(cuda: &Path) -> Result<Vec<String>, Error> {
    let folders = files(cuda)?.into_iter().filter(|path| path.join("params.h").is_file());
    Ok(folders.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect())
}

/// The `.cu` files of a family, by name.
///
/// # Errors
/// [`Error::Io`] for a folder that cannot be read, and what [`Entry::parse`] refuses.
pub fn sources(cuda: &Path, family: &str) -> Result<Vec<Source>, Error> {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "cu");
    let paths = files(&cuda.join(family))?.into_iter().filter(is_source);
    paths
        .map(|path| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let name = format!("{family}/{file}");
            let text = std::fs::read_to_string(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
            Ok(Source { entries: Entry::parse(&name, &text)?, name, path })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_built_again_when_what_it_includes_changes() {
        let cuda = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = cuda.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("emulator/keywords.h", "#pragma once\n");
        write("lora/forward.cu", "#include <stdint.h>\n#include \"gemm/product.cuh\"\n");
        write("gemm/product.cuh", "#include \"common/mma.cuh\"\n#include \"gemm/tile.cuh\"\n");
        write("common/mma.cuh", "#include \"emulator/mma.h\"\n");
        assert_eq!(folders(cuda.path(), "lora").unwrap(), ["lora", "emulator", "gemm", "common"]);
    }
}
