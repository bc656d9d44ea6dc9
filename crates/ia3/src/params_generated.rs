// Written by scripts/bindings from params.h.

#[doc = " Threads of a block, in every kernel here."]
pub const IA3_THREADS: u32 = 128;
#[doc = " Channels that one block covers: a vector of four for each thread."]
pub const IA3_CHANNELS: u32 = 512;
#[doc = " Tokens that one block scales, with the factors in registers."]
pub const IA3_SCALE_TOKENS: u32 = 16;
#[doc = " Tokens whose products one block adds up: `ROWS` of the CPU implementation, so that the sums are the same."]
pub const IA3_SUM_TOKENS: u32 = 64;
#[doc = " `y[t, c] = x[t, c] ia3_l[c]`, of activations and of gradients."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Ia3ScaleParams {
    #[doc = " `[num_tokens, features]`"]
    pub x: u64,
    #[doc = " `[features]` f32"]
    pub ia3_l: u64,
    #[doc = " `[num_tokens, features]`, written."]
    pub y: u64,
    #[doc = " Tokens of all sequences."]
    pub num_tokens: u64,
    #[doc = " Channels."]
    pub features: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Ia3ScaleParams"][::std::mem::size_of::<Ia3ScaleParams>() - 40usize];
    ["Alignment of Ia3ScaleParams"][::std::mem::align_of::<Ia3ScaleParams>() - 8usize];
    ["Offset of field: Ia3ScaleParams::x"][::std::mem::offset_of!(Ia3ScaleParams, x) - 0usize];
    ["Offset of field: Ia3ScaleParams::ia3_l"][::std::mem::offset_of!(Ia3ScaleParams, ia3_l) - 8usize];
    ["Offset of field: Ia3ScaleParams::y"][::std::mem::offset_of!(Ia3ScaleParams, y) - 16usize];
    ["Offset of field: Ia3ScaleParams::num_tokens"][::std::mem::offset_of!(Ia3ScaleParams, num_tokens) - 24usize];
    ["Offset of field: Ia3ScaleParams::features"][::std::mem::offset_of!(Ia3ScaleParams, features) - 32usize];
};
#[doc = " The sums over blocks of tokens, and the scaled gradient in the same pass if it is wanted."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Ia3BackwardParams {
    #[doc = " `[num_tokens, features]`"]
    pub x: u64,
    #[doc = " `[features]` f32"]
    pub ia3_l: u64,
    #[doc = " `[num_tokens, features]`"]
    pub grad_y: u64,
    #[doc = " `[num_tokens, features]`, written; 0 if it is not wanted."]
    pub grad_x: u64,
    #[doc = " `[ceil(num_tokens / IA3_SUM_TOKENS), features]` f32, written."]
    pub partials: u64,
    #[doc = " Tokens of all sequences."]
    pub num_tokens: u64,
    #[doc = " Channels."]
    pub features: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Ia3BackwardParams"][::std::mem::size_of::<Ia3BackwardParams>() - 56usize];
    ["Alignment of Ia3BackwardParams"][::std::mem::align_of::<Ia3BackwardParams>() - 8usize];
    ["Offset of field: Ia3BackwardParams::x"][::std::mem::offset_of!(Ia3BackwardParams, x) - 0usize];
    ["Offset of field: Ia3BackwardParams::ia3_l"][::std::mem::offset_of!(Ia3BackwardParams, ia3_l) - 8usize];
    ["Offset of field: Ia3BackwardParams::grad_y"][::std::mem::offset_of!(Ia3BackwardParams, grad_y) - 16usize];
    ["Offset of field: Ia3BackwardParams::grad_x"][::std::mem::offset_of!(Ia3BackwardParams, grad_x) - 24usize];
    ["Offset of field: Ia3BackwardParams::partials"][::std::mem::offset_of!(Ia3BackwardParams, partials) - 32usize];
    ["Offset of field: Ia3BackwardParams::num_tokens"][::std::mem::offset_of!(Ia3BackwardParams, num_tokens) - 40usize];
    ["Offset of field: Ia3BackwardParams::features"][::std::mem::offset_of!(Ia3BackwardParams, features) - 48usize];
};
#[doc = " `grad_ia3_l[c]` = the sum of `partials[.., c]`, in order."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Ia3SumParams {
    #[doc = " `[count, features]` f32"]
    pub partials: u64,
    #[doc = " `[features]` f32, written."]
    pub grad_ia3_l: u64,
    #[doc = " Rows of `partials`."]
    pub count: u64,
    #[doc = " Channels."]
    pub features: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Ia3SumParams"][::std::mem::size_of::<Ia3SumParams>() - 32usize];
    ["Alignment of Ia3SumParams"][::std::mem::align_of::<Ia3SumParams>() - 8usize];
    ["Offset of field: Ia3SumParams::partials"][::std::mem::offset_of!(Ia3SumParams, partials) - 0usize];
    ["Offset of field: Ia3SumParams::grad_ia3_l"][::std::mem::offset_of!(Ia3SumParams, grad_ia3_l) - 8usize];
    ["Offset of field: Ia3SumParams::count"][::std::mem::offset_of!(Ia3SumParams, count) - 16usize];
    ["Offset of field: Ia3SumParams::features"][::std::mem::offset_of!(Ia3SumParams, features) - 24usize];
};
