//! A tensor quantized on the host, and the same on a device.

use device::launch::{DeviceBuffer, Executor, testing};
use device::{DType, Elements};
use tunesmith_nf4::{
    Absmax, Dequantize, NESTED_BLOCK_SIZE, NestedAbsmax, Nf4Shape, Quantize, QuantizeAbsmax, dequantize, dynamic_map,
    launch, quantize, quantize_absmax,
};

/// The same bytes, `by` behind the start of another buffer.
pub(crate) fn shifted(buffer: &DeviceBuffer, by: usize) -> DeviceBuffer {
    let len = buffer.len_bytes();
    let mut to = buffer.executor().allocate(by + len).unwrap().view(by..by + len);
    to.copy_from(buffer).unwrap();
    to
}

/// A quantized tensor on the host, with and without double quantization.
pub(crate) struct Quantized {
    pub(crate) shape: Nf4Shape,
    pub(crate) packed: Vec<u8>,
    pub(crate) absmax: Vec<f32>,
    pub(crate) codes: Vec<u8>,
    pub(crate) nested_absmax: Vec<f32>,
    pub(crate) offset: f32,
}

impl Quantized {
    pub(crate) fn new(x: &[f32], block_size: usize) -> Self {
        let shape = Nf4Shape::new(x.len(), block_size).unwrap();
        let (mut packed, mut absmax) = (vec![0; shape.packed_len()], vec![0.0; shape.num_blocks()]);
        quantize(&shape, Quantize { x: Elements::F32(x), packed: &mut packed, absmax: &mut absmax }).unwrap();
        let nested_blocks = shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE);
        let (mut codes, mut nested_absmax) = (vec![0; shape.num_blocks()], vec![0.0; nested_blocks]);
        let args = QuantizeAbsmax { absmax: &absmax, codes: &mut codes, nested_absmax: &mut nested_absmax };
        let offset = quantize_absmax(args).unwrap();
        Self { shape, packed, absmax, codes, nested_absmax, offset }
    }

    fn absmax(&self, nested: bool) -> Absmax<'_> {
        match nested {
            false => Absmax::F32(&self.absmax),
            true => Absmax::Nested(NestedAbsmax {
                codes: &self.codes,
                map: dynamic_map(),
                nested_absmax: &self.nested_absmax,
                offset: self.offset,
                nested_block_size: NESTED_BLOCK_SIZE,
            }),
        }
    }

    /// The values, rounded to `rounded` and then to `dtype`.
    pub(crate) fn values(&self, nested: bool, rounded: DType, dtype: DType) -> Vec<f32> {
        let mut out = vec![0.0f32; self.shape.num_elements()];
        let args = Dequantize { packed: &self.packed, absmax: self.absmax(nested), first: 0, out: &mut out };
        dequantize(&self.shape, args).unwrap();
        out.iter_mut().for_each(|x| *x = testing::rounded(dtype, testing::rounded(rounded, *x)));
        out
    }

    pub(crate) fn upload(&self, executor: &Executor) -> OnDevice {
        let bytes = |values: &[u8]| executor.upload(values).unwrap();
        let f32s = |values: &[f32]| executor.upload(values).unwrap();
        OnDevice {
            shape: self.shape,
            packed: bytes(&self.packed),
            absmax: f32s(&self.absmax),
            codes: bytes(&self.codes),
            map: f32s(dynamic_map()),
            nested_absmax: f32s(&self.nested_absmax),
            offset: f32s(&[self.offset]),
        }
    }
}

/// The same in device memory.
pub(crate) struct OnDevice {
    pub(crate) shape: Nf4Shape,
    pub(crate) packed: DeviceBuffer,
    pub(crate) absmax: DeviceBuffer,
    pub(crate) codes: DeviceBuffer,
    pub(crate) map: DeviceBuffer,
    pub(crate) nested_absmax: DeviceBuffer,
    pub(crate) offset: DeviceBuffer,
}

impl OnDevice {
    /// Room for a tensor of `shape`, with the map.
    pub(crate) fn empty(executor: &Executor, shape: Nf4Shape) -> Self {
        let room = |len: usize| executor.allocate(len).unwrap();
        Self {
            shape,
            packed: room(shape.packed_len()),
            absmax: room(4 * shape.num_blocks()),
            codes: room(shape.num_blocks()),
            map: executor.upload(dynamic_map()).unwrap(),
            nested_absmax: room(4 * shape.num_blocks().div_ceil(NESTED_BLOCK_SIZE)),
            offset: room(4),
        }
    }

    pub(crate) fn blocks(&self, nested: bool, dtype: DType) -> launch::Blocks<'_> {
        let absmax = match nested {
            false => launch::Absmax::F32(&self.absmax),
            true => launch::Absmax::Nested(launch::NestedAbsmax {
                codes: &self.codes,
                map: &self.map,
                nested_absmax: &self.nested_absmax,
                offset: &self.offset,
                nested_block_size: NESTED_BLOCK_SIZE,
            }),
        };
        launch::Blocks { shape: self.shape, packed: &self.packed, absmax, dtype }
    }
}
