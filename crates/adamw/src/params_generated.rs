// Written by scripts/bindings from params.h.

#[doc = " Threads of a block, in every kernel here."]
pub const ADAMW_THREADS: u32 = 256;
#[doc = " Elements that one block of the step updates: a vector of four for each thread."]
pub const ADAMW_STEP_ELEMENTS: u32 = 1024;
#[doc = " Gradients whose squares one block adds up. The number of partial sums depends on nothing else but their number."]
pub const ADAMW_NORM_ELEMENTS: u32 = 16384;
#[doc = " Shared memory of the two reductions: one f64 for each warp."]
pub const ADAMW_NORM_SHARED_BYTES: u32 = 64;
#[doc = " What a step multiplies by, as the CPU computes it: in f64, rounded once."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWRates {
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
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWRates"][::std::mem::size_of::<AdamWRates>() - 28usize];
    ["Alignment of AdamWRates"][::std::mem::align_of::<AdamWRates>() - 4usize];
    ["Offset of field: AdamWRates::keep"][::std::mem::offset_of!(AdamWRates, keep) - 0usize];
    ["Offset of field: AdamWRates::one_minus_beta1"][::std::mem::offset_of!(AdamWRates, one_minus_beta1) - 4usize];
    ["Offset of field: AdamWRates::beta2"][::std::mem::offset_of!(AdamWRates, beta2) - 8usize];
    ["Offset of field: AdamWRates::one_minus_beta2"][::std::mem::offset_of!(AdamWRates, one_minus_beta2) - 12usize];
    ["Offset of field: AdamWRates::sqrt_bias_correction2"]
        [::std::mem::offset_of!(AdamWRates, sqrt_bias_correction2) - 16usize];
    ["Offset of field: AdamWRates::epsilon"][::std::mem::offset_of!(AdamWRates, epsilon) - 20usize];
    ["Offset of field: AdamWRates::step_size"][::std::mem::offset_of!(AdamWRates, step_size) - 24usize];
};
#[doc = " One step over the parameters of one group."]
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
    #[doc = " One f32: the factor of every gradient, that is, the clip coefficient. With NaN nothing is changed."]
    pub grad_scale: u64,
    #[doc = " Parameters of the group."]
    pub len: u64,
    #[doc = " Of the group."]
    pub rates: AdamWRates,
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
    ["Offset of field: AdamWStepParams::rates"][::std::mem::offset_of!(AdamWStepParams, rates) - 56usize];
    ["Offset of field: AdamWStepParams::padding"][::std::mem::offset_of!(AdamWStepParams, padding) - 84usize];
};
#[doc = " Elements of a block of 8-bit codes, which one block of threads updates."]
pub const ADAMW_CODE_BLOCK: u32 = 256;
#[doc = " Shared memory of that block: both maps, and one f32 for each warp."]
pub const ADAMW_8BIT_SHARED_BYTES: u32 = 2080;
#[doc = " One step over one tensor whose moments are 8-bit codes, in blocks with one scale each."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWStep8bitParams {
    #[doc = " `[len]` f32"]
    pub gradients: u64,
    #[doc = " `[len]` f32, updated."]
    pub parameters: u64,
    #[doc = " `[len]` u8, updated."]
    pub exp_avg: u64,
    #[doc = " `[ceil(len / ADAMW_CODE_BLOCK)]` f32, updated."]
    pub exp_avg_absmax: u64,
    #[doc = " `[len]` u8, updated."]
    pub exp_avg_sq: u64,
    #[doc = " `[ceil(len / ADAMW_CODE_BLOCK)]` f32, updated."]
    pub exp_avg_sq_absmax: u64,
    #[doc = " `[256]` f32: what codes of the first moment stand for."]
    pub signed_map: u64,
    #[doc = " `[256]` f32: what codes of the second moment stand for."]
    pub unsigned_map: u64,
    #[doc = " `[len]` bf16, written with the rounded parameters; read by no kernel that writes none."]
    pub shadow: u64,
    #[doc = " One f32: the factor of every gradient, that is, the clip coefficient. With NaN nothing is changed."]
    pub grad_scale: u64,
    #[doc = " Parameters of the tensor."]
    pub len: u64,
    #[doc = " Of the tensor."]
    pub rates: AdamWRates,
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWStep8bitParams"][::std::mem::size_of::<AdamWStep8bitParams>() - 120usize];
    ["Alignment of AdamWStep8bitParams"][::std::mem::align_of::<AdamWStep8bitParams>() - 8usize];
    ["Offset of field: AdamWStep8bitParams::gradients"]
        [::std::mem::offset_of!(AdamWStep8bitParams, gradients) - 0usize];
    ["Offset of field: AdamWStep8bitParams::parameters"]
        [::std::mem::offset_of!(AdamWStep8bitParams, parameters) - 8usize];
    ["Offset of field: AdamWStep8bitParams::exp_avg"][::std::mem::offset_of!(AdamWStep8bitParams, exp_avg) - 16usize];
    ["Offset of field: AdamWStep8bitParams::exp_avg_absmax"]
        [::std::mem::offset_of!(AdamWStep8bitParams, exp_avg_absmax) - 24usize];
    ["Offset of field: AdamWStep8bitParams::exp_avg_sq"]
        [::std::mem::offset_of!(AdamWStep8bitParams, exp_avg_sq) - 32usize];
    ["Offset of field: AdamWStep8bitParams::exp_avg_sq_absmax"]
        [::std::mem::offset_of!(AdamWStep8bitParams, exp_avg_sq_absmax) - 40usize];
    ["Offset of field: AdamWStep8bitParams::signed_map"]
        [::std::mem::offset_of!(AdamWStep8bitParams, signed_map) - 48usize];
    ["Offset of field: AdamWStep8bitParams::unsigned_map"]
        [::std::mem::offset_of!(AdamWStep8bitParams, unsigned_map) - 56usize];
    ["Offset of field: AdamWStep8bitParams::shadow"][::std::mem::offset_of!(AdamWStep8bitParams, shadow) - 64usize];
    ["Offset of field: AdamWStep8bitParams::grad_scale"]
        [::std::mem::offset_of!(AdamWStep8bitParams, grad_scale) - 72usize];
    ["Offset of field: AdamWStep8bitParams::len"][::std::mem::offset_of!(AdamWStep8bitParams, len) - 80usize];
    ["Offset of field: AdamWStep8bitParams::rates"][::std::mem::offset_of!(AdamWStep8bitParams, rates) - 88usize];
    ["Offset of field: AdamWStep8bitParams::padding"][::std::mem::offset_of!(AdamWStep8bitParams, padding) - 116usize];
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
#[doc = " What is known of the steps so far, without asking the host."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWOutcome {
    #[doc = " The norm of the latest step that was taken, or of the first that failed."]
    pub norm: f64,
    #[doc = " The sum of its losses."]
    pub loss: f64,
    #[doc = " Steps since the first of which a loss or the norm was no number, it included; 0 if there was none."]
    pub failed: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWOutcome"][::std::mem::size_of::<AdamWOutcome>() - 24usize];
    ["Alignment of AdamWOutcome"][::std::mem::align_of::<AdamWOutcome>() - 8usize];
    ["Offset of field: AdamWOutcome::norm"][::std::mem::offset_of!(AdamWOutcome, norm) - 0usize];
    ["Offset of field: AdamWOutcome::loss"][::std::mem::offset_of!(AdamWOutcome, loss) - 8usize];
    ["Offset of field: AdamWOutcome::failed"][::std::mem::offset_of!(AdamWOutcome, failed) - 16usize];
};
#[doc = " Second stage: the norm, the factor that clips it, and whether the step is to be taken."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AdamWClipParams {
    #[doc = " `[count]` f64"]
    pub partials: u64,
    #[doc = " `[loss_count]` f32"]
    pub losses: u64,
    #[doc = " One AdamWOutcome, updated."]
    pub outcome: u64,
    #[doc = " One f32, written: `min(max_norm / (norm + 1e-6), 1)`, or NaN from the first step on that failed."]
    pub grad_scale: u64,
    #[doc = " Partial sums."]
    pub count: u64,
    #[doc = " Losses."]
    pub loss_count: u64,
    #[doc = " The largest norm that is left as it is."]
    pub max_norm: f32,
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AdamWClipParams"][::std::mem::size_of::<AdamWClipParams>() - 56usize];
    ["Alignment of AdamWClipParams"][::std::mem::align_of::<AdamWClipParams>() - 8usize];
    ["Offset of field: AdamWClipParams::partials"][::std::mem::offset_of!(AdamWClipParams, partials) - 0usize];
    ["Offset of field: AdamWClipParams::losses"][::std::mem::offset_of!(AdamWClipParams, losses) - 8usize];
    ["Offset of field: AdamWClipParams::outcome"][::std::mem::offset_of!(AdamWClipParams, outcome) - 16usize];
    ["Offset of field: AdamWClipParams::grad_scale"][::std::mem::offset_of!(AdamWClipParams, grad_scale) - 24usize];
    ["Offset of field: AdamWClipParams::count"][::std::mem::offset_of!(AdamWClipParams, count) - 32usize];
    ["Offset of field: AdamWClipParams::loss_count"][::std::mem::offset_of!(AdamWClipParams, loss_count) - 40usize];
    ["Offset of field: AdamWClipParams::max_norm"][::std::mem::offset_of!(AdamWClipParams, max_norm) - 48usize];
    ["Offset of field: AdamWClipParams::padding"][::std::mem::offset_of!(AdamWClipParams, padding) - 52usize];
};
