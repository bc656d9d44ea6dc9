//! Launching products with a quantized weight.

use device::DType;
use device::launch::{Architecture, DeviceBuffer, Executor, Grid, Work};
use gemm::launch as dense;

use super::kernels::{
    NF4_GRAD_X_BF16, NF4_GRAD_X_F32, NF4_GRAD_X_NARROW_BF16, NF4_GRAD_X_NARROW_F32, NF4_LINEAR_BF16, NF4_LINEAR_F32,
    NF4_LINEAR_NARROW_BF16, NF4_LINEAR_NARROW_F32,
};
use super::params::{
    NF4_MATVEC_TOKENS, NF4_NARROW_SHARED_BYTES, NF4_NARROW_THREADS, NF4_NARROW_TILE, NF4_SHARED_BYTES, NF4_THREADS,
    NF4_TILE, Nf4ProductParams,
};
use super::{Matrix, Matvec, check_matrix, matvec, of_dtype};
use crate::{CODEBOOK, Nf4Error};

/// Operands of [`linear()`], all on one device.
#[derive(Debug)]
pub struct Linear<'a> {
    /// Of `x`, `y` and the bias: f32 or bf16.
    pub dtype: DType,
    /// Rows of `x` and `y`.
    pub num_tokens: usize,
    /// `[num_tokens, in_features]`
    pub x: &'a DeviceBuffer,
    /// `W`, `[out_features, in_features]`
    pub weight: Matrix<'a>,
    /// `[out_features]`
    pub bias: Option<&'a DeviceBuffer>,
    /// `[num_tokens, out_features]`. Overwritten.
    pub y: &'a mut DeviceBuffer,
}

/// Operands of [`grad_x()`], all on one device.
#[derive(Debug)]
pub struct GradX<'a> {
    /// Of both gradients: f32 or bf16.
    pub dtype: DType,
    /// Their rows.
    pub num_tokens: usize,
    /// `dY`, `[num_tokens, out_features]`
    pub grad_y: &'a DeviceBuffer,
    /// `W`, `[out_features, in_features]`
    pub weight: Matrix<'a>,
    /// `[num_tokens, in_features]`; if `add` is not set, what it holds is never read.
    pub grad_x: &'a mut DeviceBuffer,
    /// Whether to add to `grad_x`.
    pub add: bool,
}

/// Whether a product of `num_tokens` is faster with a weight that is dequantized into memory before.
///
/// For each element of the weight that costs 0.5 bytes read, 2 written and 2 read again. On an H100, 4.5 bytes at 3 TB/s are
/// 1.5 ps, while a multiply-add takes 2.5 fs by `wgmma` (800 TFLOP/s) and about 4 fs by `mma.sync` (62 % of that), which is what a
/// kernel that dequantizes can use: equal at 1000 tokens, or 550 if the product finds the copy in the L2 cache. Before Hopper both
/// use `mma.sync`, and what is saved is to look codes up again for every 128 tokens, about an eighth of a tile's time: on an A100,
/// 0.8 of 6.4 fs for each token against 3 ps. Both were derived, not measured. In f32 multiplying is so slow that looking up is
/// free.
pub fn dequantizes_first(architecture: Architecture, dtype: DType, num_tokens: usize) -> bool {
    dtype == DType::BF16
        && match architecture {
            Architecture::Hopper => num_tokens >= 768,
            Architecture::Ampere => num_tokens >= 4096,
        }
}

/// `y = x W^T + bias`.
///
/// # Errors
/// [`Nf4Error::TooLarge`], [`Nf4Error::BufferLength`], [`Nf4Error::KernelDType`]; [`Nf4Error::Device`] and [`Nf4Error::Gemm`] for buffers
/// of different devices, no memory, and what a launch refuses.
pub fn linear(args: Linear<'_>) -> Result<(), Nf4Error> {
    let Linear { dtype, num_tokens, x, weight, bias, y } = args;
    if num_tokens <= NF4_MATVEC_TOKENS as usize {
        return matvec(Matvec { dtype, num_tokens, x, weight, low_rank: None, bias, y });
    }
    product(Product { dtype, num_tokens, a: ("x", x), weight, along: true, bias, c: ("y", y), add: false })
}

/// `dX = dY W`, or that added to what `grad_x` holds.
///
/// # Errors
/// Those of [`linear()`].
pub fn grad_x(args: GradX<'_>) -> Result<(), Nf4Error> {
    let GradX { dtype, num_tokens, grad_y, weight, grad_x, add } = args;
    let (a, c) = (("grad_y", grad_y), ("grad_x", grad_x));
    product(Product { dtype, num_tokens, a, weight, along: false, bias: None, c, add })
}

/// `C = A W^T` or `A W`; operands with their names.
struct Product<'a> {
    dtype: DType,
    num_tokens: usize,
    a: (&'static str, &'a DeviceBuffer),
    weight: Matrix<'a>,
    /// `A W^T`: rows of the weight lie along the depth.
    along: bool,
    bias: Option<&'a DeviceBuffer>,
    c: (&'static str, &'a mut DeviceBuffer),
    add: bool,
}

fn product(args: Product<'_>) -> Result<(), Nf4Error> {
    let Product { dtype, num_tokens: m, a: (a_name, a), weight, along, bias, c: (c_name, c), add } = args;
    let [rows, columns] = weight.check_product(m)?;
    let (n, k) = if along { (rows, columns) } else { (columns, rows) };
    check_matrix(a_name, a, dtype, [m, k])?;
    check_matrix(c_name, c, dtype, [m, n])?;
    if let Some(bias) = bias {
        check_matrix("bias", bias, dtype, [1, n])?;
    }
    let executor = Executor::of(a, [&*c].into_iter().chain(bias).chain(weight.buffers()))?;
    if dequantizes_first(executor.architecture(), dtype, m) {
        let w = weight.dequantized(dtype)?;
        let w = dense::Matrix::new(&w, dtype, rows, columns);
        let w = if along { w.transposed() } else { w };
        let update = match bias {
            Some(bias) => dense::Update::Bias(bias),
            None if add => dense::Update::Accumulate,
            None => dense::Update::Overwrite,
        };
        let a = dense::Matrix::new(a, dtype, m, k);
        return Ok(dense::gemm(1.0, a, w, update, dense::MatrixMut::new(c, dtype, m, n))?);
    }
    let params = Nf4ProductParams {
        weight: weight.params(),
        a: a.address(),
        c: c.address(),
        bias: bias.map_or(0, DeviceBuffer::address),
        m: m as u64,
        n: n as u64,
        k: k as u64,
        codebook: CODEBOOK,
        add: u64::from(add),
    };
    let narrow = m.min(n) <= NF4_NARROW_TILE as usize;
    let [f32, bf16] = match (along, narrow) {
        (true, true) => [&NF4_LINEAR_NARROW_F32, &NF4_LINEAR_NARROW_BF16],
        (true, false) => [&NF4_LINEAR_F32, &NF4_LINEAR_BF16],
        (false, true) => [&NF4_GRAD_X_NARROW_F32, &NF4_GRAD_X_NARROW_BF16],
        (false, false) => [&NF4_GRAD_X_F32, &NF4_GRAD_X_BF16],
    };
    let (tile, threads, shared) = match narrow {
        true => (NF4_NARROW_TILE, NF4_NARROW_THREADS, NF4_NARROW_SHARED_BYTES),
        false => (NF4_TILE, NF4_THREADS, NF4_SHARED_BYTES),
    };
    let tiles = m.div_ceil(tile as usize).saturating_mul(n.div_ceil(tile as usize));
    let work = Work::product([m, n, k]) + Work::over(weight.buffers().chain([a, &*c]));
    let grid = Grid::covering(tiles, 1, threads).with_shared(shared).doing(work);
    // SAFETY: the buffers were checked to be of this executor and to hold what the sizes say, with a block for each tile; `c` is
    // borrowed mutably.
    Ok(unsafe { executor.launch(of_dtype(dtype, f32, bf16)?, grid, &params) }?)
}
