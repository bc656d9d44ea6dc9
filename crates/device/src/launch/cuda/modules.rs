//! Kernels as the driver knows them: images loaded when their first kernel is launched, and kept.

use std::collections::HashMap;
use std::ffi::CString;

use cudarc::driver::{result, sys};

use super::error;
use super::image::Bytes;
use crate::DeviceError;
use crate::cuda::{Gpu, driver_version};
use crate::launch::Image;
use crate::launch::kernel::Entry;

/// What is loaded.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// By the image's address: images are statics.
    modules: HashMap<usize, sys::CUmodule>,
    functions: HashMap<&'static str, sys::CUfunction>,
    /// The kernel launched last, which an asynchronous error most likely comes from.
    latest: Option<&'static str>,
}

// SAFETY: module and function handles are addresses inside the driver, which may be used from any thread.
unsafe impl Send for Modules {}

impl Modules {
    /// The kernel launched last.
    pub(super) fn latest(&self) -> Option<&'static str> {
        self.latest
    }

    /// Notes which kernel is launched last.
    pub(super) fn launching(&mut self, kernel: &'static str) {
        self.latest = Some(kernel);
    }

    /// The function of a kernel whose parameter struct has `params` bytes.
    pub(super) fn function(
        &mut self,
        kernel: &Entry,
        params: usize,
        gpu: &Gpu,
    ) -> Result<sys::CUfunction, DeviceError> {
        if let Some(&function) = self.functions.get(kernel.name) {
            return Ok(function);
        }
        let bytes = Bytes::of(kernel)?;
        let image: *const Image = kernel.image;
        let module = match self.modules.get(&(image as usize)) {
            Some(&module) => module,
            None => {
                let module = load(kernel, &bytes, gpu)?;
                self.modules.insert(image as usize, module);
                module
            }
        };
        let name = CString::new(kernel.name).unwrap_or_default();
        // SAFETY: the module was just loaded or found among the loaded ones, which stay.
        let function = unsafe { result::module::get_function(module, name) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_NOT_FOUND => bytes.refused(kernel.name, "it has no such kernel".to_owned()),
            _ => error::driver("looking up a kernel", Some(kernel.name), error),
        })?;
        let takes = parameter_bytes(function)
            .map_err(|error| error::driver("reading a kernel's parameters", Some(kernel.name), error))?;
        if takes != params {
            let problem = format!("its parameters have {takes} bytes, those of this program {params}");
            return Err(bytes.refused(kernel.name, problem));
        }
        self.functions.insert(kernel.name, function);
        Ok(function)
    }
}

fn load(kernel: &Entry, bytes: &Bytes, gpu: &Gpu) -> Result<sys::CUmodule, DeviceError> {
    let words = bytes.words();
    // SAFETY: the image is what nvcc wrote, whole and aligned; the driver copies what it keeps.
    unsafe { result::module::load_data(words.as_ptr().cast()) }.map_err(|error| {
        error::loading(error.0, kernel.name, bytes, gpu, driver_version().unwrap_or_default())
            .unwrap_or_else(|| error::driver("loading kernels", Some(kernel.name), error))
    })
}

/// How long the one parameter of `function` is.
fn parameter_bytes(function: sys::CUfunction) -> Result<usize, cudarc::driver::DriverError> {
    let (mut offset, mut size) = (0, 0);
    // SAFETY: the function is loaded, and both numbers are written before the call returns.
    unsafe { sys::cuFuncGetParamInfo(function, 0, &raw mut offset, &raw mut size) }.result()?;
    Ok(size)
}
