// Written by scripts/bindings from params.h.

#[doc = " Threads of a block that takes one row of a gated activation."]
pub const GATED_THREADS: u32 = 256;
#[doc = " `x * sigmoid(x)`"]
pub const ACTIVATION_SILU: u32 = 0;
#[doc = " `x * Phi(x)`"]
pub const ACTIVATION_GELU: u32 = 1;
#[doc = " `x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))`"]
pub const ACTIVATION_GELU_TANH: u32 = 2;
#[doc = " `x * sigmoid(1.702 x)`"]
pub const ACTIVATION_QUICK_GELU: u32 = 3;
#[doc = " `max(x, 0)`"]
pub const ACTIVATION_RELU: u32 = 4;
#[doc = " `tanh(x)`"]
pub const ACTIVATION_TANH: u32 = 5;
#[doc = " `y = act(gate) * up`, times `scale`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GatedForwardParams {
    #[doc = " `[rows, features]`, `stride` elements from row to row."]
    pub gate: u64,
    #[doc = " As `gate`."]
    pub up: u64,
    #[doc = " `[rows, features]`, written."]
    pub y: u64,
    #[doc = " `[features]` f32, another factor of `y`; 0 for none."]
    pub scale: u64,
    #[doc = " Columns of a row."]
    pub features: u64,
    #[doc = " Elements from a row of `gate` and of `up` to the next: `features`, or twice that where they lie side by side."]
    pub stride: u64,
    #[doc = " One of `ACTIVATION_*`."]
    pub activation: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GatedForwardParams"][::std::mem::size_of::<GatedForwardParams>() - 56usize];
    ["Alignment of GatedForwardParams"][::std::mem::align_of::<GatedForwardParams>() - 8usize];
    ["Offset of field: GatedForwardParams::gate"][::std::mem::offset_of!(GatedForwardParams, gate) - 0usize];
    ["Offset of field: GatedForwardParams::up"][::std::mem::offset_of!(GatedForwardParams, up) - 8usize];
    ["Offset of field: GatedForwardParams::y"][::std::mem::offset_of!(GatedForwardParams, y) - 16usize];
    ["Offset of field: GatedForwardParams::scale"][::std::mem::offset_of!(GatedForwardParams, scale) - 24usize];
    ["Offset of field: GatedForwardParams::features"][::std::mem::offset_of!(GatedForwardParams, features) - 32usize];
    ["Offset of field: GatedForwardParams::stride"][::std::mem::offset_of!(GatedForwardParams, stride) - 40usize];
    ["Offset of field: GatedForwardParams::activation"]
        [::std::mem::offset_of!(GatedForwardParams, activation) - 48usize];
};
#[doc = " `dgate = dy * up * act'(gate)`, `dup = dy * act(gate)`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GatedBackwardParams {
    #[doc = " `[rows, features]`, `stride` elements from row to row."]
    pub gate: u64,
    #[doc = " As `gate`."]
    pub up: u64,
    #[doc = " `[rows, features]`"]
    pub dy: u64,
    #[doc = " `[rows, features]`, written, `gradient_stride` elements from row to row."]
    pub dgate: u64,
    #[doc = " As `dgate`."]
    pub dup: u64,
    #[doc = " Columns of a row."]
    pub features: u64,
    #[doc = " Elements from a row of `gate` and of `up` to the next."]
    pub stride: u64,
    #[doc = " Elements from a row of `dgate` and of `dup` to the next."]
    pub gradient_stride: u64,
    #[doc = " One of `ACTIVATION_*`."]
    pub activation: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GatedBackwardParams"][::std::mem::size_of::<GatedBackwardParams>() - 72usize];
    ["Alignment of GatedBackwardParams"][::std::mem::align_of::<GatedBackwardParams>() - 8usize];
    ["Offset of field: GatedBackwardParams::gate"][::std::mem::offset_of!(GatedBackwardParams, gate) - 0usize];
    ["Offset of field: GatedBackwardParams::up"][::std::mem::offset_of!(GatedBackwardParams, up) - 8usize];
    ["Offset of field: GatedBackwardParams::dy"][::std::mem::offset_of!(GatedBackwardParams, dy) - 16usize];
    ["Offset of field: GatedBackwardParams::dgate"][::std::mem::offset_of!(GatedBackwardParams, dgate) - 24usize];
    ["Offset of field: GatedBackwardParams::dup"][::std::mem::offset_of!(GatedBackwardParams, dup) - 32usize];
    ["Offset of field: GatedBackwardParams::features"][::std::mem::offset_of!(GatedBackwardParams, features) - 40usize];
    ["Offset of field: GatedBackwardParams::stride"][::std::mem::offset_of!(GatedBackwardParams, stride) - 48usize];
    ["Offset of field: GatedBackwardParams::gradient_stride"]
        [::std::mem::offset_of!(GatedBackwardParams, gradient_stride) - 56usize];
    ["Offset of field: GatedBackwardParams::activation"]
        [::std::mem::offset_of!(GatedBackwardParams, activation) - 64usize];
};
#[doc = " `dgate = dy * scale * up * act'(gate)`, `dup = dy * scale * act(gate)`, and sums of `dy * act(gate) * up`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GatedScaledBackwardParams {
    #[doc = " `[rows, features]`, `stride` elements from row to row."]
    pub gate: u64,
    #[doc = " As `gate`."]
    pub up: u64,
    #[doc = " `[features]` f32"]
    pub scale: u64,
    #[doc = " `[rows, features]`"]
    pub dy: u64,
    #[doc = " `[rows, features]`, written, `gradient_stride` elements from row to row."]
    pub dgate: u64,
    #[doc = " As `dgate`."]
    pub dup: u64,
    #[doc = " `[ceil(rows / COLUMN_SUM_ROWS), features]` f32, written."]
    pub partials: u64,
    #[doc = " Rows."]
    pub rows: u64,
    #[doc = " Columns of a row."]
    pub features: u64,
    #[doc = " Elements from a row of `gate` and of `up` to the next."]
    pub stride: u64,
    #[doc = " Elements from a row of `dgate` and of `dup` to the next."]
    pub gradient_stride: u64,
    #[doc = " One of `ACTIVATION_*`."]
    pub activation: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GatedScaledBackwardParams"][::std::mem::size_of::<GatedScaledBackwardParams>() - 96usize];
    ["Alignment of GatedScaledBackwardParams"][::std::mem::align_of::<GatedScaledBackwardParams>() - 8usize];
    ["Offset of field: GatedScaledBackwardParams::gate"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, gate) - 0usize];
    ["Offset of field: GatedScaledBackwardParams::up"][::std::mem::offset_of!(GatedScaledBackwardParams, up) - 8usize];
    ["Offset of field: GatedScaledBackwardParams::scale"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, scale) - 16usize];
    ["Offset of field: GatedScaledBackwardParams::dy"][::std::mem::offset_of!(GatedScaledBackwardParams, dy) - 24usize];
    ["Offset of field: GatedScaledBackwardParams::dgate"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, dgate) - 32usize];
    ["Offset of field: GatedScaledBackwardParams::dup"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, dup) - 40usize];
    ["Offset of field: GatedScaledBackwardParams::partials"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, partials) - 48usize];
    ["Offset of field: GatedScaledBackwardParams::rows"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, rows) - 56usize];
    ["Offset of field: GatedScaledBackwardParams::features"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, features) - 64usize];
    ["Offset of field: GatedScaledBackwardParams::stride"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, stride) - 72usize];
    ["Offset of field: GatedScaledBackwardParams::gradient_stride"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, gradient_stride) - 80usize];
    ["Offset of field: GatedScaledBackwardParams::activation"]
        [::std::mem::offset_of!(GatedScaledBackwardParams, activation) - 88usize];
};
#[doc = " Threads of the block that sums all elements."]
pub const SUM_THREADS: u32 = 512;
#[doc = " Shared memory of that block: an f64 for each warp."]
pub const SUM_SHARED_BYTES: u32 = 128;
#[doc = " `sum = x . other`, or the sum of the squares of `x - other`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct SumParams {
    #[doc = " `[len]`"]
    pub x: u64,
    #[doc = " `[len]` f32: weights or targets."]
    pub other: u64,
    #[doc = " `[len]` f32, written: `x - other`; a product ignores it."]
    pub differences: u64,
    #[doc = " `[1]` f32, written."]
    pub sum: u64,
    #[doc = " Elements."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of SumParams"][::std::mem::size_of::<SumParams>() - 40usize];
    ["Alignment of SumParams"][::std::mem::align_of::<SumParams>() - 8usize];
    ["Offset of field: SumParams::x"][::std::mem::offset_of!(SumParams, x) - 0usize];
    ["Offset of field: SumParams::other"][::std::mem::offset_of!(SumParams, other) - 8usize];
    ["Offset of field: SumParams::differences"][::std::mem::offset_of!(SumParams, differences) - 16usize];
    ["Offset of field: SumParams::sum"][::std::mem::offset_of!(SumParams, sum) - 24usize];
    ["Offset of field: SumParams::len"][::std::mem::offset_of!(SumParams, len) - 32usize];
};
#[doc = " Threads of a block that takes one row of logits."]
pub const CROSS_ENTROPY_THREADS: u32 = 512;
#[doc = " Shared memory of that block: an f64, an f32 and a u32 for each warp."]
pub const CROSS_ENTROPY_SHARED_BYTES: u32 = 256;
#[doc = " The label of a row that does not count."]
pub const CROSS_ENTROPY_IGNORED: i32 = -100;
#[doc = " `loss = logsumexp(l) - l[label]` of each row, where `l` are the logits, soft-capped if there is a cap."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct CrossEntropyParams {
    #[doc = " `[rows, vocab]`; replaced by their gradient if that is wanted."]
    pub logits: u64,
    #[doc = " `[rows]` i64, below `vocab` or `CROSS_ENTROPY_IGNORED`."]
    pub labels: u64,
    #[doc = " `[rows]` f64, written: 0 where a row does not count."]
    pub losses: u64,
    #[doc = " `[rows]` u32, written: 1 where the label is the first of the largest logits."]
    pub correct: u64,
    #[doc = " Columns."]
    pub vocab: u64,
    #[doc = " Of every gradient."]
    pub scale: f32,
    #[doc = " The soft cap; 0 for none."]
    pub cap: f32,
    #[doc = " Whether the gradient is wanted."]
    pub gradient: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CrossEntropyParams"][::std::mem::size_of::<CrossEntropyParams>() - 56usize];
    ["Alignment of CrossEntropyParams"][::std::mem::align_of::<CrossEntropyParams>() - 8usize];
    ["Offset of field: CrossEntropyParams::logits"][::std::mem::offset_of!(CrossEntropyParams, logits) - 0usize];
    ["Offset of field: CrossEntropyParams::labels"][::std::mem::offset_of!(CrossEntropyParams, labels) - 8usize];
    ["Offset of field: CrossEntropyParams::losses"][::std::mem::offset_of!(CrossEntropyParams, losses) - 16usize];
    ["Offset of field: CrossEntropyParams::correct"][::std::mem::offset_of!(CrossEntropyParams, correct) - 24usize];
    ["Offset of field: CrossEntropyParams::vocab"][::std::mem::offset_of!(CrossEntropyParams, vocab) - 32usize];
    ["Offset of field: CrossEntropyParams::scale"][::std::mem::offset_of!(CrossEntropyParams, scale) - 40usize];
    ["Offset of field: CrossEntropyParams::cap"][::std::mem::offset_of!(CrossEntropyParams, cap) - 44usize];
    ["Offset of field: CrossEntropyParams::gradient"][::std::mem::offset_of!(CrossEntropyParams, gradient) - 48usize];
};
#[doc = " Sums over the rows."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct CrossEntropySumParams {
    #[doc = " `[rows]` f64"]
    pub losses: u64,
    #[doc = " `[rows]` u32"]
    pub correct: u64,
    #[doc = " `[rows]` i64"]
    pub labels: u64,
    #[doc = " `[3]` f64, added to: losses, rows that count, correct ones."]
    pub sums: u64,
    #[doc = " Rows."]
    pub rows: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CrossEntropySumParams"][::std::mem::size_of::<CrossEntropySumParams>() - 40usize];
    ["Alignment of CrossEntropySumParams"][::std::mem::align_of::<CrossEntropySumParams>() - 8usize];
    ["Offset of field: CrossEntropySumParams::losses"][::std::mem::offset_of!(CrossEntropySumParams, losses) - 0usize];
    ["Offset of field: CrossEntropySumParams::correct"]
        [::std::mem::offset_of!(CrossEntropySumParams, correct) - 8usize];
    ["Offset of field: CrossEntropySumParams::labels"][::std::mem::offset_of!(CrossEntropySumParams, labels) - 16usize];
    ["Offset of field: CrossEntropySumParams::sums"][::std::mem::offset_of!(CrossEntropySumParams, sums) - 24usize];
    ["Offset of field: CrossEntropySumParams::rows"][::std::mem::offset_of!(CrossEntropySumParams, rows) - 32usize];
};
#[doc = " The first of the sums as an f32."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct CrossEntropyLossParams {
    #[doc = " `[3]` f64"]
    pub sums: u64,
    #[doc = " `[1]` f32, written."]
    pub loss: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of CrossEntropyLossParams"][::std::mem::size_of::<CrossEntropyLossParams>() - 16usize];
    ["Alignment of CrossEntropyLossParams"][::std::mem::align_of::<CrossEntropyLossParams>() - 8usize];
    ["Offset of field: CrossEntropyLossParams::sums"][::std::mem::offset_of!(CrossEntropyLossParams, sums) - 0usize];
    ["Offset of field: CrossEntropyLossParams::loss"][::std::mem::offset_of!(CrossEntropyLossParams, loss) - 8usize];
};
#[doc = " Threads of a block that normalises one row."]
pub const NORM_THREADS: u32 = 256;
#[doc = " Shared memory of that block: one f32 for each warp."]
pub const NORM_SHARED_BYTES: u32 = 32;
#[doc = " Threads of a block that sums columns."]
pub const COLUMN_SUM_THREADS: u32 = 128;
#[doc = " Columns that one such block sums: a vector of four for each thread."]
pub const COLUMN_SUM_COLUMNS: u32 = 512;
#[doc = " Rows whose terms one such block adds up."]
pub const COLUMN_SUM_ROWS: u32 = 64;
#[doc = " `sums[c]` = the sum of `partials[.., c]`, in order."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ColumnSumParams {
    #[doc = " `[count, columns]` f32"]
    pub partials: u64,
    #[doc = " `[columns]` f32, written."]
    pub sums: u64,
    #[doc = " Rows of `partials`."]
    pub count: u64,
    #[doc = " Columns."]
    pub columns: u64,
    #[doc = " 1 to add to what `sums` holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ColumnSumParams"][::std::mem::size_of::<ColumnSumParams>() - 40usize];
    ["Alignment of ColumnSumParams"][::std::mem::align_of::<ColumnSumParams>() - 8usize];
    ["Offset of field: ColumnSumParams::partials"][::std::mem::offset_of!(ColumnSumParams, partials) - 0usize];
    ["Offset of field: ColumnSumParams::sums"][::std::mem::offset_of!(ColumnSumParams, sums) - 8usize];
    ["Offset of field: ColumnSumParams::count"][::std::mem::offset_of!(ColumnSumParams, count) - 16usize];
    ["Offset of field: ColumnSumParams::columns"][::std::mem::offset_of!(ColumnSumParams, columns) - 24usize];
    ["Offset of field: ColumnSumParams::add"][::std::mem::offset_of!(ColumnSumParams, add) - 32usize];
};
#[doc = " `y = x * rstd * w`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormForwardParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[hidden]`, of the type of `x`."]
    pub weight: u64,
    #[doc = " `[rows, hidden]`, written."]
    pub y: u64,
    #[doc = " `[rows]` f32, written."]
    pub rstd: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
    #[doc = " Added to the mean square."]
    pub eps: f32,
    #[doc = " Added to the weight: 1 or 0."]
    pub offset: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormForwardParams"][::std::mem::size_of::<RmsNormForwardParams>() - 48usize];
    ["Alignment of RmsNormForwardParams"][::std::mem::align_of::<RmsNormForwardParams>() - 8usize];
    ["Offset of field: RmsNormForwardParams::x"][::std::mem::offset_of!(RmsNormForwardParams, x) - 0usize];
    ["Offset of field: RmsNormForwardParams::weight"][::std::mem::offset_of!(RmsNormForwardParams, weight) - 8usize];
    ["Offset of field: RmsNormForwardParams::y"][::std::mem::offset_of!(RmsNormForwardParams, y) - 16usize];
    ["Offset of field: RmsNormForwardParams::rstd"][::std::mem::offset_of!(RmsNormForwardParams, rstd) - 24usize];
    ["Offset of field: RmsNormForwardParams::hidden"][::std::mem::offset_of!(RmsNormForwardParams, hidden) - 32usize];
    ["Offset of field: RmsNormForwardParams::eps"][::std::mem::offset_of!(RmsNormForwardParams, eps) - 40usize];
    ["Offset of field: RmsNormForwardParams::offset"][::std::mem::offset_of!(RmsNormForwardParams, offset) - 44usize];
};
#[doc = " The gradient of `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormBackwardParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[hidden]`, of the type of `x`."]
    pub weight: u64,
    #[doc = " `[rows]` f32"]
    pub rstd: u64,
    #[doc = " `[rows, hidden]`"]
    pub dy: u64,
    #[doc = " `[rows, hidden]`, written."]
    pub dx: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
    #[doc = " Added to the weight: 1 or 0."]
    pub offset: f32,
    #[doc = " 1 to add to what `dx` holds, 0 to replace it."]
    pub add: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormBackwardParams"][::std::mem::size_of::<RmsNormBackwardParams>() - 56usize];
    ["Alignment of RmsNormBackwardParams"][::std::mem::align_of::<RmsNormBackwardParams>() - 8usize];
    ["Offset of field: RmsNormBackwardParams::x"][::std::mem::offset_of!(RmsNormBackwardParams, x) - 0usize];
    ["Offset of field: RmsNormBackwardParams::weight"][::std::mem::offset_of!(RmsNormBackwardParams, weight) - 8usize];
    ["Offset of field: RmsNormBackwardParams::rstd"][::std::mem::offset_of!(RmsNormBackwardParams, rstd) - 16usize];
    ["Offset of field: RmsNormBackwardParams::dy"][::std::mem::offset_of!(RmsNormBackwardParams, dy) - 24usize];
    ["Offset of field: RmsNormBackwardParams::dx"][::std::mem::offset_of!(RmsNormBackwardParams, dx) - 32usize];
    ["Offset of field: RmsNormBackwardParams::hidden"][::std::mem::offset_of!(RmsNormBackwardParams, hidden) - 40usize];
    ["Offset of field: RmsNormBackwardParams::offset"][::std::mem::offset_of!(RmsNormBackwardParams, offset) - 48usize];
    ["Offset of field: RmsNormBackwardParams::add"][::std::mem::offset_of!(RmsNormBackwardParams, add) - 52usize];
};
#[doc = " The terms of the weight's gradient, summed over blocks of rows."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormWeightParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[rows]` f32"]
    pub rstd: u64,
    #[doc = " `[rows, hidden]`"]
    pub dy: u64,
    #[doc = " `[ceil(rows / COLUMN_SUM_ROWS), hidden]` f32, written."]
    pub partials: u64,
    #[doc = " Rows."]
    pub rows: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormWeightParams"][::std::mem::size_of::<RmsNormWeightParams>() - 48usize];
    ["Alignment of RmsNormWeightParams"][::std::mem::align_of::<RmsNormWeightParams>() - 8usize];
    ["Offset of field: RmsNormWeightParams::x"][::std::mem::offset_of!(RmsNormWeightParams, x) - 0usize];
    ["Offset of field: RmsNormWeightParams::rstd"][::std::mem::offset_of!(RmsNormWeightParams, rstd) - 8usize];
    ["Offset of field: RmsNormWeightParams::dy"][::std::mem::offset_of!(RmsNormWeightParams, dy) - 16usize];
    ["Offset of field: RmsNormWeightParams::partials"][::std::mem::offset_of!(RmsNormWeightParams, partials) - 24usize];
    ["Offset of field: RmsNormWeightParams::rows"][::std::mem::offset_of!(RmsNormWeightParams, rows) - 32usize];
    ["Offset of field: RmsNormWeightParams::hidden"][::std::mem::offset_of!(RmsNormWeightParams, hidden) - 40usize];
};
#[doc = " `y = (x - mean) * rstd * w + b`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LayerNormForwardParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[hidden]`, of the type of `x`."]
    pub weight: u64,
    #[doc = " `[hidden]`, of the type of `x`; 0 for none."]
    pub bias: u64,
    #[doc = " `[rows, hidden]`, written."]
    pub y: u64,
    #[doc = " `[rows, 2]` f32, written: mean and rstd."]
    pub statistics: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
    #[doc = " Added to the variance."]
    pub eps: f32,
    #[doc = " Nothing."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LayerNormForwardParams"][::std::mem::size_of::<LayerNormForwardParams>() - 56usize];
    ["Alignment of LayerNormForwardParams"][::std::mem::align_of::<LayerNormForwardParams>() - 8usize];
    ["Offset of field: LayerNormForwardParams::x"][::std::mem::offset_of!(LayerNormForwardParams, x) - 0usize];
    ["Offset of field: LayerNormForwardParams::weight"]
        [::std::mem::offset_of!(LayerNormForwardParams, weight) - 8usize];
    ["Offset of field: LayerNormForwardParams::bias"][::std::mem::offset_of!(LayerNormForwardParams, bias) - 16usize];
    ["Offset of field: LayerNormForwardParams::y"][::std::mem::offset_of!(LayerNormForwardParams, y) - 24usize];
    ["Offset of field: LayerNormForwardParams::statistics"]
        [::std::mem::offset_of!(LayerNormForwardParams, statistics) - 32usize];
    ["Offset of field: LayerNormForwardParams::hidden"]
        [::std::mem::offset_of!(LayerNormForwardParams, hidden) - 40usize];
    ["Offset of field: LayerNormForwardParams::eps"][::std::mem::offset_of!(LayerNormForwardParams, eps) - 48usize];
    ["Offset of field: LayerNormForwardParams::padding"]
        [::std::mem::offset_of!(LayerNormForwardParams, padding) - 52usize];
};
#[doc = " The gradient of `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LayerNormBackwardParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[hidden]`, of the type of `x`."]
    pub weight: u64,
    #[doc = " `[rows, 2]` f32"]
    pub statistics: u64,
    #[doc = " `[rows, hidden]`"]
    pub dy: u64,
    #[doc = " `[rows, hidden]`, written."]
    pub dx: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
    #[doc = " 1 to add to what `dx` holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LayerNormBackwardParams"][::std::mem::size_of::<LayerNormBackwardParams>() - 56usize];
    ["Alignment of LayerNormBackwardParams"][::std::mem::align_of::<LayerNormBackwardParams>() - 8usize];
    ["Offset of field: LayerNormBackwardParams::x"][::std::mem::offset_of!(LayerNormBackwardParams, x) - 0usize];
    ["Offset of field: LayerNormBackwardParams::weight"]
        [::std::mem::offset_of!(LayerNormBackwardParams, weight) - 8usize];
    ["Offset of field: LayerNormBackwardParams::statistics"]
        [::std::mem::offset_of!(LayerNormBackwardParams, statistics) - 16usize];
    ["Offset of field: LayerNormBackwardParams::dy"][::std::mem::offset_of!(LayerNormBackwardParams, dy) - 24usize];
    ["Offset of field: LayerNormBackwardParams::dx"][::std::mem::offset_of!(LayerNormBackwardParams, dx) - 32usize];
    ["Offset of field: LayerNormBackwardParams::hidden"]
        [::std::mem::offset_of!(LayerNormBackwardParams, hidden) - 40usize];
    ["Offset of field: LayerNormBackwardParams::add"][::std::mem::offset_of!(LayerNormBackwardParams, add) - 48usize];
};
#[doc = " The terms of the gradients of weight and bias, summed over blocks of rows."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LayerNormWeightParams {
    #[doc = " `[rows, hidden]`"]
    pub x: u64,
    #[doc = " `[rows, 2]` f32"]
    pub statistics: u64,
    #[doc = " `[rows, hidden]`"]
    pub dy: u64,
    #[doc = " `[ceil(rows / COLUMN_SUM_ROWS), hidden]` f32, written; 0 if not wanted."]
    pub weight_partials: u64,
    #[doc = " As `weight_partials`, of the bias."]
    pub bias_partials: u64,
    #[doc = " Rows."]
    pub rows: u64,
    #[doc = " Elements of a row."]
    pub hidden: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LayerNormWeightParams"][::std::mem::size_of::<LayerNormWeightParams>() - 56usize];
    ["Alignment of LayerNormWeightParams"][::std::mem::align_of::<LayerNormWeightParams>() - 8usize];
    ["Offset of field: LayerNormWeightParams::x"][::std::mem::offset_of!(LayerNormWeightParams, x) - 0usize];
    ["Offset of field: LayerNormWeightParams::statistics"]
        [::std::mem::offset_of!(LayerNormWeightParams, statistics) - 8usize];
    ["Offset of field: LayerNormWeightParams::dy"][::std::mem::offset_of!(LayerNormWeightParams, dy) - 16usize];
    ["Offset of field: LayerNormWeightParams::weight_partials"]
        [::std::mem::offset_of!(LayerNormWeightParams, weight_partials) - 24usize];
    ["Offset of field: LayerNormWeightParams::bias_partials"]
        [::std::mem::offset_of!(LayerNormWeightParams, bias_partials) - 32usize];
    ["Offset of field: LayerNormWeightParams::rows"][::std::mem::offset_of!(LayerNormWeightParams, rows) - 40usize];
    ["Offset of field: LayerNormWeightParams::hidden"][::std::mem::offset_of!(LayerNormWeightParams, hidden) - 48usize];
};
#[doc = " Threads of a block of a function of single elements."]
pub const POINTWISE_THREADS: u32 = 256;
#[doc = " Elements that one such block takes: a vector of four for each thread."]
pub const POINTWISE_ELEMENTS: u32 = 1024;
#[doc = " `y = act(x)`, or `y = cap * tanh(x / cap)`; backward `y *= act'(x)`, in place."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct PointwiseParams {
    #[doc = " `[len]`"]
    pub x: u64,
    #[doc = " `[len]`, written; backward the gradient of the result, turned into that of `x`."]
    pub y: u64,
    #[doc = " Elements."]
    pub len: u64,
    #[doc = " One of `ACTIVATION_*`; a soft cap ignores it."]
    pub activation: u32,
    #[doc = " The soft cap; an activation ignores it."]
    pub cap: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PointwiseParams"][::std::mem::size_of::<PointwiseParams>() - 32usize];
    ["Alignment of PointwiseParams"][::std::mem::align_of::<PointwiseParams>() - 8usize];
    ["Offset of field: PointwiseParams::x"][::std::mem::offset_of!(PointwiseParams, x) - 0usize];
    ["Offset of field: PointwiseParams::y"][::std::mem::offset_of!(PointwiseParams, y) - 8usize];
    ["Offset of field: PointwiseParams::len"][::std::mem::offset_of!(PointwiseParams, len) - 16usize];
    ["Offset of field: PointwiseParams::activation"][::std::mem::offset_of!(PointwiseParams, activation) - 24usize];
    ["Offset of field: PointwiseParams::cap"][::std::mem::offset_of!(PointwiseParams, cap) - 28usize];
};
#[doc = " `y = a + b`, or `y = a / b`. `y` may be `a`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct BinaryParams {
    #[doc = " `[len]`"]
    pub a: u64,
    #[doc = " `[len]`"]
    pub b: u64,
    #[doc = " `[len]`, written."]
    pub y: u64,
    #[doc = " Elements."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of BinaryParams"][::std::mem::size_of::<BinaryParams>() - 32usize];
    ["Alignment of BinaryParams"][::std::mem::align_of::<BinaryParams>() - 8usize];
    ["Offset of field: BinaryParams::a"][::std::mem::offset_of!(BinaryParams, a) - 0usize];
    ["Offset of field: BinaryParams::b"][::std::mem::offset_of!(BinaryParams, b) - 8usize];
    ["Offset of field: BinaryParams::y"][::std::mem::offset_of!(BinaryParams, y) - 16usize];
    ["Offset of field: BinaryParams::len"][::std::mem::offset_of!(BinaryParams, len) - 24usize];
};
#[doc = " `y = factor * x`, or that added to `y`. `y` may be `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ScaleParams {
    #[doc = " `[len]`"]
    pub x: u64,
    #[doc = " `[len]`, written."]
    pub y: u64,
    #[doc = " `[1]` f32 that multiplies the factor; 0 for none."]
    pub multiplier: u64,
    #[doc = " Elements."]
    pub len: u64,
    #[doc = " Of every element."]
    pub factor: f32,
    #[doc = " 1 to add to what `y` holds, 0 to replace it."]
    pub add: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ScaleParams"][::std::mem::size_of::<ScaleParams>() - 40usize];
    ["Alignment of ScaleParams"][::std::mem::align_of::<ScaleParams>() - 8usize];
    ["Offset of field: ScaleParams::x"][::std::mem::offset_of!(ScaleParams, x) - 0usize];
    ["Offset of field: ScaleParams::y"][::std::mem::offset_of!(ScaleParams, y) - 8usize];
    ["Offset of field: ScaleParams::multiplier"][::std::mem::offset_of!(ScaleParams, multiplier) - 16usize];
    ["Offset of field: ScaleParams::len"][::std::mem::offset_of!(ScaleParams, len) - 24usize];
    ["Offset of field: ScaleParams::factor"][::std::mem::offset_of!(ScaleParams, factor) - 32usize];
    ["Offset of field: ScaleParams::add"][::std::mem::offset_of!(ScaleParams, add) - 36usize];
};
#[doc = " Threads of a block that rotates the heads of one token."]
pub const ROPE_THREADS: u32 = 128;
#[doc = " Rotation of channel pairs `j`, `j + rotary_dim / 2` of every head. `y` may be `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RopeParams {
    #[doc = " `[num_tokens, x_stride]`, the heads side by side from the start of a row."]
    pub x: u64,
    #[doc = " `[num_tokens, y_stride]`, written where there are heads."]
    pub y: u64,
    #[doc = " `[max_positions, rotary_dim / 2]` f32"]
    pub cos: u64,
    #[doc = " `[max_positions, rotary_dim / 2]` f32"]
    pub sin: u64,
    #[doc = " `[num_tokens]` u32, below `max_positions`."]
    pub positions: u64,
    #[doc = " Elements from a token of `x` to the next."]
    pub x_stride: u64,
    #[doc = " Elements from a token of `y` to the next."]
    pub y_stride: u64,
    #[doc = " Heads of a token."]
    pub num_heads: u32,
    #[doc = " Channels of a head."]
    pub head_dim: u32,
    #[doc = " Channels of a head that rotate."]
    pub rotary_dim: u32,
    #[doc = " 1 forward, -1 backward: the sign of the sines."]
    pub direction: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RopeParams"][::std::mem::size_of::<RopeParams>() - 72usize];
    ["Alignment of RopeParams"][::std::mem::align_of::<RopeParams>() - 8usize];
    ["Offset of field: RopeParams::x"][::std::mem::offset_of!(RopeParams, x) - 0usize];
    ["Offset of field: RopeParams::y"][::std::mem::offset_of!(RopeParams, y) - 8usize];
    ["Offset of field: RopeParams::cos"][::std::mem::offset_of!(RopeParams, cos) - 16usize];
    ["Offset of field: RopeParams::sin"][::std::mem::offset_of!(RopeParams, sin) - 24usize];
    ["Offset of field: RopeParams::positions"][::std::mem::offset_of!(RopeParams, positions) - 32usize];
    ["Offset of field: RopeParams::x_stride"][::std::mem::offset_of!(RopeParams, x_stride) - 40usize];
    ["Offset of field: RopeParams::y_stride"][::std::mem::offset_of!(RopeParams, y_stride) - 48usize];
    ["Offset of field: RopeParams::num_heads"][::std::mem::offset_of!(RopeParams, num_heads) - 56usize];
    ["Offset of field: RopeParams::head_dim"][::std::mem::offset_of!(RopeParams, head_dim) - 60usize];
    ["Offset of field: RopeParams::rotary_dim"][::std::mem::offset_of!(RopeParams, rotary_dim) - 64usize];
    ["Offset of field: RopeParams::direction"][::std::mem::offset_of!(RopeParams, direction) - 68usize];
};
#[doc = " Threads of a block that copies one row."]
pub const ROWS_THREADS: u32 = 128;
#[doc = " No row: nothing is left out."]
pub const ROWS_NONE: u32 = 4294967295;
#[doc = " `y[i] = factor * x[rows[i]]`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GatherRowsParams {
    #[doc = " `[.., width]`"]
    pub x: u64,
    #[doc = " `[count]` u32, rows of `x`."]
    pub rows: u64,
    #[doc = " `[count, width]`, written."]
    pub y: u64,
    #[doc = " Elements of a row."]
    pub width: u64,
    #[doc = " Of every element."]
    pub factor: f32,
    #[doc = " Nothing."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GatherRowsParams"][::std::mem::size_of::<GatherRowsParams>() - 40usize];
    ["Alignment of GatherRowsParams"][::std::mem::align_of::<GatherRowsParams>() - 8usize];
    ["Offset of field: GatherRowsParams::x"][::std::mem::offset_of!(GatherRowsParams, x) - 0usize];
    ["Offset of field: GatherRowsParams::rows"][::std::mem::offset_of!(GatherRowsParams, rows) - 8usize];
    ["Offset of field: GatherRowsParams::y"][::std::mem::offset_of!(GatherRowsParams, y) - 16usize];
    ["Offset of field: GatherRowsParams::width"][::std::mem::offset_of!(GatherRowsParams, width) - 24usize];
    ["Offset of field: GatherRowsParams::factor"][::std::mem::offset_of!(GatherRowsParams, factor) - 32usize];
    ["Offset of field: GatherRowsParams::padding"][::std::mem::offset_of!(GatherRowsParams, padding) - 36usize];
};
#[doc = " `x[rows[i]] += factor * y[i]`, one segment of `order` for each row that is named."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ScatterRowsParams {
    #[doc = " `[.., width]`, added to."]
    pub x: u64,
    #[doc = " `[count]` u32, rows of `x`."]
    pub rows: u64,
    #[doc = " `[count]` u32: places in `rows`, those that name one row side by side and in their order."]
    pub order: u64,
    #[doc = " `[segments + 1]` u32: where each segment of `order` starts, then where the last one ends."]
    pub starts: u64,
    #[doc = " `[count, width]`"]
    pub y: u64,
    #[doc = " Elements of a row."]
    pub width: u64,
    #[doc = " Of every element."]
    pub factor: f32,
    #[doc = " The row that is left as it is, or `ROWS_NONE`."]
    pub kept: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ScatterRowsParams"][::std::mem::size_of::<ScatterRowsParams>() - 56usize];
    ["Alignment of ScatterRowsParams"][::std::mem::align_of::<ScatterRowsParams>() - 8usize];
    ["Offset of field: ScatterRowsParams::x"][::std::mem::offset_of!(ScatterRowsParams, x) - 0usize];
    ["Offset of field: ScatterRowsParams::rows"][::std::mem::offset_of!(ScatterRowsParams, rows) - 8usize];
    ["Offset of field: ScatterRowsParams::order"][::std::mem::offset_of!(ScatterRowsParams, order) - 16usize];
    ["Offset of field: ScatterRowsParams::starts"][::std::mem::offset_of!(ScatterRowsParams, starts) - 24usize];
    ["Offset of field: ScatterRowsParams::y"][::std::mem::offset_of!(ScatterRowsParams, y) - 32usize];
    ["Offset of field: ScatterRowsParams::width"][::std::mem::offset_of!(ScatterRowsParams, width) - 40usize];
    ["Offset of field: ScatterRowsParams::factor"][::std::mem::offset_of!(ScatterRowsParams, factor) - 48usize];
    ["Offset of field: ScatterRowsParams::kept"][::std::mem::offset_of!(ScatterRowsParams, kept) - 52usize];
};
#[doc = " `count` blocks of `len` columns, `stride` from one to the next, gathered side by side; transposed, put or added back."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct ColumnsParams {
    #[doc = " `[rows, columns]`, read; written or added to by the transposed map."]
    pub x: u64,
    #[doc = " `[rows, count * len]`, written; read by the transposed map."]
    pub y: u64,
    #[doc = " Columns of `x`."]
    pub columns: u64,
    #[doc = " The first column of the first block."]
    pub start: u64,
    #[doc = " Columns of a block."]
    pub len: u64,
    #[doc = " Columns from a block to the next."]
    pub stride: u64,
    #[doc = " Blocks."]
    pub count: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ColumnsParams"][::std::mem::size_of::<ColumnsParams>() - 56usize];
    ["Alignment of ColumnsParams"][::std::mem::align_of::<ColumnsParams>() - 8usize];
    ["Offset of field: ColumnsParams::x"][::std::mem::offset_of!(ColumnsParams, x) - 0usize];
    ["Offset of field: ColumnsParams::y"][::std::mem::offset_of!(ColumnsParams, y) - 8usize];
    ["Offset of field: ColumnsParams::columns"][::std::mem::offset_of!(ColumnsParams, columns) - 16usize];
    ["Offset of field: ColumnsParams::start"][::std::mem::offset_of!(ColumnsParams, start) - 24usize];
    ["Offset of field: ColumnsParams::len"][::std::mem::offset_of!(ColumnsParams, len) - 32usize];
    ["Offset of field: ColumnsParams::stride"][::std::mem::offset_of!(ColumnsParams, stride) - 40usize];
    ["Offset of field: ColumnsParams::count"][::std::mem::offset_of!(ColumnsParams, count) - 48usize];
};
#[doc = " `y[r] = x[r] + factor * row`. `y` may be `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct BroadcastParams {
    #[doc = " `[rows, columns]`; 0 for zeros."]
    pub x: u64,
    #[doc = " `[columns]`"]
    pub row: u64,
    #[doc = " `[rows, columns]`, written."]
    pub y: u64,
    #[doc = " Elements of a row."]
    pub columns: u64,
    #[doc = " Of every element of `row`."]
    pub factor: f32,
    #[doc = " Nothing."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of BroadcastParams"][::std::mem::size_of::<BroadcastParams>() - 40usize];
    ["Alignment of BroadcastParams"][::std::mem::align_of::<BroadcastParams>() - 8usize];
    ["Offset of field: BroadcastParams::x"][::std::mem::offset_of!(BroadcastParams, x) - 0usize];
    ["Offset of field: BroadcastParams::row"][::std::mem::offset_of!(BroadcastParams, row) - 8usize];
    ["Offset of field: BroadcastParams::y"][::std::mem::offset_of!(BroadcastParams, y) - 16usize];
    ["Offset of field: BroadcastParams::columns"][::std::mem::offset_of!(BroadcastParams, columns) - 24usize];
    ["Offset of field: BroadcastParams::factor"][::std::mem::offset_of!(BroadcastParams, factor) - 32usize];
    ["Offset of field: BroadcastParams::padding"][::std::mem::offset_of!(BroadcastParams, padding) - 36usize];
};
#[doc = " The same rows before every sequence of a packed batch: `y[s] = [prompt; x[s]]`; the gradients of both parts."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct PrependParams {
    #[doc = " `[prompt_rows, width]`; in the backward its gradient, written."]
    pub prompt: u64,
    #[doc = " `[num_tokens, width]`; in the backward its gradient, written."]
    pub x: u64,
    #[doc = " `[num_tokens + num_sequences * prompt_rows, width]`, written; in the backward its gradient, read."]
    pub y: u64,
    #[doc = " `[num_sequences + 1]` u32: the starts of the sequences in `x`, then its rows."]
    pub cu_seqlens: u64,
    #[doc = " Sequences."]
    pub num_sequences: u64,
    #[doc = " Rows before every sequence."]
    pub prompt_rows: u64,
    #[doc = " Elements of a row."]
    pub width: u64,
    #[doc = " 1 to add to what a gradient holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PrependParams"][::std::mem::size_of::<PrependParams>() - 64usize];
    ["Alignment of PrependParams"][::std::mem::align_of::<PrependParams>() - 8usize];
    ["Offset of field: PrependParams::prompt"][::std::mem::offset_of!(PrependParams, prompt) - 0usize];
    ["Offset of field: PrependParams::x"][::std::mem::offset_of!(PrependParams, x) - 8usize];
    ["Offset of field: PrependParams::y"][::std::mem::offset_of!(PrependParams, y) - 16usize];
    ["Offset of field: PrependParams::cu_seqlens"][::std::mem::offset_of!(PrependParams, cu_seqlens) - 24usize];
    ["Offset of field: PrependParams::num_sequences"][::std::mem::offset_of!(PrependParams, num_sequences) - 32usize];
    ["Offset of field: PrependParams::prompt_rows"][::std::mem::offset_of!(PrependParams, prompt_rows) - 40usize];
    ["Offset of field: PrependParams::width"][::std::mem::offset_of!(PrependParams, width) - 48usize];
    ["Offset of field: PrependParams::add"][::std::mem::offset_of!(PrependParams, add) - 56usize];
};
#[doc = " `y[s]` = the mean of the rows of sequence `s` of `x`; backward the gradient of `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct MeanRowsParams {
    #[doc = " `[num_rows, width]`; in the backward its gradient, written."]
    pub x: u64,
    #[doc = " `[num_sequences, width]`, written; in the backward its gradient, read."]
    pub y: u64,
    #[doc = " `[num_sequences + 1]` u32: the starts of the sequences in `x`, then its rows."]
    pub cu_seqlens: u64,
    #[doc = " Sequences."]
    pub num_sequences: u64,
    #[doc = " Elements of a row."]
    pub width: u64,
    #[doc = " 1 to add to what the gradient holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of MeanRowsParams"][::std::mem::size_of::<MeanRowsParams>() - 48usize];
    ["Alignment of MeanRowsParams"][::std::mem::align_of::<MeanRowsParams>() - 8usize];
    ["Offset of field: MeanRowsParams::x"][::std::mem::offset_of!(MeanRowsParams, x) - 0usize];
    ["Offset of field: MeanRowsParams::y"][::std::mem::offset_of!(MeanRowsParams, y) - 8usize];
    ["Offset of field: MeanRowsParams::cu_seqlens"][::std::mem::offset_of!(MeanRowsParams, cu_seqlens) - 16usize];
    ["Offset of field: MeanRowsParams::num_sequences"][::std::mem::offset_of!(MeanRowsParams, num_sequences) - 24usize];
    ["Offset of field: MeanRowsParams::width"][::std::mem::offset_of!(MeanRowsParams, width) - 32usize];
    ["Offset of field: MeanRowsParams::add"][::std::mem::offset_of!(MeanRowsParams, add) - 40usize];
};
