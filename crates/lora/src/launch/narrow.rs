//! Products with a side as short as the rank.

use device::DType;
use device::launch::{DeviceBuffer, Executor, Grid, Kernel};
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

/// Computes the products of all projections in one launch, and adds up slabs where there are several.
///
/// # Safety
/// Everything that `kernel` reads of `params` must lie in live buffers of `executor` of these sizes, and `result` in such
/// buffers too.
pub(super) unsafe fn launch(
    executor: &Executor,
    kernel: &'static Kernel<LoraParams>,
    mut params: LoraParams,
    mut products: Vec<Product<'_>>,
) -> Result<(), LoraError> {
    let tiles_of =
        |[m, n, _]: [usize; 3]| m.div_ceil(LORA_NARROW_TILE as usize) * n.div_ceil(LORA_NARROW_TILE as usize);
    let tiles = products.iter().map(|product| tiles_of(product.sizes));
    let depth = products.iter().map(|product| product.sizes[2]).max().unwrap_or_default();
    let slabs = Slabs::new(tiles.clone().sum(), depth);
    params.slab_depth = slabs.depth as u64;
    let mut partials = Vec::new();
    for (product, projection) in products.iter().zip(&mut params.projections) {
        let [m, n, k] = product.sizes;
        let slabs = Slabs::of_depth(k, slabs.depth);
        projection.result = product.result.address();
        projection.alpha = product.alpha;
        projection.add = u32::from(product.add);
        partials.push((slabs, (slabs > 1).then(|| executor.allocate(slabs * m * n * size_of::<f32>())).transpose()?));
        projection.partials = partials.last().and_then(|(_, buffer)| buffer.as_ref()).map_or(0, DeviceBuffer::address);
    }
    let blocks = products.len().saturating_mul(tiles.max().unwrap_or_default());
    let grid = Grid::covering(blocks, 1, LORA_NARROW_THREADS).with_shared(LORA_NARROW_SHARED_BYTES);
    let grid = Grid { blocks: [grid.blocks[0], slabs.count as u32, 1], ..grid };
    // SAFETY: the caller's promise; `partials` were just made for these slabs.
    unsafe { executor.launch(kernel, grid, &params)? };
    for (product, (slabs, partials)) in products.iter_mut().zip(&partials) {
        let [m, n, _] = product.sizes;
        if let Some(partials) = partials {
            let mut result = MatrixMut::new(product.result, product.dtype, m, n);
            sum_slabs(product.alpha, partials, *slabs, product.add, &mut result)?;
        }
    }
    Ok(())
}
