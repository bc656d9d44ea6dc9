//! A relative bias on a device.

use device::DType;
use device::launch::{DeviceBuffer, Grid, Work};

use super::kernels::ATTENTION_EXPAND_BIAS_F32;
use super::operands::check_len;
use super::params::{ATTENTION_ELEMENT_THREADS, AttentionBiasParams};
use crate::relative_bias::{Differences, RelativeBuckets, check_scores};
use crate::{AttentionError, AttentionShape};

/// As [`crate::RelativeBias`].
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// `[num_buckets, num_heads]` f32.
    pub table: &'a DeviceBuffer,
    /// Which relative positions share a row of the table.
    pub buckets: RelativeBuckets,
}

/// The bias of every difference of positions in a batch.
#[derive(Debug)]
pub(super) struct Expanded {
    /// In units of `ln 2`, `[num_kv_heads, len]` f32: as the CPU implementation lays them out.
    pub(super) values: DeviceBuffer,
    pub(super) len: usize,
    /// Queries that may stand before the first key.
    pub(super) behind: usize,
    /// Of positions.
    differences: Differences,
}

impl Expanded {
    pub(super) fn new(shape: &AttentionShape<'_>, bias: RelativeBias<'_>) -> Result<Self, AttentionError> {
        let RelativeBias { table, buckets } = bias;
        let spec = shape.spec();
        check_scores(shape)?;
        check_len("bias.table", table, DType::F32, buckets.num_buckets() * spec.num_heads)?;
        let differences = Differences::of_batch(shape, buckets);
        let (len, executor) = (differences.len(), table.executor());
        // Elements of a table that was just seen to be in memory, whose rows are heads: they fit 32 bits.
        let places: Vec<u32> =
            differences.places().map(|(bucket, head)| (bucket * spec.num_heads + head) as u32).collect();
        let places = executor.upload(&places)?;
        let values = executor.allocate(spec.num_kv_heads * len * size_of::<f32>())?;
        let params = AttentionBiasParams {
            table: table.address(),
            places: places.address(),
            values: values.address(),
            len: len as u64,
            group: shape.group() as u64,
        };
        let mut grid = Grid::covering(len, ATTENTION_ELEMENT_THREADS, ATTENTION_ELEMENT_THREADS);
        grid.blocks[1] = u32::try_from(spec.num_kv_heads).unwrap_or(u32::MAX);
        let grid = grid.doing(Work::over([table, &places, &values]));
        // SAFETY: the table was checked to hold what the buckets and heads say, which the places lie within; both other
        // buffers were just made for `len`, by the table's executor.
        unsafe { executor.launch(&ATTENTION_EXPAND_BIAS_F32, grid, &params)? };
        Ok(Self { values, len, behind: differences.behind(), differences })
    }

    /// Rows of the table.
    pub(super) fn num_buckets(&self) -> usize {
        self.differences.buckets().num_buckets()
    }

    /// `[num_buckets, 2]` u64: the differences of positions in each bucket.
    pub(super) fn bucket_ranges(&self) -> Result<DeviceBuffer, AttentionError> {
        let ranges = self.differences.bucket_ranges();
        let flat: Vec<u64> = ranges.iter().flat_map(|range| [range.start as u64, range.end as u64]).collect();
        Ok(self.values.executor().upload(&flat)?)
    }
}
