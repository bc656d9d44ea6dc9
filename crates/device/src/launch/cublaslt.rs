//! NVIDIA's matrix product, as what ours is measured against. The library is looked for when it is used, and nothing but
//! benchmarks uses it.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::{DeviceBuffer, Executor};
use crate::DeviceError;

/// Memory that an algorithm may use: what the library's guide gives for Hopper.
const WORKSPACE_BYTES: usize = 32 << 20;

/// `C [m, n] = A [m, k] B` of row-major bf16 matrices without gaps, summed in f32. `B` is `[k, n]`, or `[n, k]` if it is
/// transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// Rows of `A` and `C`.
    pub m: usize,
    /// Columns of `C`.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// Whether `B` is stored `[n, k]`.
    pub b_transposed: bool,
}

/// cuBLASLt on an executor's stream. What it chooses for a product is kept.
#[derive(Debug)]
pub struct CublasLt {
    executor: Executor,
    handle: sys::cublasLtHandle_t,
    workspace: DeviceBuffer,
    plans: HashMap<Product, Plan>,
}

/// Descriptors of a product and the algorithm that the library's heuristic ranks first.
#[derive(Debug)]
struct Plan {
    product: sys::cublasLtMatmulDesc_t,
    /// Of the first operand, the second, and the result, as the library sees them.
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl CublasLt {
    /// # Errors
    /// [`DeviceError::Unavailable`] where the library is not installed or `executor` is no GPU, [`DeviceError::Cublas`] if it
    /// fails.
    pub fn new(executor: &Executor) -> Result<Self, DeviceError> {
        let unavailable =
            |reason: &str| DeviceError::Unavailable { device: "cublaslt".into(), reason: reason.to_owned() };
        executor.0.kind.cuda().ok_or_else(|| unavailable("it runs on a GPU only"))?;
        // SAFETY: looks for the shared library only; cudarc panics where it is absent, so this comes first.
        if !unsafe { sys::is_culib_present() } {
            return Err(unavailable("libcublasLt was not found; install nvidia-cublas or the CUDA toolkit"));
        }
        let workspace = executor.allocate(WORKSPACE_BYTES)?;
        let handle = result::create_handle().map_err(|error| failed("opening it", error))?;
        Ok(Self { executor: executor.clone(), handle, workspace, plans: HashMap::new() })
    }

    /// Starts a product.
    ///
    /// # Errors
    /// [`DeviceError::BufferLength`] for an operand that does not have its shape, [`DeviceError::MixedExecutors`] for one of
    /// another executor, [`DeviceError::Cublas`] for what the library refuses.
    pub fn gemm(
        &mut self,
        product: Product,
        a: &DeviceBuffer,
        b: &DeviceBuffer,
        c: &mut DeviceBuffer,
    ) -> Result<(), DeviceError> {
        let Product { m, n, k, .. } = product;
        for (buffer, len) in [(a, m * k), (b, k * n), (&*c, m * n)] {
            if !buffer.executor().is(&self.executor) {
                return Err(DeviceError::MixedExecutors);
            }
            if buffer.len_bytes() != 2 * len {
                return Err(DeviceError::BufferLength { buffer: buffer.len_bytes(), host: 2 * len });
            }
        }
        if !self.plans.contains_key(&product) {
            let plan = Plan::new(self.handle, product).map_err(|error| failed("planning a product", error))?;
            self.plans.insert(product, plan);
        }
        self.executor.start_collected()?;
        let Some(cuda) = self.executor.0.kind.cuda() else { return Err(DeviceError::MixedExecutors) };
        let (plan, stream) = (&self.plans[&product], cuda.bound_stream()?);
        let [first, second, out] = plan.layouts;
        let (one, zero) = (1.0f32, 0.0f32);
        let pointer = |buffer: &DeviceBuffer| buffer.address() as *const c_void;
        let to = c.address() as *mut c_void;
        let workspace = self.workspace.address() as *mut c_void;
        // SAFETY: the buffers are live and have the lengths that the layouts say, as checked above; descriptors live as long
        // as the plan, and the workspace is used in the stream's order.
        unsafe {
            result::matmul(
                self.handle,
                plan.product,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                pointer(b),
                first,
                pointer(a),
                second,
                to.cast_const(),
                out,
                to,
                out,
                &raw const plan.algorithm,
                workspace,
                WORKSPACE_BYTES,
                stream.cast(),
            )
        }
        .map_err(|error| failed("starting a product", error))
    }
}

impl Drop for CublasLt {
    fn drop(&mut self) {
        self.plans.clear();
        // SAFETY: created in `new` and dropped once. An error here has nobody to go to.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Plan {
    /// The library's matrices are column-major, so it is asked for `C^T = B^T A^T`.
    fn new(handle: sys::cublasLtHandle_t, product: Product) -> Result<Self, CublasError> {
        let Product { m, n, k, b_transposed } = product;
        let [m, n, k] = [m, n, k].map(|size| size as u64);
        let matrix = |rows, cols| result::create_matrix_layout(sys::cudaDataType::CUDA_R_16BF, rows, cols, rows as i64);
        let layouts = [if b_transposed { matrix(k, n)? } else { matrix(n, k)? }, matrix(k, m)?, matrix(n, m)?];
        let desc =
            result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F)?;
        let transposed = i32::from(b_transposed);
        let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        // SAFETY: the attribute is a 32-bit integer.
        unsafe { result::set_matmul_desc_attribute(desc, attribute, (&raw const transposed).cast(), 4)? };
        let preference = result::create_matmul_pref()?;
        let attribute = sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
        let workspace_bytes = WORKSPACE_BYTES as u64;
        // SAFETY: the attribute is a 64-bit integer.
        unsafe {
            result::set_matmul_pref_attribute(preference, attribute, (&raw const workspace_bytes).cast(), 8)?;
        }
        let [first, second, out] = layouts;
        // SAFETY: all descriptors were just created.
        let found = unsafe { result::get_matmul_algo_heuristic(handle, desc, first, second, out, out, preference) };
        // SAFETY: created above, and not used again.
        unsafe { result::destroy_matmul_pref(preference)? };
        Ok(Self { product: desc, layouts, algorithm: found?.algo })
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: created in `new` and dropped once, as the layouts.
        let _ = unsafe { result::destroy_matmul_desc(self.product) };
        for layout in self.layouts {
            // SAFETY: as above.
            let _ = unsafe { result::destroy_matrix_layout(layout) };
        }
    }
}

fn failed(action: &'static str, error: CublasError) -> DeviceError {
    DeviceError::Cublas { action, status: error.to_string() }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;

    #[test]
    fn the_emulator_has_no_cublaslt() {
        let refused = CublasLt::new(&Executor::emulated(0)).unwrap_err();
        assert!(refused.to_string().contains("runs on a GPU only"), "{refused}");
    }
}
