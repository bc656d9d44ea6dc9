//! A frozen matrix in NormalFloat4 blocks, as bitsandbytes' `Linear4bit` holds its weight.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use device::launch::Executor;
use device::{Buffer, DType, Device};
use gemm::{Expand, Matrix, Window};
use nf4::{CODEBOOK, NESTED_BLOCK_SIZE, Nf4Error, Nf4Shape, Operand, Quantize, quantize};

use crate::nf4_memory::Nf4Memory;
use crate::nf4_parts::{Nf4Absmax, Nf4Parts, OP, shared, zeros};
use crate::{Result, Tensor, TensorError};

/// A quantized matrix. Cloning shares it. Products read its blocks where they are, so it is never dense in memory.
///
/// Its values are `CODEBOOK[code] absmax` in f32, rounded to [`Nf4Matrix::dtype`]: those of bitsandbytes where that is what
/// it computes with.
#[derive(Clone)]
pub struct Nf4Matrix(Arc<Inner>);

struct Inner {
    rows: usize,
    columns: usize,
    dtype: DType,
    shape: Nf4Shape,
    /// On the CPU; of a matrix that was quantized on a device, copied from there when they are first asked for.
    parts: OnceLock<Nf4Parts>,
    /// What kernels read; of a matrix in the CPU's memory, copied when it is first asked for.
    on_device: Mutex<Option<(Device, Arc<Nf4Memory>)>>,
}

impl Nf4Matrix {
    /// Elements of a block that [`Nf4Matrix::quantize`] makes: transformers' choice.
    pub const BLOCK_SIZE: usize = 64;
    /// What the codes stand for, in units of their block's scale.
    pub const CODEBOOK: [f32; 16] = CODEBOOK;

    /// A matrix `[rows, columns]` of quantized blocks, whose values are rounded to `dtype`.
    ///
    /// # Errors
    /// [`TensorError::Kernel`] for a block size that does not exist or a part of another length than the sizes ask for.
    pub fn new([rows, columns]: [usize; 2], dtype: DType, parts: Nf4Parts) -> Result<Self> {
        let kernel = TensorError::kernel(OP);
        let shape = Nf4Shape::new(rows.saturating_mul(columns), parts.block_size).map_err(&kernel)?;
        let on_device = Mutex::default();
        let inner = Inner { rows, columns, dtype, shape, parts: OnceLock::from(parts), on_device };
        inner.operand()?.map_err(&kernel)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Quantizes a matrix where it is, as bitsandbytes does, with `double_quant` the largest magnitudes too. Its values are
    /// rounded to `dtype`. Codes and scales are the same bits on every device, which none waits for.
    ///
    /// # Errors
    /// [`TensorError::Shape`] if `tensor` is no matrix; [`TensorError::Device`] without memory.
    pub fn quantize(tensor: &Tensor, dtype: DType, double_quant: bool) -> Result<Self> {
        let (rows, columns) = tensor.matrix_shape(OP, "tensor")?;
        let shape = Nf4Shape::new(tensor.count(), Self::BLOCK_SIZE).map_err(TensorError::kernel(OP))?;
        if tensor.device() != Device::Cpu {
            let memory = Nf4Memory::quantize([rows, columns], shape, dtype, tensor, double_quant)?;
            let on_device = Mutex::new(Some((tensor.device(), Arc::new(memory))));
            return Ok(Self(Arc::new(Inner { rows, columns, dtype, shape, parts: OnceLock::new(), on_device })));
        }
        let (mut packed, mut absmax) = (zeros(shape.packed_len())?, zeros(shape.num_blocks())?);
        let read = tensor.read();
        let args = Quantize { x: read.elements(), packed: &mut packed, absmax: &mut absmax };
        quantize(&shape, args).map_err(TensorError::kernel(OP))?;
        let absmax = if double_quant { Nf4Absmax::quantize(&absmax)? } else { Nf4Absmax::F32(absmax) };
        Self::new([rows, columns], dtype, Nf4Parts { block_size: Self::BLOCK_SIZE, packed: shared(packed), absmax })
    }

    /// Sizes as stored.
    pub fn shape(&self) -> [usize; 2] {
        [self.0.rows, self.0.columns]
    }

    /// What its values are rounded to.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// What it consists of. Waits for the device that it was quantized on, the first time.
    ///
    /// # Errors
    /// [`TensorError::Device`] if that device fails.
    pub fn parts(&self) -> Result<&Nf4Parts> {
        self.0.parts()
    }

    /// Bytes that it takes in memory.
    pub fn size_bytes(&self) -> usize {
        match (self.0.parts.get(), &*self.0.on_device()) {
            (Some(Nf4Parts { packed, absmax, .. }), _) => packed.as_slice().len() + absmax.size_bytes(),
            (None, on_device) => on_device.as_ref().map_or(0, |(_, memory)| memory.size_bytes()),
        }
    }

    /// Bytes that [`Nf4Matrix::quantize`] makes of `count` elements.
    pub fn planned_bytes(count: usize, double_quant: bool) -> usize {
        let blocks = count.div_ceil(Self::BLOCK_SIZE);
        let scales = if double_quant {
            blocks + size_of::<[f32; 256]>() + size_of::<f32>() * blocks.div_ceil(NESTED_BLOCK_SIZE)
        } else {
            size_of::<f32>() * blocks
        };
        count.div_ceil(2) + scales
    }

    /// All of its values, in [`Nf4Matrix::dtype`].
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory.
    pub fn dequantize(&self) -> Result<Tensor> {
        let mut buffer = Buffer::scratch(Device::Cpu, self.dtype(), self.0.rows * self.0.columns)?;
        let len = buffer.len();
        if len > 0 {
            let values = buffer.elements_mut()?;
            self.with_operand(|operand| operand.expand(Window { first: 0, row_len: len, row_stride: len }, values))?;
        }
        Tensor::new(self.shape(), buffer)
    }

    /// The first element of a block whose scale makes its values infinite or NaN, with that scale.
    ///
    /// # Errors
    /// As [`Nf4Matrix::parts`].
    pub fn first_non_finite(&self) -> Result<Option<(usize, f32)>> {
        let Nf4Parts { block_size, absmax, .. } = self.parts()?;
        let (block_size, absmax) = (*block_size, absmax.as_absmax());
        let blocks = 0..(self.0.rows * self.0.columns).div_ceil(block_size);
        let limit = match self.dtype() {
            DType::F32 => f32::MAX,
            DType::BF16 => half::bf16::MAX.to_f32(),
            DType::F16 => half::f16::MAX.to_f32(),
        };
        let is_finite = |scale: f32| scale.abs() <= limit;
        Ok(blocks.map(|block| (block * block_size, absmax.get(block))).find(|(_, scale)| !is_finite(*scale)))
    }

    /// It in the memory of `device`, copied there once.
    ///
    /// # Errors
    /// [`TensorError::Device`] without memory or for a device that is not there.
    pub(crate) fn on_device(&self, device: Device) -> Result<Arc<Nf4Memory>> {
        if let Some((_, memory)) = self.0.on_device().as_ref().filter(|(place, _)| *place == device) {
            return Ok(Arc::clone(memory));
        }
        let parts = self.parts()?;
        let Inner { rows, columns, dtype, shape, .. } = &*self.0;
        let executor = Executor::for_device(device)?;
        let memory = Arc::new(Nf4Memory::upload(&executor, [*rows, *columns], *shape, *dtype, parts)?);
        *self.0.on_device() = Some((device, Arc::clone(&memory)));
        Ok(memory)
    }

    /// Runs `body` on the matrix as it is stored.
    pub(crate) fn with_matrix<R>(&self, body: impl FnOnce(Matrix<'_>) -> R) -> Result<R> {
        self.with_operand(|operand| body(Matrix::expanded(operand, self.0.rows, self.0.columns)))
    }

    fn with_operand<R>(&self, body: impl FnOnce(&Operand<'_>) -> R) -> Result<R> {
        Ok(body(&self.0.operand()?.map_err(TensorError::kernel(OP))?))
    }
}

impl Inner {
    fn on_device(&self) -> MutexGuard<'_, Option<(Device, Arc<Nf4Memory>)>> {
        // What is in there is whole whatever has panicked.
        self.on_device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&self) -> Result<&Nf4Parts> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let on_device = self.on_device();
        let (_, memory) = on_device.as_ref().expect("a matrix that is not on the CPU was quantized on a device");
        let parts = memory.download()?;
        Ok(self.parts.get_or_init(|| parts))
    }

    fn operand(&self) -> Result<Result<Operand<'_>, Nf4Error>> {
        let Nf4Parts { packed, absmax, .. } = self.parts()?;
        Ok(Operand::new(&self.shape, packed.as_slice(), absmax.as_absmax(), self.dtype))
    }
}

impl std::fmt::Debug for Nf4Matrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nf4Matrix({:?} {})", self.shape(), self.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(double_quant: bool) -> Nf4Matrix {
        let values: Vec<f32> = (0..6 * 40).map(|i| (i as f32 * 0.7).sin() * 0.1).collect();
        Nf4Matrix::quantize(&Tensor::from_f32([6, 40], &values).unwrap(), DType::F32, double_quant).unwrap()
    }

    #[test]
    fn it_takes_about_half_a_byte_an_element() {
        // 120 bytes of codes and 4 scales of 4 bytes; or 4 codes of scales, their table and one nested scale.
        assert_eq!((matrix(false).size_bytes(), matrix(true).size_bytes()), (120 + 16, 120 + 4 + 1024 + 4));
        for double_quant in [false, true] {
            assert_eq!(matrix(double_quant).size_bytes(), Nf4Matrix::planned_bytes(6 * 40, double_quant));
        }
        let expected = (0..6 * 40).map(|i| (i as f32 * 0.7).sin() * 0.1);
        for (got, expected) in matrix(false).dequantize().unwrap().to_vec().into_iter().zip(expected) {
            // Half the widest gap of the codebook, in units of the largest magnitude.
            assert!((got - expected).abs() <= 0.152 * 0.1, "{got} {expected}");
        }
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let parts = matrix(false).parts().unwrap().clone();
        let error = Nf4Matrix::new([6, 41], DType::F32, parts.clone()).unwrap_err().to_string();
        assert_eq!(error, "nf4_matrix: nf4: `packed` holds 120 elements, expected 123");
        let error = Nf4Matrix::new([usize::MAX, 40], DType::F32, parts.clone()).unwrap_err();
        assert!(matches!(error, TensorError::Kernel { .. }), "{error}");
        let error = Nf4Matrix::new([6, 40], DType::F32, Nf4Parts { block_size: 48, ..parts }).unwrap_err();
        assert!(error.to_string().contains("blocks of 48 elements"), "{error}");
    }

    #[test]
    fn scales_that_are_no_numbers_are_found() {
        let with = |scale: f32, dtype| {
            let parts = Nf4Parts {
                absmax: Nf4Absmax::F32(vec![0.1, 0.1, scale, 0.1]),
                ..matrix(false).parts().unwrap().clone()
            };
            Nf4Matrix::new([6, 40], dtype, parts).unwrap().first_non_finite().unwrap()
        };
        assert!(matches!(with(f32::NAN, DType::F32), Some((128, scale)) if scale.is_nan()));
        assert_eq!(with(f32::INFINITY, DType::BF16), Some((128, f32::INFINITY)));
        assert_eq!((with(1e5, DType::F32), with(1e5, DType::F16)), (None, Some((128, 1e5))));
        assert_eq!(matrix(true).first_non_finite().unwrap(), None);
    }

    /// Values of every magnitude, a block of zeros, a short last block, and more blocks than one nested block has.
    #[cfg(feature = "emulator")]
    #[test]
    fn a_device_makes_the_same_codes_and_scales() {
        let values: Vec<f32> =
            (0..130 * 129).map(|i| if i / 64 == 7 { 0.0 } else { (i as f32 * 0.7).sin() * (i % 13) as f32 }).collect();
        let on_cpu = Tensor::from_f32([130, 129], &values).unwrap();
        for (stored, double_quant) in [(DType::F32, false), (DType::F32, true), (DType::BF16, true), (DType::F16, true)]
        {
            let rounded = |x: &f32| match stored {
                DType::F32 => *x,
                DType::BF16 => half::bf16::from_f32(*x).to_f32(),
                DType::F16 => half::f16::from_f32(*x).to_f32(),
            };
            let rounded: Vec<f32> = values.iter().map(rounded).collect();
            let expected = Tensor::from_f32([130, 129], &rounded).unwrap();
            let expected = Nf4Matrix::quantize(&expected, DType::BF16, double_quant).unwrap();
            let of_file = match stored {
                DType::F32 => on_cpu.clone(),
                DType::BF16 => Tensor::new([130, 129], crate::saved::narrowed(&values).unwrap()).unwrap(),
                DType::F16 => {
                    let bytes = rounded.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
                    Tensor::frozen([130, 129], DType::F16, shared(bytes)).unwrap()
                }
            };
            let moved =
                of_file.to_device(Device::Emulated, if stored == DType::F16 { DType::F32 } else { stored }).unwrap();
            let got = Nf4Matrix::quantize(&moved, DType::BF16, double_quant).unwrap();
            assert_eq!(got.size_bytes(), expected.size_bytes());
            let (got, expected) = (got.parts().unwrap(), expected.parts().unwrap());
            assert!(got.packed.as_slice() == expected.packed.as_slice(), "{stored} {double_quant}");
            match (&got.absmax, &expected.absmax) {
                (Nf4Absmax::F32(got), Nf4Absmax::F32(expected)) => assert_eq!(got, expected),
                (
                    Nf4Absmax::Nested { codes, map, nested_absmax, offset, nested_block_size },
                    Nf4Absmax::Nested { codes: c, map: m, nested_absmax: n, offset: o, nested_block_size: b },
                ) => {
                    assert!(codes.as_slice() == c.as_slice() && map == m, "{stored}");
                    assert_eq!((nested_absmax, offset, nested_block_size), (n, o, b));
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
