// Written by scripts/bindings from params.h.

#[doc = " Threads of a block that normalises one row."]
pub const RMS_NORM_THREADS: u32 = 256;
#[doc = " Shared memory of that block: one f32 for each warp."]
pub const RMS_NORM_SHARED_BYTES: u32 = 32;
#[doc = " Threads of a block that sums columns."]
pub const RMS_NORM_COLUMN_THREADS: u32 = 128;
#[doc = " Columns that one such block sums: a vector of four for each thread."]
pub const RMS_NORM_COLUMNS: u32 = 512;
#[doc = " Rows whose terms one such block adds up."]
pub const RMS_NORM_SUM_ROWS: u32 = 64;
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
    #[doc = " `[ceil(rows / RMS_NORM_SUM_ROWS), hidden]` f32, written."]
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
#[doc = " `sums[c]` = the sum of `partials[.., c]`, in order."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct RmsNormSumParams {
    #[doc = " `[count, hidden]` f32"]
    pub partials: u64,
    #[doc = " `[hidden]` f32, written."]
    pub sums: u64,
    #[doc = " Rows of `partials`."]
    pub count: u64,
    #[doc = " Columns."]
    pub hidden: u64,
    #[doc = " 1 to add to what `sums` holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of RmsNormSumParams"][::std::mem::size_of::<RmsNormSumParams>() - 40usize];
    ["Alignment of RmsNormSumParams"][::std::mem::align_of::<RmsNormSumParams>() - 8usize];
    ["Offset of field: RmsNormSumParams::partials"][::std::mem::offset_of!(RmsNormSumParams, partials) - 0usize];
    ["Offset of field: RmsNormSumParams::sums"][::std::mem::offset_of!(RmsNormSumParams, sums) - 8usize];
    ["Offset of field: RmsNormSumParams::count"][::std::mem::offset_of!(RmsNormSumParams, count) - 16usize];
    ["Offset of field: RmsNormSumParams::hidden"][::std::mem::offset_of!(RmsNormSumParams, hidden) - 24usize];
    ["Offset of field: RmsNormSumParams::add"][::std::mem::offset_of!(RmsNormSumParams, add) - 32usize];
};
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
#[doc = " `y = act(gate) * up`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GatedForwardParams {
    #[doc = " `[rows, features]`, `stride` elements from row to row."]
    pub gate: u64,
    #[doc = " As `gate`."]
    pub up: u64,
    #[doc = " `[rows, features]`, written."]
    pub y: u64,
    #[doc = " Columns of a row."]
    pub features: u64,
    #[doc = " Elements from a row of `gate` and of `up` to the next: `features`, or twice that where they lie side by side."]
    pub stride: u64,
    #[doc = " One of `ACTIVATION_*`."]
    pub activation: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GatedForwardParams"][::std::mem::size_of::<GatedForwardParams>() - 48usize];
    ["Alignment of GatedForwardParams"][::std::mem::align_of::<GatedForwardParams>() - 8usize];
    ["Offset of field: GatedForwardParams::gate"][::std::mem::offset_of!(GatedForwardParams, gate) - 0usize];
    ["Offset of field: GatedForwardParams::up"][::std::mem::offset_of!(GatedForwardParams, up) - 8usize];
    ["Offset of field: GatedForwardParams::y"][::std::mem::offset_of!(GatedForwardParams, y) - 16usize];
    ["Offset of field: GatedForwardParams::features"][::std::mem::offset_of!(GatedForwardParams, features) - 24usize];
    ["Offset of field: GatedForwardParams::stride"][::std::mem::offset_of!(GatedForwardParams, stride) - 32usize];
    ["Offset of field: GatedForwardParams::activation"]
        [::std::mem::offset_of!(GatedForwardParams, activation) - 40usize];
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
