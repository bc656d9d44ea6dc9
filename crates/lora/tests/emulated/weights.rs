//! Base weights as they are stored, on the host and in device memory.

use device::DType;
use device::launch::testing::rounded;
use device::launch::{DeviceBuffer, Executor};
use nf4::{Absmax, Dequantize, NESTED_BLOCK_SIZE, Nf4Shape, Quantize, QuantizeAbsmax, dynamic_map};
use tunesmith_lora::launch;

/// How the base weight is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    OutIn,
    InOut,
    Nf4,
    Nf4Nested,
}

impl Storage {
    pub(crate) fn is_quantized(self) -> bool {
        matches!(self, Storage::Nf4 | Storage::Nf4Nested)
    }
}

/// A weight on the host.
#[derive(Clone, Debug)]
pub(crate) struct Weight {
    pub(crate) storage: Storage,
    /// As it is stored, or dequantized.
    pub(crate) values: Vec<f32>,
    quantized: Option<Quantized>,
}

impl Weight {
    /// `values` as they are stored, with activations in `dtype`.
    pub(crate) fn new(values: Vec<f32>, storage: Storage, dtype: DType) -> Self {
        let quantized = storage.is_quantized().then(|| Quantized::new(&values));
        let dequantized = quantized.as_ref().map(|quantized| quantized.values(storage, dtype));
        Self { storage, values: dequantized.unwrap_or(values), quantized }
    }

    /// The same with other values for the CPU.
    pub(crate) fn with(&self, values: Vec<f32>) -> Self {
        Self { values, ..self.clone() }
    }
}

/// A weight in blocks of 64, with and without double quantization.
#[derive(Clone, Debug)]
struct Quantized {
    shape: Nf4Shape,
    packed: Vec<u8>,
    absmax: Vec<f32>,
    codes: Vec<u8>,
    nested_absmax: Vec<f32>,
    offset: f32,
}

impl Quantized {
    fn new(x: &[f32]) -> Self {
        let shape = Nf4Shape::new(x.len(), 64).unwrap();
        let (mut packed, mut absmax) = (vec![0; shape.packed_len()], vec![0.0; shape.num_blocks()]);
        nf4::quantize(&shape, Quantize { x: x.into(), packed: &mut packed, absmax: &mut absmax }).unwrap();
        let nested_blocks = shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE);
        let (mut codes, mut nested_absmax) = (vec![0; shape.num_blocks()], vec![0.0; nested_blocks]);
        let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
        let offset = nf4::quantize_absmax(args).unwrap();
        Self { shape, packed, absmax, codes, nested_absmax, offset }
    }

    /// As the type of the activations holds them.
    fn values(&self, storage: Storage, dtype: DType) -> Vec<f32> {
        let nested = nf4::NestedAbsmax {
            codes: &self.codes,
            map: dynamic_map(),
            nested_absmax: &self.nested_absmax,
            offset: self.offset,
            nested_block_size: NESTED_BLOCK_SIZE,
        };
        let absmax = if storage == Storage::Nf4 { Absmax::F32(&self.absmax) } else { Absmax::Nested(nested) };
        let mut out = vec![0.0f32; self.shape.num_elements()];
        nf4::dequantize(&self.shape, Dequantize { packed: &self.packed, absmax, first: 0, out: &mut out }).unwrap();
        out.into_iter().map(|value| rounded(dtype, value)).collect()
    }
}

/// A base weight in device memory.
pub(crate) enum WeightBuffers {
    Dense(DeviceBuffer),
    Nf4 { shape: Nf4Shape, packed: DeviceBuffer, absmax: DeviceBuffer },
    Nf4Nested { shape: Nf4Shape, packed: DeviceBuffer, scales: [DeviceBuffer; 4] },
}

impl WeightBuffers {
    pub(crate) fn new(executor: &Executor, dense: impl Fn(&[f32]) -> DeviceBuffer, weight: &Weight) -> Self {
        let f32s = |values: &[f32]| executor.upload(values).unwrap();
        let Some(Quantized { shape, packed, absmax, codes, nested_absmax, offset }) = &weight.quantized else {
            return Self::Dense(dense(&weight.values));
        };
        let (shape, packed) = (*shape, executor.upload(packed).unwrap());
        if weight.storage == Storage::Nf4 {
            return Self::Nf4 { shape, packed, absmax: f32s(absmax) };
        }
        let codes = executor.upload(codes).unwrap();
        Self::Nf4Nested { shape, packed, scales: [codes, f32s(dynamic_map()), f32s(nested_absmax), f32s(&[*offset])] }
    }

    /// What a launch takes of `weight`, which has these output and input features.
    pub(crate) fn view(&self, weight: &Weight, sizes: [usize; 2], dtype: DType) -> launch::Weight<'_> {
        let matrix = |shape, packed, absmax| {
            let blocks = nf4::launch::Blocks { shape, packed, absmax, dtype };
            launch::Weight::Nf4(nf4::launch::Matrix::new(blocks, sizes).unwrap())
        };
        match self {
            Self::Dense(buffer) => launch::Weight::Dense { buffer, transposed: weight.storage == Storage::InOut },
            Self::Nf4 { shape, packed, absmax } => matrix(*shape, packed, nf4::launch::Absmax::F32(absmax)),
            Self::Nf4Nested { shape, packed, scales: [codes, map, nested_absmax, offset] } => {
                let nested_block_size = NESTED_BLOCK_SIZE;
                let nested = nf4::launch::NestedAbsmax { codes, map, nested_absmax, offset, nested_block_size };
                matrix(*shape, packed, nf4::launch::Absmax::Nested(nested))
            }
        }
    }
}
