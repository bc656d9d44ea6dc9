//! A kernel as a build knows it.

use std::ffi::c_void;
use std::marker::PhantomData;

use crate::DeviceError;

/// Runs one emulated thread of a kernel, with its parameters by address.
pub type HostFunction = unsafe extern "C" fn(params: *const c_void);

/// The compiled form of one `.cu` file.
#[derive(Debug)]
pub struct Image {
    /// Its path in the repository.
    pub source: &'static str,
    /// What nvcc made of it.
    pub built: Built,
}

/// What nvcc made of a source.
#[derive(Debug)]
pub enum Built {
    /// Machine code for several architectures.
    Fatbin {
        /// The file.
        bytes: &'static [u8],
        /// For which, in words.
        architectures: &'static str,
    },
    /// Nothing.
    Not {
        /// Why.
        reason: &'static str,
    },
}

/// One kernel. `P` is the parameter struct it takes.
#[derive(Debug)]
pub struct Kernel<P> {
    entry: Entry,
    params: PhantomData<fn(P)>,
}

/// A kernel, whatever it takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) image: &'static Image,
    pub(super) host: Option<HostFunction>,
}

impl Entry {
    pub(super) fn not_built(&self, reason: &'static str) -> DeviceError {
        DeviceError::KernelsNotBuilt { kernel: self.name, file: self.image.source, reason }
    }
}

impl<P> Kernel<P> {
    /// The kernel `name` of `image`.
    ///
    /// # Safety
    /// The function of that name must take one `P` by value, and `host` must run one thread of it.
    pub const unsafe fn new(name: &'static str, image: &'static Image, host: Option<HostFunction>) -> Self {
        Self { entry: Entry { name, image, host }, params: PhantomData }
    }

    /// The function's name.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// The file it is compiled from.
    pub fn image(&self) -> &'static Image {
        self.entry.image
    }

    pub(super) fn entry(&self) -> Entry {
        self.entry
    }

    /// The function that the emulator calls for each thread, in a build with it.
    pub fn host(&self) -> Option<HostFunction> {
        self.entry.host
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;
    use crate::launch::{Executor, Grid};

    static IMAGE: Image = Image { source: "cuda/none/none.cu", built: Built::Not { reason: "there was no nvcc" } };
    // SAFETY: there is no function behind the kernel that could be called.
    static KERNEL: Kernel<u64> = unsafe { Kernel::new("none_f32", &IMAGE, None) };

    #[test]
    fn a_kernel_that_was_not_built_is_an_error_that_says_why() {
        // SAFETY: a kernel without a function reads nothing.
        let launched = unsafe { Executor::emulated(0).launch(&KERNEL, Grid::linear(1, 32), &0) };
        assert!(matches!(launched, Err(DeviceError::KernelsNotBuilt { kernel: "none_f32", .. })));
        let error = KERNEL.entry().not_built("there was no nvcc").to_string();
        assert!(
            error.starts_with("kernel `none_f32` of cuda/none/none.cu was not built: there was no nvcc; "),
            "{error}"
        );
    }

    #[test]
    fn an_empty_grid_launches_nothing() {
        // SAFETY: as above.
        let launched = unsafe { Executor::emulated(0).launch(&KERNEL, Grid::linear(0, 32), &0) };
        assert!(launched.is_ok());
    }
}
