//! What can go wrong while kernels are built.

use std::path::PathBuf;

/// Errors of a kernel build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A variable that cargo sets for build scripts is missing.
    #[error("`{variable}` is not set; call build() from a build script")]
    NotInBuildScript {
        /// Its name.
        variable: &'static str,
    },
    /// A file or program could not be used.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A kernel is not declared the way the launch needs it.
    #[error("cuda/{file}:{line}: {problem}; expected `{}`", crate::entry::FORM)]
    Entry {
        /// Path from the `cuda` folder.
        file: String,
        /// Line of its `__global__`.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// nvcc refused a source.
    #[error("{command}\nfailed with {status}\n{output}")]
    Nvcc {
        /// The command line.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed.
        output: String,
    },
    /// The host's C++ compiler refused a source.
    #[error("the emulated kernels of cuda/{family} do not compile (a C++20 compiler is needed): {message}")]
    Emulator {
        /// The family.
        family: String,
        /// From the compiler.
        message: String,
    },
    /// bindgen refused a header.
    #[error("{path}: {message}")]
    Bindgen {
        /// The header.
        path: PathBuf,
        /// From bindgen.
        message: String,
    },
}
