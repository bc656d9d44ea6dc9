//! The kernels of `cuda/transformer`.

use super::params::{
    ColumnSumParams, ColumnsParams, CrossEntropyParams, CrossEntropySumParams, GatedBackwardParams, GatedForwardParams,
    LayerNormBackwardParams, LayerNormForwardParams, LayerNormWeightParams, PointwiseParams, RmsNormBackwardParams,
    RmsNormForwardParams, RmsNormWeightParams, RopeParams, RowsParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
