//! The kernels of `cuda/transformer`.

use super::params::{
    BinaryParams, BroadcastParams, ColumnSumParams, ColumnsParams, CrossEntropyLossParams, CrossEntropyParams,
    CrossEntropySumParams, GatedBackwardParams, GatedForwardParams, LayerNormBackwardParams, LayerNormForwardParams,
    LayerNormWeightParams, MeanRowsParams, PointwiseParams, PrependParams, RmsNormBackwardParams, RmsNormForwardParams,
    RmsNormWeightParams, RopeParams, RowsParams, ScaleParams, SumParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
