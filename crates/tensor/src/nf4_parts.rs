//! What a matrix in NormalFloat4 blocks consists of in the CPU's memory.

use std::sync::Arc;

use device::{Device, DeviceError, SharedBytes};
use nf4::{Absmax, NESTED_BLOCK_SIZE, NestedAbsmax, QuantizeAbsmax, dynamic_map, quantize_absmax};

use crate::{Result, TensorError};

/// What errors name.
pub(crate) const OP: &str = "nf4_matrix";

/// What a quantized matrix consists of.
#[derive(Clone, Debug)]
pub struct Nf4Parts {
    /// Elements of a block (bitsandbytes: `blocksize`).
    pub block_size: usize,
    /// Codes, two to a byte, row by row, the even element in the high half.
    pub packed: SharedBytes,
    /// Largest magnitude of each block.
    pub absmax: Nf4Absmax,
}

/// The largest magnitudes of the blocks.
#[derive(Clone, Debug)]
pub enum Nf4Absmax {
    /// In f32.
    F32(Vec<f32>),
    /// Quantized themselves: double quantization.
    Nested {
        /// A code for each block.
        codes: SharedBytes,
        /// What the codes stand for (bitsandbytes: `nested_quant_map`).
        map: Box<[f32; 256]>,
        /// Largest magnitude of each nested block.
        nested_absmax: Vec<f32>,
        /// What was subtracted from every value.
        offset: f32,
        /// Codes of a nested block (bitsandbytes: `nested_blocksize`).
        nested_block_size: usize,
    },
}

impl Nf4Absmax {
    /// Quantizes the magnitudes themselves.
    pub(crate) fn quantize(absmax: &[f32]) -> Result<Self> {
        let (mut codes, mut nested_absmax) = (zeros(absmax.len())?, zeros(absmax.len().div_ceil(NESTED_BLOCK_SIZE))?);
        let args = QuantizeAbsmax { absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
        let offset = quantize_absmax(args).map_err(TensorError::kernel(OP))?;
        let map = Box::new(*dynamic_map());
        let codes = shared(codes);
        Ok(Self::Nested { codes, map, nested_absmax, offset, nested_block_size: NESTED_BLOCK_SIZE })
    }

    /// Bytes that they take in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::F32(absmax) => size_of_val(&absmax[..]),
            Self::Nested { codes, map, nested_absmax, .. } => {
                codes.as_slice().len() + size_of_val(&map[..]) + size_of_val(&nested_absmax[..])
            }
        }
    }

    /// As functions on slices take them.
    pub(crate) fn as_absmax(&self) -> Absmax<'_> {
        match self {
            Self::F32(absmax) => Absmax::F32(absmax),
            Self::Nested { codes, map, nested_absmax, offset, nested_block_size } => Absmax::Nested(NestedAbsmax {
                codes: codes.as_slice(),
                map,
                nested_absmax,
                offset: *offset,
                nested_block_size: *nested_block_size,
            }),
        }
    }
}

/// Zeros, or an error where there is no memory for them.
pub(crate) fn zeros<T: Clone + Default>(len: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let bytes = len.saturating_mul(size_of::<T>());
    values.try_reserve_exact(len).map_err(|_| DeviceError::OutOfMemory { device: Device::Cpu.to_string(), bytes })?;
    values.resize(len, T::default());
    Ok(values)
}

/// Bytes of their own.
pub(crate) fn shared(bytes: Vec<u8>) -> SharedBytes {
    let len = bytes.len();
    SharedBytes::new(Arc::new(bytes), 0, len).expect("all of its own bytes")
}
