// Written by scripts/bindings from params.h.

#[doc = " Projections that one launch computes at most: q, k and v."]
pub const LORA_MAX_PROJECTIONS: u32 = 3;
#[doc = " Rows and columns of `y` and of the gradient of `x` that a block computes."]
pub const LORA_TILE: u32 = 128;
#[doc = " Threads of that block."]
pub const LORA_THREADS: u32 = 256;
#[doc = " Its shared memory."]
pub const LORA_SHARED_BYTES: u32 = 69632;
#[doc = " The same with a quantized weight."]
pub const LORA_NF4_SHARED_BYTES: u32 = 71680;
#[doc = " Rows and columns that a block computes of a product with a side as short as the rank."]
pub const LORA_NARROW_TILE: u32 = 64;
#[doc = " Threads of that block."]
pub const LORA_NARROW_THREADS: u32 = 128;
#[doc = " Its shared memory."]
pub const LORA_NARROW_SHARED_BYTES: u32 = 65536;
#[doc = " Which elements of `x` an adapter drops: those whose random word, shifted right by 8, is below `threshold`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LoraDropout {
    #[doc = " Of the Philox stream."]
    pub key: [u32; 2usize],
    #[doc = " Third word of the counter."]
    pub step: u32,
    #[doc = " Fourth word of the counter."]
    pub site: u32,
    #[doc = " `probability 2^24`, rounded up; 0 drops nothing."]
    pub threshold: u32,
    #[doc = " `1 / (1 - probability)`"]
    pub scale: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LoraDropout"][::std::mem::size_of::<LoraDropout>() - 24usize];
    ["Alignment of LoraDropout"][::std::mem::align_of::<LoraDropout>() - 4usize];
    ["Offset of field: LoraDropout::key"][::std::mem::offset_of!(LoraDropout, key) - 0usize];
    ["Offset of field: LoraDropout::step"][::std::mem::offset_of!(LoraDropout, step) - 8usize];
    ["Offset of field: LoraDropout::site"][::std::mem::offset_of!(LoraDropout, site) - 12usize];
    ["Offset of field: LoraDropout::threshold"][::std::mem::offset_of!(LoraDropout, threshold) - 16usize];
    ["Offset of field: LoraDropout::scale"][::std::mem::offset_of!(LoraDropout, scale) - 20usize];
};
#[doc = " Threads of a block that drops elements, four each."]
pub const DROPOUT_THREADS: u32 = 256;
#[doc = " `y = mask / (1 - p) * x`, or that added to `y`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct DropoutParams {
    #[doc = " `[len]`"]
    pub x: u64,
    #[doc = " `[len]`, written."]
    pub y: u64,
    #[doc = " Elements."]
    pub len: u64,
    #[doc = " Which elements."]
    pub dropout: LoraDropout,
    #[doc = " 1 to add to what `y` holds, 0 to replace it."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DropoutParams"][::std::mem::size_of::<DropoutParams>() - 56usize];
    ["Alignment of DropoutParams"][::std::mem::align_of::<DropoutParams>() - 8usize];
    ["Offset of field: DropoutParams::x"][::std::mem::offset_of!(DropoutParams, x) - 0usize];
    ["Offset of field: DropoutParams::y"][::std::mem::offset_of!(DropoutParams, y) - 8usize];
    ["Offset of field: DropoutParams::len"][::std::mem::offset_of!(DropoutParams, len) - 16usize];
    ["Offset of field: DropoutParams::dropout"][::std::mem::offset_of!(DropoutParams, dropout) - 24usize];
    ["Offset of field: DropoutParams::add"][::std::mem::offset_of!(DropoutParams, add) - 48usize];
};
#[doc = " Threads of a block that finishes norms, one for each output."]
pub const DORA_THREADS: u32 = 128;
#[doc = " Columns that one such block takes of a weight whose outputs are columns; for outputs in rows it takes one row."]
pub const DORA_COLUMNS: u32 = 128;
#[doc = " Its shared memory: an f64 for each warp."]
pub const DORA_SHARED_BYTES: u32 = 32;
#[doc = " `squares[o] = |W[o]|^2`"]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct DoraSquaresParams {
    #[doc = " `[outputs, inputs]`; of the kernel for columns `[inputs, outputs]`."]
    pub weight: u64,
    #[doc = " `[outputs]` f64, written."]
    pub squares: u64,
    #[doc = " Elements of an output."]
    pub inputs: u64,
    #[doc = " Outputs."]
    pub outputs: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DoraSquaresParams"][::std::mem::size_of::<DoraSquaresParams>() - 32usize];
    ["Alignment of DoraSquaresParams"][::std::mem::align_of::<DoraSquaresParams>() - 8usize];
    ["Offset of field: DoraSquaresParams::weight"][::std::mem::offset_of!(DoraSquaresParams, weight) - 0usize];
    ["Offset of field: DoraSquaresParams::squares"][::std::mem::offset_of!(DoraSquaresParams, squares) - 8usize];
    ["Offset of field: DoraSquaresParams::inputs"][::std::mem::offset_of!(DoraSquaresParams, inputs) - 16usize];
    ["Offset of field: DoraSquaresParams::outputs"][::std::mem::offset_of!(DoraSquaresParams, outputs) - 24usize];
};
#[doc = " `norm[o] = |W[o] + scaling (B A)[o]|` from products with the low rank."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct DoraNormParams {
    #[doc = " `|W[o]|^2`, `[outputs]` f64"]
    pub squares: u64,
    #[doc = " `B`, `[outputs, rank]` f32"]
    pub lora_b: u64,
    #[doc = " `A W^T`, `[rank, outputs]` f32"]
    pub aw: u64,
    #[doc = " `B (A A^T)`, `[outputs, rank]` f32"]
    pub bg: u64,
    #[doc = " `[outputs]` f32, written."]
    pub norm: u64,
    #[doc = " Outputs."]
    pub outputs: u64,
    #[doc = " Rows of `A`."]
    pub rank: u64,
    #[doc = " Factor of the adapter."]
    pub scaling: f64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of DoraNormParams"][::std::mem::size_of::<DoraNormParams>() - 64usize];
    ["Alignment of DoraNormParams"][::std::mem::align_of::<DoraNormParams>() - 8usize];
    ["Offset of field: DoraNormParams::squares"][::std::mem::offset_of!(DoraNormParams, squares) - 0usize];
    ["Offset of field: DoraNormParams::lora_b"][::std::mem::offset_of!(DoraNormParams, lora_b) - 8usize];
    ["Offset of field: DoraNormParams::aw"][::std::mem::offset_of!(DoraNormParams, aw) - 16usize];
    ["Offset of field: DoraNormParams::bg"][::std::mem::offset_of!(DoraNormParams, bg) - 24usize];
    ["Offset of field: DoraNormParams::norm"][::std::mem::offset_of!(DoraNormParams, norm) - 32usize];
    ["Offset of field: DoraNormParams::outputs"][::std::mem::offset_of!(DoraNormParams, outputs) - 40usize];
    ["Offset of field: DoraNormParams::rank"][::std::mem::offset_of!(DoraNormParams, rank) - 48usize];
    ["Offset of field: DoraNormParams::scaling"][::std::mem::offset_of!(DoraNormParams, scaling) - 56usize];
};
#[doc = " Threads of the block that compares a Gram matrix with the identity."]
pub const ORTHOGONALITY_THREADS: u32 = 256;
#[doc = " Its shared memory: an f64 for each warp."]
pub const ORTHOGONALITY_SHARED_BYTES: u32 = 64;
#[doc = " `norm = |G - I|_F`, and `G = (G - I) / norm`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct OrthogonalityParams {
    #[doc = " `G`, `[rank, rank]` f32, replaced."]
    pub gram: u64,
    #[doc = " `[1]` f32, written."]
    pub norm: u64,
    #[doc = " Rows and columns."]
    pub rank: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OrthogonalityParams"][::std::mem::size_of::<OrthogonalityParams>() - 24usize];
    ["Alignment of OrthogonalityParams"][::std::mem::align_of::<OrthogonalityParams>() - 8usize];
    ["Offset of field: OrthogonalityParams::gram"][::std::mem::offset_of!(OrthogonalityParams, gram) - 0usize];
    ["Offset of field: OrthogonalityParams::norm"][::std::mem::offset_of!(OrthogonalityParams, norm) - 8usize];
    ["Offset of field: OrthogonalityParams::rank"][::std::mem::offset_of!(OrthogonalityParams, rank) - 16usize];
};
#[doc = " One projection: `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LoraProjection {
    #[doc = " `W`, `[out_features, in_features]`; 0 if it is quantized."]
    pub weight: u64,
    #[doc = " `[out_features]`, or 0."]
    pub bias: u64,
    #[doc = " `A`, `[rank, in_features]`"]
    pub lora_a: u64,
    #[doc = " `B`, `[out_features, rank]`"]
    pub lora_b: u64,
    #[doc = " `[out_features]`, or 0."]
    pub lora_bias: u64,
    #[doc = " `scaling drop(x) A^T`, `[num_tokens, rank]`, written by the forward pass."]
    pub s: u64,
    #[doc = " `[num_tokens, out_features]`, written by the forward pass; in the backward pass its gradient."]
    pub y: u64,
    #[doc = " `[num_tokens, rank]`, `scaling dY B`, written by the backward pass."]
    pub grad_s: u64,
    #[doc = " What a narrow product is written to: `s`, `grad_s`, or the f32 gradient of `A` or `B`."]
    pub result: u64,
    #[doc = " Instead `[slabs, rows, columns]` f32, if the product is summed in several slabs; 0 otherwise."]
    pub partials: u64,
    #[doc = " Columns of `y`."]
    pub out_features: u64,
    #[doc = " Rows of `A`."]
    pub rank: u64,
    #[doc = " `W` in NF4, which only the kernels of that name read."]
    pub quantized: Nf4Weight,
    #[doc = " Of the adapter's input."]
    pub dropout: LoraDropout,
    #[doc = " Factor of the adapter."]
    pub scaling: f32,
    #[doc = " 1 if `W` is stored `[in_features, out_features]`."]
    pub weight_transposed: u32,
    #[doc = " Factor of `result`."]
    pub alpha: f32,
    #[doc = " 1 to add to what `result` holds."]
    pub add: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LoraProjection"][::std::mem::size_of::<LoraProjection>() - 192usize];
    ["Alignment of LoraProjection"][::std::mem::align_of::<LoraProjection>() - 8usize];
    ["Offset of field: LoraProjection::weight"][::std::mem::offset_of!(LoraProjection, weight) - 0usize];
    ["Offset of field: LoraProjection::bias"][::std::mem::offset_of!(LoraProjection, bias) - 8usize];
    ["Offset of field: LoraProjection::lora_a"][::std::mem::offset_of!(LoraProjection, lora_a) - 16usize];
    ["Offset of field: LoraProjection::lora_b"][::std::mem::offset_of!(LoraProjection, lora_b) - 24usize];
    ["Offset of field: LoraProjection::lora_bias"][::std::mem::offset_of!(LoraProjection, lora_bias) - 32usize];
    ["Offset of field: LoraProjection::s"][::std::mem::offset_of!(LoraProjection, s) - 40usize];
    ["Offset of field: LoraProjection::y"][::std::mem::offset_of!(LoraProjection, y) - 48usize];
    ["Offset of field: LoraProjection::grad_s"][::std::mem::offset_of!(LoraProjection, grad_s) - 56usize];
    ["Offset of field: LoraProjection::result"][::std::mem::offset_of!(LoraProjection, result) - 64usize];
    ["Offset of field: LoraProjection::partials"][::std::mem::offset_of!(LoraProjection, partials) - 72usize];
    ["Offset of field: LoraProjection::out_features"][::std::mem::offset_of!(LoraProjection, out_features) - 80usize];
    ["Offset of field: LoraProjection::rank"][::std::mem::offset_of!(LoraProjection, rank) - 88usize];
    ["Offset of field: LoraProjection::quantized"][::std::mem::offset_of!(LoraProjection, quantized) - 96usize];
    ["Offset of field: LoraProjection::dropout"][::std::mem::offset_of!(LoraProjection, dropout) - 152usize];
    ["Offset of field: LoraProjection::scaling"][::std::mem::offset_of!(LoraProjection, scaling) - 176usize];
    ["Offset of field: LoraProjection::weight_transposed"]
        [::std::mem::offset_of!(LoraProjection, weight_transposed) - 180usize];
    ["Offset of field: LoraProjection::alpha"][::std::mem::offset_of!(LoraProjection, alpha) - 184usize];
    ["Offset of field: LoraProjection::add"][::std::mem::offset_of!(LoraProjection, add) - 188usize];
};
#[doc = " Projections of one input."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct LoraParams {
    #[doc = " The first `count` are computed."]
    pub projections: [LoraProjection; 3usize],
    #[doc = " `[num_tokens, in_features]`"]
    pub x: u64,
    #[doc = " `[num_tokens, in_features]`, written by the kernel of that name."]
    pub grad_x: u64,
    #[doc = " Rows of `x` and `y`."]
    pub num_tokens: u64,
    #[doc = " Columns of `x`."]
    pub in_features: u64,
    #[doc = " Depth that one block of a narrow product sums."]
    pub slab_depth: u64,
    #[doc = " What the codes of quantized weights stand for."]
    pub codebook: [f32; 16usize],
    #[doc = " Projections."]
    pub count: u32,
    #[doc = " 1 to add to what `grad_x` holds."]
    pub add: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of LoraParams"][::std::mem::size_of::<LoraParams>() - 688usize];
    ["Alignment of LoraParams"][::std::mem::align_of::<LoraParams>() - 8usize];
    ["Offset of field: LoraParams::projections"][::std::mem::offset_of!(LoraParams, projections) - 0usize];
    ["Offset of field: LoraParams::x"][::std::mem::offset_of!(LoraParams, x) - 576usize];
    ["Offset of field: LoraParams::grad_x"][::std::mem::offset_of!(LoraParams, grad_x) - 584usize];
    ["Offset of field: LoraParams::num_tokens"][::std::mem::offset_of!(LoraParams, num_tokens) - 592usize];
    ["Offset of field: LoraParams::in_features"][::std::mem::offset_of!(LoraParams, in_features) - 600usize];
    ["Offset of field: LoraParams::slab_depth"][::std::mem::offset_of!(LoraParams, slab_depth) - 608usize];
    ["Offset of field: LoraParams::codebook"][::std::mem::offset_of!(LoraParams, codebook) - 616usize];
    ["Offset of field: LoraParams::count"][::std::mem::offset_of!(LoraParams, count) - 680usize];
    ["Offset of field: LoraParams::add"][::std::mem::offset_of!(LoraParams, add) - 684usize];
};
