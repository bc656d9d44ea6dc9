//! A parameter of the base as it is held.

use device::launch::Staging;
use device::{Buffer, DType, Device, Element, Elements, parallel};
use tensor::{Int8Matrix, Layout, Nf4Matrix, Result, Tensor, TensorError, Weight};

/// The values of one parameter.
#[derive(Clone)]
pub(crate) enum Stored {
    /// Every element by itself, in the parameter's shape.
    Dense(Tensor),
    /// The weight of a linear module in quantized blocks: `[out_features, in_features]` whatever the module's layout, as
    /// bitsandbytes has it.
    Nf4(Nf4Matrix),
    /// The same in 8-bit integers.
    Int8(Int8Matrix),
}

impl Stored {
    /// The tensor of a parameter that is no linear module's weight.
    ///
    /// # Panics
    /// If it is quantized: those that are were chosen among the weights of linear modules.
    pub(crate) fn dense(&self) -> &Tensor {
        match self {
            Stored::Dense(tensor) => tensor,
            Stored::Nf4(matrix) => panic!("only the weight of a linear module is quantized, not {matrix:?}"),
            Stored::Int8(matrix) => panic!("only the weight of a linear module is quantized, not {matrix:?}"),
        }
    }

    /// The weight of a linear module of this layout.
    pub(crate) fn weight(&self, layout: Layout) -> Result<Weight> {
        match self {
            Stored::Dense(tensor) => Weight::dense(tensor.clone(), layout),
            Stored::Nf4(matrix) => Ok(Weight::Nf4(matrix.clone())),
            Stored::Int8(matrix) => Ok(Weight::Int8(matrix.clone())),
        }
    }

    /// The values in the parameter's shape, `layout` being that of its module: shared if they are dense, else a copy.
    pub(crate) fn to_dense(&self, layout: Layout) -> Result<Tensor> {
        match (self, layout) {
            (Stored::Dense(tensor), _) => Ok(tensor.clone()),
            (Stored::Nf4(matrix), Layout::OutIn) => matrix.dequantize(),
            (Stored::Nf4(matrix), Layout::InOut) => transposed(&matrix.dequantize()?),
            (Stored::Int8(matrix), Layout::OutIn) => matrix.dequantize(),
            (Stored::Int8(matrix), Layout::InOut) => transposed(&matrix.dequantize()?),
        }
    }

    /// Whether both are the same values in memory.
    pub(crate) fn shares(&self, other: &Self) -> bool {
        matches!((self, other), (Stored::Dense(one), Stored::Dense(two)) if one.is(two))
    }

    /// A copy in `dtype` on a device; quantized blocks stay where they are until they are first used, and integers are multiplied
    /// on the CPU alone.
    pub(crate) fn to_device(&self, staging: &mut Staging, dtype: DType) -> Result<Self> {
        match self {
            Stored::Dense(tensor) => Ok(Stored::Dense(tensor.to_device_through(staging, dtype)?)),
            Stored::Nf4(matrix) => Ok(Stored::Nf4(matrix.clone())),
            Stored::Int8(_) => {
                Err(TensorError::NoKernel { op: "a product of 8-bit integers", device: staging.device() })
            }
        }
    }

    /// The weight of a linear module of this layout in quantized blocks, whose values are rounded to `dtype`, where `staging`
    /// copies to: the dense weight is there only until it is quantized. Kernels quantize f32 and bf16, and every f16 is an f32.
    pub(crate) fn quantized_on_device(
        &self,
        layout: Layout,
        staging: &mut Staging,
        dtype: DType,
        double_quant: bool,
    ) -> Result<Self> {
        let dense = match (self, layout) {
            (Stored::Nf4(_), _) => return Ok(self.clone()),
            (Stored::Int8(_), _) => return self.to_device(staging, dtype),
            (Stored::Dense(tensor), Layout::OutIn) => tensor.clone(),
            (Stored::Dense(tensor), Layout::InOut) => transposed(tensor)?,
        };
        let stored = if dense.dtype() == DType::F16 { DType::F32 } else { dense.dtype() };
        Ok(Stored::Nf4(Nf4Matrix::quantize(&dense.to_device_through(staging, stored)?, dtype, double_quant)?))
    }

    /// Bytes that the values take.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Stored::Dense(tensor) => tensor.count() * tensor.dtype().size_bytes(),
            Stored::Nf4(matrix) => matrix.size_bytes(),
            Stored::Int8(matrix) => matrix.size_bytes(),
        }
    }
}

/// The transpose of a matrix, in its dtype.
pub(crate) fn transposed(tensor: &Tensor) -> Result<Tensor> {
    fn write<T: Element>(from: &[T], to: &mut [T], [rows, columns]: [usize; 2]) {
        const BLOCK: usize = 16;
        parallel::rows_mut(to, rows, BLOCK, |first, to| {
            for (column, to) in (first..).zip(to.chunks_exact_mut(rows)) {
                to.iter_mut().enumerate().for_each(|(row, y)| *y = from[row * columns + column]);
            }
        });
    }
    let (rows, columns) = tensor.matrix_shape("transposed", "tensor")?;
    let mut buffer = Buffer::scratch(Device::Cpu, tensor.dtype(), tensor.count())?;
    let read = tensor.read();
    match read.elements() {
        Elements::F32(from) => write(from, buffer.as_mut_slice()?, [rows, columns]),
        Elements::BF16(from) => write(from, buffer.as_mut_slice()?, [rows, columns]),
        Elements::F16(from) => write(from, buffer.as_mut_slice()?, [rows, columns]),
    }
    Tensor::new([columns, rows], buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing() {
        let values: Vec<f32> = (0..21).map(|i| i as f32).collect();
        let tensor = Tensor::from_f32([7, 3], &values).unwrap();
        let turned = transposed(&tensor).unwrap();
        assert_eq!(
            (turned.shape(), &turned.to_vec()[..8]),
            (&[3, 7][..], &[0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0, 1.0][..])
        );
        assert_eq!(transposed(&turned).unwrap().to_vec(), values);
    }
}
