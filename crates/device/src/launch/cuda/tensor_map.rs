//! Descriptors of the tensor memory accelerator.

use std::ffi::c_void;

use cudarc::driver::sys;

use super::Cuda;
use crate::DeviceError;
use crate::launch::{TensorMap, TiledMatrix};

impl Cuda {
    pub(in crate::launch) fn tensor_map(&self, address: u64, matrix: TiledMatrix) -> Result<TensorMap, DeviceError> {
        self.bind()?;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let dims = [matrix.cols as u64, matrix.rows as u64];
        let strides = [matrix.stride_bytes()];
        let (boxes, steps) = ([TiledMatrix::BOX_COLS, matrix.box_rows], [1, 1]);
        // SAFETY: every array is as long as the rank of 2 asks for. The driver reads no device memory.
        let encoded = unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                2,
                address as *mut c_void,
                dims.as_ptr(),
                strides.as_ptr(),
                boxes.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        encoded.result().map_err(|error| self.failed("describing a matrix to the tensor memory accelerator", error))?;
        Ok(map.opaque)
    }
}
