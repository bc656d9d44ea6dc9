//! Compiles every kernel to `FOLDER/<family>/<file>.fatbin`: what the environment variable `TUNESMITH_KERNELS` names.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tunesmith_kernel_build::{Error, Nvcc, families, sources};

fn run(folder: &Path, nvcc: &Nvcc) -> Result<(), Error> {
    let cuda = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cuda");
    for family in families(&cuda)? {
        let out_dir = folder.join(&family);
        std::fs::create_dir_all(&out_dir).map_err(|source| Error::Io { path: out_dir.clone(), source })?;
        for source in sources(&cuda, &family)? {
            println!("{}", nvcc.fatbin(&cuda, &source.path, &out_dir)?.display());
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: images FOLDER");
        return ExitCode::FAILURE;
    };
    let compiled = Nvcc::from_environment().and_then(|nvcc| run(&folder, &nvcc).map_err(|error| error.to_string()));
    match compiled {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
