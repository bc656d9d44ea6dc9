//! Where a kernel's machine code comes from: the program itself, or a folder that is named at run time.
//!
//! `TUNESMITH_KERNELS=FOLDER` replaces the embedded images by `FOLDER/<family>/<file>.fatbin`, as
//! `cargo run -p tunesmith-kernel-build --bin images FOLDER` writes them: to try a kernel without building the program again, or
//! to give one that was built without nvcc its kernels.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::DeviceError;
use crate::launch::Built;
use crate::launch::kernel::Entry;

/// Names the folder.
const VARIABLE: &str = "TUNESMITH_KERNELS";
/// How fatbins and cubins begin.
const MAGIC: [[u8; 4]; 2] = [[0x50, 0xed, 0x55, 0xba], *b"\x7fELF"];

/// One image.
#[derive(Debug)]
pub(super) struct Bytes {
    bytes: Cow<'static, [u8]>,
    architectures: &'static str,
    /// Its file, of the folder.
    path: Option<PathBuf>,
}

impl Bytes {
    /// The image of `kernel`.
    pub(super) fn of(kernel: &Entry) -> Result<Self, DeviceError> {
        match std::env::var_os(VARIABLE) {
            Some(folder) => Self::read(Path::new(&folder), kernel.name, kernel.image.source),
            None => match kernel.image.built {
                Built::Fatbin { bytes, architectures } => Ok(Self::embedded(bytes, architectures)),
                Built::Not { reason } => Err(kernel.not_built(reason)),
            },
        }
    }

    /// One of this program's own.
    pub(super) fn embedded(bytes: &'static [u8], architectures: &'static str) -> Self {
        Self { bytes: bytes.into(), architectures, path: None }
    }

    fn read(folder: &Path, kernel: &'static str, source: &str) -> Result<Self, DeviceError> {
        let path = folder.join(source.strip_prefix("cuda/").unwrap_or(source)).with_extension("fatbin");
        let read = std::fs::read(&path);
        let image = |bytes| Self { bytes, architectures: "what TUNESMITH_KERNELS names", path: Some(path) };
        match read {
            Err(error) => Err(image(Cow::default()).refused(kernel, error.to_string())),
            Ok(bytes) if MAGIC.iter().any(|magic| bytes.starts_with(magic)) => Ok(image(bytes.into())),
            Ok(bytes) => Err(image(bytes.into()).refused(kernel, "it is neither a fatbin nor a cubin".to_owned())),
        }
    }

    /// For what it was built, in words.
    pub(super) fn architectures(&self) -> &'static str {
        self.architectures
    }

    /// The image as the driver reads it: its headers are 64-bit words, and embedded bytes have no alignment.
    pub(super) fn words(&self) -> Vec<u64> {
        let mut words = vec![0u64; self.bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..self.bytes.len()].copy_from_slice(&self.bytes);
        words
    }

    /// The image does not do for `kernel`.
    pub(super) fn refused(&self, kernel: &'static str, problem: String) -> DeviceError {
        let image = self.path.as_ref().map_or("this program".to_owned(), |path| path.display().to_string());
        DeviceError::Image { kernel, image, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tunesmith-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("ia3")).unwrap();
        folder
    }

    #[test]
    fn images_are_taken_from_a_folder() {
        let folder = folder("images");
        std::fs::write(folder.join("ia3/scale.fatbin"), [0x50, 0xed, 0x55, 0xba, 1]).unwrap();
        let image = Bytes::read(&folder, "ia3_scale_f32", "cuda/ia3/scale.cu").unwrap();
        assert_eq!(image.words(), [u64::from_le_bytes([0x50, 0xed, 0x55, 0xba, 1, 0, 0, 0])]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_image_is_refused_with_its_path() {
        let folder = folder("no-images");
        std::fs::write(folder.join("ia3/scale.fatbin"), "not an image").unwrap();
        for (source, problem) in
            [("cuda/ia3/scale.cu", "neither a fatbin nor a cubin"), ("cuda/ia3/sum.cu", "No such file")]
        {
            let error = Bytes::read(&folder, "ia3_scale_f32", source).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("ia3_scale_f32") && error.contains(".fatbin"), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
