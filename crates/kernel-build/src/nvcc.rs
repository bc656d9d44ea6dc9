//! Finding nvcc, and what it is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// A source of this ending uses instructions of compute capability 9.0 alone and is compiled for nothing else.
const HOPPER: &str = "_sm90a.cu";
const HOPPER_ARCHITECTURES: &str = "sm_90a";

/// What a fatbin holds: machine code for the A100 and the H100, and PTX that the driver compiles for other GPUs from
/// compute capability 8.0 on.
pub const ARCHITECTURES: &str = "sm_80, sm_90a, compute_80 PTX";

const TARGETS: [&str; 3] =
    ["arch=compute_80,code=sm_80", "arch=compute_90a,code=sm_90a", "arch=compute_80,code=compute_80"];

/// For what the source of this name is compiled, in words.
pub fn architectures(source: &str) -> &'static str {
    if source.ends_with(HOPPER) { HOPPER_ARCHITECTURES } else { ARCHITECTURES }
}

fn targets(source: &Path) -> impl Iterator<Item = &'static str> {
    let hopper = source.to_string_lossy().ends_with(HOPPER);
    TARGETS.into_iter().filter(move |target| !hopper || target.contains("sm_90a"))
}

/// A CUDA compiler on this machine.
#[derive(Debug, PartialEq, Eq)]
pub struct Nvcc {
    /// The program.
    pub path: PathBuf,
}

impl Nvcc {
    /// Looks in `$NVCC`, `$CUDA_HOME/bin`, `$CUDA_PATH/bin`, `$PATH`, and where pip installs the wheels for the Python of
    /// `$VIRTUAL_ENV`. `NVCC` set to nothing says: build without kernels.
    ///
    /// # Errors
    /// The reason why there is none, as a launch on a GPU will repeat it.
    pub fn find() -> Result<Self, String> {
        for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", "VIRTUAL_ENV"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        Self::from_environment()
    }

    /// As [`Nvcc::find`], outside a build script.
    ///
    /// # Errors
    /// As [`Nvcc::find`].
    pub fn from_environment() -> Result<Self, String> {
        Self::find_with(|name| std::env::var_os(name).map(PathBuf::from)).map_err(|error| error.to_string())
    }

    fn find_with(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, NotFound> {
        if let Some(path) = variable("NVCC") {
            return if path.as_os_str().is_empty() { Err(NotFound::TurnedOff) } else { named("NVCC", path) };
        }
        for name in ["CUDA_HOME", "CUDA_PATH"] {
            if let Some(toolkit) = variable(name) {
                return named(name, toolkit.join("bin/nvcc"));
            }
        }
        let on_path = variable("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
        let in_wheels = variable("VIRTUAL_ENV").into_iter().flat_map(|environment| site_packages(&environment));
        on_path
            .map(|folder| folder.join("nvcc"))
            .chain(in_wheels.map(|site| site.join("nvidia/cu13/bin/nvcc")))
            .find(|path| path.is_file())
            .map(|path| Self { path })
            .ok_or(NotFound::Nowhere)
    }

    /// Compiles `source` into `out_dir` and returns the fatbin's path.
    ///
    /// # Errors
    /// [`Error::Io`] if nvcc does not start, [`Error::Nvcc`] with its words if it refuses the source.
    pub fn fatbin(&self, cuda: &Path, source: &Path, out_dir: &Path) -> Result<PathBuf, Error> {
        let fatbin = out_dir.join(source.with_extension("fatbin").file_name().unwrap_or_default());
        let mut command = Command::new(&self.path);
        command.args(["-std=c++20", "-O3", "-lineinfo", "-fatbin", "-compress-mode=size", "-I"]).arg(cuda);
        targets(source).for_each(|target| {
            command.args(["-gencode", target]);
        });
        command.arg(source).arg("-o").arg(&fatbin);
        let output = command.output().map_err(|source| Error::Io { path: self.path.clone(), source })?;
        if output.status.success() {
            return Ok(fatbin);
        }
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Err(Error::Nvcc { command: format!("{command:?}"), status: output.status, output: printed })
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum NotFound {
    #[error("the build was told to leave them out (NVCC was set to nothing)")]
    TurnedOff,
    #[error("{variable} named {path}, where there is no nvcc")]
    NotThere { variable: &'static str, path: String },
    #[error("no nvcc was found in NVCC, CUDA_HOME, CUDA_PATH, PATH or a Python environment")]
    Nowhere,
}

fn named(variable: &'static str, path: PathBuf) -> Result<Nvcc, NotFound> {
    let missing = NotFound::NotThere { variable, path: path.display().to_string() };
    if path.is_file() { Ok(Nvcc { path }) } else { Err(missing) }
}

/// `lib/python*/site-packages` of a virtual environment.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let pythons = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    let mut folders: Vec<_> = pythons.map(|python| python.path().join("site-packages")).collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn the_places_are_tried_in_order() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let (own, home, path) = (at("own/nvcc"), at("home/bin/nvcc"), at("path/nvcc"));
        let wheel = at("venv/lib/python3.12/site-packages/nvidia/cu13/bin/nvcc");
        [&own, &home, &path, &wheel].into_iter().for_each(|p| touch(p));
        let mut variables =
            vec![("NVCC", own.clone()), ("CUDA_HOME", at("home")), ("PATH", at("path")), ("VIRTUAL_ENV", at("venv"))];
        for expected in [own, home, path, wheel] {
            let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone());
            assert_eq!(Nvcc::find_with(lookup), Ok(Nvcc { path: expected }));
            variables.remove(0);
        }
        assert_eq!(Nvcc::find_with(|_| None), Err(NotFound::Nowhere));
    }

    #[test]
    fn hopper_sources_are_compiled_for_hopper() {
        let hopper = targets(Path::new("cuda/gemm/wgmma_sm90a.cu")).collect::<Vec<_>>();
        assert_eq!((hopper, architectures("gemm/wgmma_sm90a.cu")), (vec!["arch=compute_90a,code=sm_90a"], "sm_90a"));
        assert_eq!(targets(Path::new("cuda/gemm/gemm.cu")).count(), 3);
        assert_eq!(architectures("gemm/gemm.cu"), ARCHITECTURES);
    }

    #[test]
    fn what_is_named_is_not_replaced_by_another() {
        let lookup = |name: &str| match name {
            "CUDA_HOME" => Some(PathBuf::from("/nonexistent")),
            _ => std::env::var_os(name).map(PathBuf::from),
        };
        let without = |name: &str| if name == "NVCC" { None } else { lookup(name) };
        let missing = Nvcc::find_with(without).unwrap_err();
        assert_eq!(missing.to_string(), "CUDA_HOME named /nonexistent/bin/nvcc, where there is no nvcc");
        assert_eq!(Nvcc::find_with(|_| Some(PathBuf::new())), Err(NotFound::TurnedOff));
    }
}
