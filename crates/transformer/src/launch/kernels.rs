//! The kernels of `cuda/transformer`.

use super::params::{
    BinaryParams, BroadcastParams, ColumnSumParams, ColumnsParams, CrossEntropyLossParams, CrossEntropyParams,
    CrossEntropySumParams, GatedBackwardParams, GatedForwardParams, GatedScaledBackwardParams, GatherRowsParams,
    LayerNormBackwardParams, LayerNormForwardParams, LayerNormWeightParams, MeanRowsParams, PointwiseParams,
    PrependParams, RmsNormBackwardParams, RmsNormForwardParams, RmsNormWeightParams, RopeParams, ScaleParams,
    ScatterRowsParams, SumParams,
};

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
