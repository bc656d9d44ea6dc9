//! The weight as kernels, on a GPU or emulated: the same functions over [`DeviceBuffer`]s, in f32.
//!
//! Sums are in an order that depends on the sizes alone.

mod kernels;
mod params;

use bytemuck::Zeroable;
use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};

use self::kernels::{
    PHM_LEFT_GRADIENT_F32, PHM_PRODUCT_GRADIENT_F32, PHM_PRODUCTS_F32, PHM_RIGHT_GRADIENT_F32, PHM_RULE_GRADIENT_F32,
    PHM_WEIGHT_F32,
};
use self::params::{PHM_SHARED_BYTES, PHM_THREADS, PhmParams};
use crate::{PhmError, PhmShape};

/// As [`crate::Factors`], on one device.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// A, `[n, n, n]`.
    pub rule: &'a DeviceBuffer,
    /// L, `[n, P, rank]`.
    pub left: &'a DeviceBuffer,
    /// R, `[n, rank, Q]`.
    pub right: &'a DeviceBuffer,
}

/// A gradient to write: over what is there, or added to it.
#[derive(Debug)]
pub struct Gradient<'a> {
    /// The memory; if `add` is not set, what it holds is never read.
    pub values: &'a mut DeviceBuffer,
    /// Whether to add to `values`.
    pub add: bool,
}

impl<'a> Factors<'a> {
    /// Fails unless they and `weight` hold what the shape says, on the executor that is returned.
    fn check(
        &self,
        shape: &PhmShape,
        (argument, weight): (&'static str, &DeviceBuffer),
    ) -> Result<&'a Executor, PhmError> {
        check("rule", shape.rule(), self.rule)?;
        check("left", shape.left(), self.left)?;
        check("right", shape.right(), self.right)?;
        check(argument, shape.weight(), weight)?;
        Ok(Executor::of(self.rule, [self.left, self.right, weight])?)
    }

    fn params(&self, shape: &PhmShape, products: &DeviceBuffer, weight: &DeviceBuffer) -> PhmParams {
        // The shape was checked to be of 32 bits.
        let [n, p, q, rank] = [shape.n, shape.p, shape.q, shape.rank].map(|size| size as u32);
        PhmParams {
            rule: self.rule.address(),
            left: self.left.address(),
            right: self.right.address(),
            products: products.address(),
            weight: weight.address(),
            n,
            p,
            q,
            rank,
            ..PhmParams::zeroed()
        }
    }

    /// The transposes of `M_i`, `[n, Q, P]`. The factors have been checked.
    fn products(&self, shape: &PhmShape, executor: &Executor) -> Result<DeviceBuffer, PhmError> {
        let products = executor.allocate(shape.products() * size_of::<f32>())?;
        let params = self.params(shape, &products, &products);
        let work = low_rank(shape) + Work::over([self.left, self.right, &products]);
        // SAFETY: the callers have checked the factors to be of this executor and to hold what the shape says; `products` was
        // just made for it. The kernel does not read a weight.
        unsafe { executor.launch(&PHM_PRODUCTS_F32, one_thread_each(shape.products()).doing(work), &params)? };
        Ok(products)
    }
}

/// Writes the weight, `[n Q, n P]`.
///
/// # Errors
/// [`PhmError::Length`]; [`PhmError::Device`] for buffers of different devices, without memory, and for what a launch refuses.
pub fn forward(shape: &PhmShape, factors: Factors<'_>, weight: &mut DeviceBuffer) -> Result<(), PhmError> {
    let executor = factors.check(shape, ("weight", weight))?;
    let products = factors.products(shape, executor)?;
    let params = factors.params(shape, &products, weight);
    let work = kronecker(shape) + Work::over([factors.rule, &products, &*weight]);
    // SAFETY: all buffers were checked to be of this executor and to hold what the shape says; `weight` is borrowed mutably.
    Ok(unsafe { executor.launch(&PHM_WEIGHT_F32, one_thread_each(shape.weight()).doing(work), &params) }?)
}

/// The gradient of the rule, `[n, n, n]`, given that of the weight.
///
/// # Errors
/// As [`forward`].
pub fn grad_rule(
    shape: &PhmShape,
    factors: Factors<'_>,
    grad_weight: &DeviceBuffer,
    grad: Gradient<'_>,
) -> Result<(), PhmError> {
    let executor = factors.check(shape, ("grad_weight", grad_weight))?;
    let products = factors.products(shape, executor)?;
    let work = kronecker(shape) + Work::over([&products, grad_weight, &*grad.values]);
    let grid = Grid::covering(shape.rule(), 1, PHM_THREADS).with_shared(PHM_SHARED_BYTES).doing(work);
    let params = factors.params(shape, &products, grad_weight);
    launch_gradient(&PHM_RULE_GRADIENT_F32, grid, ("grad_rule", shape.rule()), grad, &products, params)
}

/// The gradients of `M_i`, which those of both factors are made of.
#[derive(Debug)]
pub struct ProductGradients<'a> {
    shape: PhmShape,
    factors: Factors<'a>,
    /// Their transposes, `[n, Q, P]`.
    products: DeviceBuffer,
}

impl<'a> ProductGradients<'a> {
    /// Checks the arguments and computes them, given the gradient of the weight.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn new(shape: &PhmShape, factors: Factors<'a>, grad_weight: &DeviceBuffer) -> Result<Self, PhmError> {
        let executor = factors.check(shape, ("grad_weight", grad_weight))?;
        let products = executor.allocate(shape.products() * size_of::<f32>())?;
        let params = factors.params(shape, &products, grad_weight);
        let work = kronecker(shape) + Work::over([factors.rule, grad_weight, &products]);
        // SAFETY: all buffers were checked to be of this executor and to hold what the shape says; `products` was just made.
        unsafe { executor.launch(&PHM_PRODUCT_GRADIENT_F32, one_thread_each(shape.products()).doing(work), &params)? };
        Ok(Self { shape: *shape, factors, products })
    }

    /// The gradient of the left factors, `[n, P, rank]`.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn left(&self, grad: Gradient<'_>) -> Result<(), PhmError> {
        let len = self.shape.left();
        self.launch(&PHM_LEFT_GRADIENT_F32, one_thread_each(len), self.factors.right, ("grad_left", len), grad)
    }

    /// The gradient of the right factors, `[n, rank, Q]`.
    ///
    /// # Errors
    /// As [`forward`].
    pub fn right(&self, grad: Gradient<'_>) -> Result<(), PhmError> {
        let len = self.shape.right();
        let grid = Grid::covering(len, PHM_THREADS / Grid::WARP, PHM_THREADS);
        self.launch(&PHM_RIGHT_GRADIENT_F32, grid, self.factors.left, ("grad_right", len), grad)
    }

    /// The gradient of one factor, which is multiplied by the `other`.
    fn launch(
        &self,
        kernel: &'static Kernel<PhmParams>,
        grid: Grid,
        other: &DeviceBuffer,
        of: (&'static str, usize),
        grad: Gradient<'_>,
    ) -> Result<(), PhmError> {
        // The kernels of the factors do not read a weight.
        let params = self.factors.params(&self.shape, &self.products, &self.products);
        let grid = grid.doing(low_rank(&self.shape) + Work::over([other, &self.products, &*grad.values]));
        launch_gradient(kernel, grid, of, grad, &self.products, params)
    }
}

/// Launches what writes `grad`; everything else in `params` was checked, and is of the executor of `products`.
fn launch_gradient(
    kernel: &'static Kernel<PhmParams>,
    grid: Grid,
    (argument, len): (&'static str, usize),
    grad: Gradient<'_>,
    products: &DeviceBuffer,
    params: PhmParams,
) -> Result<(), PhmError> {
    check(argument, len, grad.values)?;
    let executor = Executor::of(products, [&*grad.values])?;
    let params = PhmParams { gradient: grad.values.address(), add: u64::from(grad.add), ..params };
    // SAFETY: the gradient was checked to be of this executor and to hold what the shape says, and is borrowed mutably; the
    // callers have checked the rest.
    Ok(unsafe { executor.launch(kernel, grid, &params) }?)
}

/// Operations of the products of the factors, and of the gradient of either.
fn low_rank(shape: &PhmShape) -> Work {
    Work::product([shape.products(), shape.rank, 1])
}

/// Operations of the sum of Kronecker products, and of the gradient of either side of them.
fn kronecker(shape: &PhmShape) -> Work {
    Work::product([shape.weight(), shape.n, 1])
}

fn one_thread_each(elements: usize) -> Grid {
    Grid::covering(elements, PHM_THREADS, PHM_THREADS)
}

fn check(argument: &'static str, expected: usize, buffer: &DeviceBuffer) -> Result<(), PhmError> {
    buffer.expect_elements(DType::F32, expected).map_err(|got| PhmError::Length { argument, expected, got })
}
