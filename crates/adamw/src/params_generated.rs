// Written by scripts/bindings from params.h.

#[doc = " Threads of a block, in every kernel here."]
pub const ADAMW_THREADS: u32 = 256;
#[doc = " Elements that one block of the step updates: a vector of four for each thread."]
pub const ADAMW_STEP_ELEMENTS: u32 = 1024;
#[doc = " Gradients whose squares one block adds up. The number of partial sums depends on nothing else but their number."]
pub const ADAMW_NORM_ELEMENTS: u32 = 16384;
#[doc = " Shared memory of the two reductions: one f64 for each warp."]
pub const ADAMW_NORM_SHARED_BYTES: u32 = 64;
#[doc = " One step over the parameters of one group. The factors are as the CPU computes them: in f64, rounded once."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWStepParams {
    #[doc = " `[len]` f32"]
    pub gradients: u64,
    #[doc = " `[len]` f32, updated."]
    pub parameters: u64,
    #[doc = " `[len]` f32, updated."]
    pub exp_avg: u64,
    #[doc = " `[len]` f32, updated."]
    pub exp_avg_sq: u64,
    #[doc = " `[len]` bf16, written with the rounded parameters; read by no kernel that writes none."]
    pub shadow: u64,
    #[doc = " One f32: the factor of every gradient, that is, the clip coefficient."]
    pub grad_scale: u64,
    #[doc = " Parameters of the group."]
    pub len: u64,
    #[doc = " `1 - lr * weight_decay`"]
    pub keep: f32,
    #[doc = " `1 - beta1`"]
    pub one_minus_beta1: f32,
    #[doc = " `beta2`"]
    pub beta2: f32,
    #[doc = " `1 - beta2`"]
    pub one_minus_beta2: f32,
    #[doc = " `sqrt(1 - beta2^step)`"]
    pub sqrt_bias_correction2: f32,
    #[doc = " `epsilon`"]
    pub epsilon: f32,
    #[doc = " `lr / (1 - beta1^step)`"]
    pub step_size: f32,
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWStepParams"][::std::mem::size_of::<AdamWStepParams>() - 88usize];
    ["Alignment of AdamWStepParams"][::std::mem::align_of::<AdamWStepParams>() - 8usize];
    ["Offset of field: AdamWStepParams::gradients"][::std::mem::offset_of!(AdamWStepParams, gradients) - 0usize];
    ["Offset of field: AdamWStepParams::parameters"][::std::mem::offset_of!(AdamWStepParams, parameters) - 8usize];
    ["Offset of field: AdamWStepParams::exp_avg"][::std::mem::offset_of!(AdamWStepParams, exp_avg) - 16usize];
    ["Offset of field: AdamWStepParams::exp_avg_sq"][::std::mem::offset_of!(AdamWStepParams, exp_avg_sq) - 24usize];
    ["Offset of field: AdamWStepParams::shadow"][::std::mem::offset_of!(AdamWStepParams, shadow) - 32usize];
    ["Offset of field: AdamWStepParams::grad_scale"][::std::mem::offset_of!(AdamWStepParams, grad_scale) - 40usize];
    ["Offset of field: AdamWStepParams::len"][::std::mem::offset_of!(AdamWStepParams, len) - 48usize];
    ["Offset of field: AdamWStepParams::keep"][::std::mem::offset_of!(AdamWStepParams, keep) - 56usize];
    ["Offset of field: AdamWStepParams::one_minus_beta1"]
        [::std::mem::offset_of!(AdamWStepParams, one_minus_beta1) - 60usize];
    ["Offset of field: AdamWStepParams::beta2"][::std::mem::offset_of!(AdamWStepParams, beta2) - 64usize];
    ["Offset of field: AdamWStepParams::one_minus_beta2"]
        [::std::mem::offset_of!(AdamWStepParams, one_minus_beta2) - 68usize];
    ["Offset of field: AdamWStepParams::sqrt_bias_correction2"]
        [::std::mem::offset_of!(AdamWStepParams, sqrt_bias_correction2) - 72usize];
    ["Offset of field: AdamWStepParams::epsilon"][::std::mem::offset_of!(AdamWStepParams, epsilon) - 76usize];
    ["Offset of field: AdamWStepParams::step_size"][::std::mem::offset_of!(AdamWStepParams, step_size) - 80usize];
    ["Offset of field: AdamWStepParams::padding"][::std::mem::offset_of!(AdamWStepParams, padding) - 84usize];
};
#[doc = " First stage of the gradient norm: the sum of squares of each `ADAMW_NORM_ELEMENTS` gradients."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWSumOfSquaresParams {
    #[doc = " `[len]` f32"]
    pub gradients: u64,
    #[doc = " `[ceil(len / ADAMW_NORM_ELEMENTS)]` f64, written."]
    pub partials: u64,
    #[doc = " Gradients."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWSumOfSquaresParams"][::std::mem::size_of::<AdamWSumOfSquaresParams>() - 24usize];
    ["Alignment of AdamWSumOfSquaresParams"][::std::mem::align_of::<AdamWSumOfSquaresParams>() - 8usize];
    ["Offset of field: AdamWSumOfSquaresParams::gradients"]
        [::std::mem::offset_of!(AdamWSumOfSquaresParams, gradients) - 0usize];
    ["Offset of field: AdamWSumOfSquaresParams::partials"]
        [::std::mem::offset_of!(AdamWSumOfSquaresParams, partials) - 8usize];
    ["Offset of field: AdamWSumOfSquaresParams::len"][::std::mem::offset_of!(AdamWSumOfSquaresParams, len) - 16usize];
};
#[doc = " Second stage: the norm, and the factor that clips it."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWClipParams {
    #[doc = " `[count]` f64"]
    pub partials: u64,
    #[doc = " One f64, written: the norm."]
    pub norm: u64,
    #[doc = " One f32, written: `min(max_norm / (norm + 1e-6), 1)`."]
    pub grad_scale: u64,
    #[doc = " Partial sums."]
    pub count: u64,
    #[doc = " The largest norm that is left as it is."]
    pub max_norm: f32,
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWClipParams"][::std::mem::size_of::<AdamWClipParams>() - 40usize];
    ["Alignment of AdamWClipParams"][::std::mem::align_of::<AdamWClipParams>() - 8usize];
    ["Offset of field: AdamWClipParams::partials"][::std::mem::offset_of!(AdamWClipParams, partials) - 0usize];
    ["Offset of field: AdamWClipParams::norm"][::std::mem::offset_of!(AdamWClipParams, norm) - 8usize];
    ["Offset of field: AdamWClipParams::grad_scale"][::std::mem::offset_of!(AdamWClipParams, grad_scale) - 16usize];
    ["Offset of field: AdamWClipParams::count"][::std::mem::offset_of!(AdamWClipParams, count) - 24usize];
    ["Offset of field: AdamWClipParams::max_norm"][::std::mem::offset_of!(AdamWClipParams, max_norm) - 32usize];
    ["Offset of field: AdamWClipParams::padding"][::std::mem::offset_of!(AdamWClipParams, padding) - 36usize];
};
