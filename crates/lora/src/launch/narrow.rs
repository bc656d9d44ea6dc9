//! Products with a side as short as the rank.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel, Work};
use gemm::launch::{MatrixMut, Slabs, sum_slabs};

use super::params::{LORA_NARROW_SHARED_BYTES, LORA_NARROW_THREADS, LORA_NARROW_TILE, LoraParams};
use crate::LoraError;

/// One projection's narrow product.
pub(super) struct Product<'a> {
    /// Rows, columns and depth.
    pub(super) sizes: [usize; 3],
    /// Its factor.
    pub(super) alpha: f32,
    /// `[rows, columns]`
    pub(super) result: &'a mut DeviceBuffer,
    pub(super) dtype: DType,
    /// Whether to add to what `result` holds.
    pub(super) add: bool,
}

impl Product<'_> {
    /// With operands of `dtype`.
    fn work(&self, dtype: DType) -> Work {
        let [m, n, k] = self.sizes;
        Work::product(self.sizes) + Work::bytes((m + n) * k * dtype.size_bytes())
    }
}

/// Computes the products of all projections in one launch, and adds up slabs where there are several.
///
/// # Safety
/// Everything that `kernel` reads of `params` must lie in live buffers of `executor` of these sizes, and `result` in such
/// buffers too.
pub(super) unsafe fn launch(
    executor: &Executor,
    kernel: &'static Kernel<LoraParams>,
    operand_dtype: DType,
    mut params: LoraParams,
    mut products: Vec<Product<'_>>,
) -> Result<(), LoraError> {
    let tile = LORA_NARROW_TILE as usize;
    let tiles = products.iter().map(|Product { sizes: [m, n, _], .. }| m.div_ceil(tile) * n.div_ceil(tile));
    let depth = products.iter().map(|product| product.sizes[2]).max().unwrap_or_default();
    let slabs = Slabs::new(tiles.clone().sum(), depth);
    params.slab_depth = slabs.depth as u64;
    let mut partials = Vec::new();
    for (product, projection) in products.iter().zip(&mut params.projections) {
        let own = Partials::allocate(executor, product.sizes, slabs)?;
        projection.result = product.result.address();
        projection.alpha = product.alpha;
        projection.add = u32::from(product.add);
        projection.partials = own.as_ref().map_or(0, |own| own.buffer.address());
        partials.push(own);
    }
    let blocks = products.len().saturating_mul(tiles.max().unwrap_or_default());
    let grid = Grid::covering(blocks, 1, LORA_NARROW_THREADS).with_shared(LORA_NARROW_SHARED_BYTES);
    let results = products.iter().zip(&partials).map(|(product, partials)| match partials {
        Some(Partials { buffer, .. }) => Work::over([buffer]),
        None => Work::over([&*product.result]),
    });
    let work = products.iter().map(|product| product.work(operand_dtype)).chain(results).sum();
    let grid = Grid { blocks: [grid.blocks[0], slabs.count as u32, 1], ..grid }.doing(work);
    // SAFETY: the caller's promise; `partials` were just made for these slabs.
    unsafe { executor.launch(kernel, grid, &params)? };
    for (product, partials) in products.iter_mut().zip(&partials) {
        let [m, n, _] = product.sizes;
        if let Some(Partials { buffer, slabs }) = partials {
            let mut result = MatrixMut::new(product.result, product.dtype, m, n);
            sum_slabs(product.alpha, buffer, *slabs, product.add, &mut result)?;
        }
    }
    Ok(())
}

/// What the blocks of several slabs write.
struct Partials {
    buffer: DeviceBuffer,
    slabs: usize,
}

impl Partials {
    /// For a product of these sizes; `None` if one slab is all of it.
    fn allocate(executor: &Executor, [m, n, k]: [usize; 3], slabs: Slabs) -> Result<Option<Self>, LoraError> {
        let slabs = Slabs::of_depth(k, slabs.depth);
        if slabs == 1 {
            return Ok(None);
        }
        let bytes = slabs.saturating_mul(m * n).saturating_mul(size_of::<f32>());
        Ok(Some(Self { buffer: executor.allocate(bytes)?, slabs }))
    }
}
