//! Launching DoRA's norms: [`crate::dora`] on device buffers.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use super::kernels::{
    DORA_COLUMN_SQUARES_BF16, DORA_COLUMN_SQUARES_F32, DORA_NORM_F32, DORA_ROW_SQUARES_BF16, DORA_ROW_SQUARES_F32,
};
use super::params::{DORA_COLUMNS, DORA_SHARED_BYTES, DORA_THREADS, DoraNormParams, DoraSquaresParams};
use super::{check_buffer, of_dtype};
use crate::LoraError;

/// `|W[o]|^2` for each output of a weight, on a device.
#[derive(Debug)]
pub struct Squares {
    /// `[outputs]` f64
    values: DeviceBuffer,
    outputs: usize,
}

impl Squares {
    /// Of a weight that `executor` does not have.
    ///
    /// # Errors
    /// [`LoraError::Device`] without memory.
    pub fn new(executor: &Executor, squares: &[f64]) -> Result<Self, LoraError> {
        Ok(Self { values: executor.upload(squares)?, outputs: squares.len() })
    }

    /// Of a weight `[outputs, inputs]` of `dtype`, f32 or bf16.
    ///
    /// # Errors
    /// [`LoraError::Length`], [`LoraError::KernelDType`] for f16, [`LoraError::Device`] without memory and for what a launch
    /// refuses.
    pub fn of_rows(dtype: DType, [outputs, inputs]: [usize; 2], weight: &DeviceBuffer) -> Result<Self, LoraError> {
        let kernel = of_dtype(dtype, &DORA_ROW_SQUARES_F32, &DORA_ROW_SQUARES_BF16)?;
        check_buffer("weight", [outputs, inputs], dtype, weight)?;
        let grid = Grid::covering(outputs, 1, DORA_THREADS).with_shared(DORA_SHARED_BYTES);
        Self::launch(kernel, grid, [outputs, inputs], weight)
    }

    /// Of a weight stored `[inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Squares::of_rows`].
    pub fn of_columns(dtype: DType, [inputs, outputs]: [usize; 2], weight: &DeviceBuffer) -> Result<Self, LoraError> {
        let kernel = of_dtype(dtype, &DORA_COLUMN_SQUARES_F32, &DORA_COLUMN_SQUARES_BF16)?;
        check_buffer("weight", [inputs, outputs], dtype, weight)?;
        Self::launch(kernel, Grid::covering(outputs, DORA_COLUMNS, DORA_THREADS), [outputs, inputs], weight)
    }

    /// The weight was checked to hold what the sizes say.
    fn launch(
        kernel: &'static Kernel<DoraSquaresParams>,
        grid: Grid,
        [outputs, inputs]: [usize; 2],
        weight: &DeviceBuffer,
    ) -> Result<Self, LoraError> {
        let executor = weight.executor();
        let values = executor.allocate(outputs * size_of::<f64>())?;
        let params = DoraSquaresParams {
            weight: weight.address(),
            squares: values.address(),
            inputs: inputs as u64,
            outputs: outputs as u64,
        };
        // SAFETY: the weight was checked by the callers; `values` was just made for the outputs by its executor.
        unsafe { executor.launch(kernel, grid.doing(Work::over([weight])), &params)? };
        Ok(Self { values, outputs })
    }

    /// How many there are.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Waits for them.
    ///
    /// # Errors
    /// [`LoraError::Device`] if something that was started failed.
    pub fn read(&self) -> Result<Vec<f64>, LoraError> {
        Ok(self.values.read()?)
    }
}

/// Arguments of [`norms`], all on one device.
#[derive(Debug)]
pub struct Norms<'a> {
    /// Of the weight.
    pub squares: &'a Squares,
    /// `B`, `[outputs, rank]` f32.
    pub lora_b: &'a DeviceBuffer,
    /// `A W^T`, `[rank, outputs]` f32.
    pub aw: &'a DeviceBuffer,
    /// `B (A A^T)`, `[outputs, rank]` f32.
    pub bg: &'a DeviceBuffer,
    /// s.
    pub scaling: f32,
    /// `[outputs]` f32, overwritten.
    pub norms: &'a mut DeviceBuffer,
}

/// The norms for an update of rank `rank`.
///
/// # Errors
/// [`LoraError::Length`], [`LoraError::Device`] for buffers of different devices and for what a launch refuses.
pub fn norms(rank: usize, args: Norms<'_>) -> Result<(), LoraError> {
    let Norms { squares, lora_b, aw, bg, scaling, norms } = args;
    let outputs = squares.outputs;
    check_buffer("lora_b", [outputs, rank], DType::F32, lora_b)?;
    check_buffer("aw", [rank, outputs], DType::F32, aw)?;
    check_buffer("bg", [outputs, rank], DType::F32, bg)?;
    check_buffer("norms", [1, outputs], DType::F32, norms)?;
    let executor = Executor::of(&squares.values, [lora_b, aw, bg, &*norms])?;
    let params = DoraNormParams {
        squares: squares.values.address(),
        lora_b: lora_b.address(),
        aw: aw.address(),
        bg: bg.address(),
        norm: norms.address(),
        outputs: outputs as u64,
        rank: rank as u64,
        scaling: f64::from(scaling),
    };
    let grid = Grid::covering(outputs, DORA_THREADS, DORA_THREADS).doing(Work::over([lora_b, aw, bg, &*norms]));
    // SAFETY: the buffers were checked to be of this executor and to hold what the sizes say; `norms` is borrowed mutably.
    Ok(unsafe { executor.launch(&DORA_NORM_F32, grid, &params) }?)
}
