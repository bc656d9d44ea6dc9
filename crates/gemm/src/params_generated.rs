// Written by scripts/bindings from params.h.

#[doc = " Rows and columns of C that a block computes."]
pub const GEMM_TILE: u32 = 128;
#[doc = " Threads of that block."]
pub const GEMM_THREADS: u32 = 256;
#[doc = " Its shared memory: the tile of C, which is more than the stages of A and B."]
pub const GEMM_SHARED_BYTES: u32 = 69632;
#[doc = " Rows and columns of C that a block computes if C has few of them."]
pub const GEMM_NARROW_TILE: u32 = 64;
#[doc = " Threads of that block."]
pub const GEMM_NARROW_THREADS: u32 = 128;
#[doc = " Its shared memory: four stages of 128 bytes of every row of A and every column of B."]
pub const GEMM_NARROW_SHARED_BYTES: u32 = 65536;
#[doc = " A part of the depth that one block adds up is a multiple of this."]
pub const GEMM_SLAB_UNIT: u32 = 64;
#[doc = " Threads of a block that adds up partial products."]
pub const GEMM_SUM_THREADS: u32 = 256;
#[doc = " Elements of C that one such block writes: a vector of four for each thread."]
pub const GEMM_SUM_ELEMENTS: u32 = 1024;
#[doc = " Rows of C that a block of `gemm_wgmma` computes at a time."]
pub const GEMM_WGMMA_TILE_M: u32 = 128;
#[doc = " Columns of C that it computes at a time."]
pub const GEMM_WGMMA_TILE_N: u32 = 256;
#[doc = " Depth of a stage: the columns of a box."]
pub const GEMM_WGMMA_TILE_K: u32 = 64;
#[doc = " Threads of that block: a warpgroup that copies and two that multiply."]
pub const GEMM_WGMMA_THREADS: u32 = 384;
#[doc = " Its shared memory: four stages and their barriers."]
pub const GEMM_WGMMA_SHARED_BYTES: u32 = 197632;
#[doc = " Results of one launch at most."]
pub const GEMM_WGMMA_MAX_SUMS: u32 = 3;
#[doc = " Products of one launch at most."]
pub const GEMM_WGMMA_MAX_TERMS: u32 = 6;
#[doc = " `C = alpha A B`, plus a bias or what C holds; or the partial products of slabs of the depth."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GemmParams {
    #[doc = " `[m, k]`"]
    pub a: u64,
    #[doc = " `[k, n]`"]
    pub b: u64,
    #[doc = " `[m, n]`, written; with several slabs `[slabs, m, n]` f32."]
    pub c: u64,
    #[doc = " `[n]`, of the type of A; 0 for none."]
    pub bias: u64,
    #[doc = " `[n]` f32, the last factor of each column; 0 for none."]
    pub scale: u64,
    #[doc = " As `c`, written: the result without `scale`; 0 if it is not wanted."]
    pub unscaled: u64,
    #[doc = " Elements from row to row of A as stored."]
    pub a_stride: u64,
    #[doc = " Elements from row to row of B as stored."]
    pub b_stride: u64,
    #[doc = " Elements from row to row of C."]
    pub c_stride: u64,
    #[doc = " Rows of A."]
    pub m: u64,
    #[doc = " Columns of B."]
    pub n: u64,
    #[doc = " Columns of A, rows of B."]
    pub k: u64,
    #[doc = " Depth that one block adds up: `k` in one slab."]
    pub slab_depth: u64,
    #[doc = " 1 to add to what C holds."]
    pub add: u64,
    #[doc = " Factor of the product."]
    pub alpha: f32,
    #[doc = " 1 if A is stored `[k, m]`."]
    pub a_transposed: u32,
    #[doc = " 1 if B is stored `[n, k]`."]
    pub b_transposed: u32,
    #[doc = " 1 if C is f32 whatever A and B are."]
    pub c_wide: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmParams"][::std::mem::size_of::<GemmParams>() - 128usize];
    ["Alignment of GemmParams"][::std::mem::align_of::<GemmParams>() - 8usize];
    ["Offset of field: GemmParams::a"][::std::mem::offset_of!(GemmParams, a) - 0usize];
    ["Offset of field: GemmParams::b"][::std::mem::offset_of!(GemmParams, b) - 8usize];
    ["Offset of field: GemmParams::c"][::std::mem::offset_of!(GemmParams, c) - 16usize];
    ["Offset of field: GemmParams::bias"][::std::mem::offset_of!(GemmParams, bias) - 24usize];
    ["Offset of field: GemmParams::scale"][::std::mem::offset_of!(GemmParams, scale) - 32usize];
    ["Offset of field: GemmParams::unscaled"][::std::mem::offset_of!(GemmParams, unscaled) - 40usize];
    ["Offset of field: GemmParams::a_stride"][::std::mem::offset_of!(GemmParams, a_stride) - 48usize];
    ["Offset of field: GemmParams::b_stride"][::std::mem::offset_of!(GemmParams, b_stride) - 56usize];
    ["Offset of field: GemmParams::c_stride"][::std::mem::offset_of!(GemmParams, c_stride) - 64usize];
    ["Offset of field: GemmParams::m"][::std::mem::offset_of!(GemmParams, m) - 72usize];
    ["Offset of field: GemmParams::n"][::std::mem::offset_of!(GemmParams, n) - 80usize];
    ["Offset of field: GemmParams::k"][::std::mem::offset_of!(GemmParams, k) - 88usize];
    ["Offset of field: GemmParams::slab_depth"][::std::mem::offset_of!(GemmParams, slab_depth) - 96usize];
    ["Offset of field: GemmParams::add"][::std::mem::offset_of!(GemmParams, add) - 104usize];
    ["Offset of field: GemmParams::alpha"][::std::mem::offset_of!(GemmParams, alpha) - 112usize];
    ["Offset of field: GemmParams::a_transposed"][::std::mem::offset_of!(GemmParams, a_transposed) - 116usize];
    ["Offset of field: GemmParams::b_transposed"][::std::mem::offset_of!(GemmParams, b_transposed) - 120usize];
    ["Offset of field: GemmParams::c_wide"][::std::mem::offset_of!(GemmParams, c_wide) - 124usize];
};
#[doc = " `C = alpha` times the sum of the slabs' products, in order, plus a bias or what C holds."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GemmSumParams {
    #[doc = " `[slabs, m, n]` f32"]
    pub partials: u64,
    #[doc = " `[m, n]`, written."]
    pub c: u64,
    #[doc = " `[n]`, of the type of A; 0 for none."]
    pub bias: u64,
    #[doc = " `[n]` f32, the last factor of each column; 0 for none."]
    pub scale: u64,
    #[doc = " As `c`, written: the result without `scale`; 0 if it is not wanted."]
    pub unscaled: u64,
    #[doc = " Elements from row to row of C."]
    pub c_stride: u64,
    #[doc = " Rows of C."]
    pub m: u64,
    #[doc = " Columns of C."]
    pub n: u64,
    #[doc = " Parts of the depth."]
    pub slabs: u64,
    #[doc = " Factor of the product."]
    pub alpha: f32,
    #[doc = " 1 if C is f32 whatever A and B are."]
    pub c_wide: u32,
    #[doc = " 1 to add to what C holds."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmSumParams"][::std::mem::size_of::<GemmSumParams>() - 88usize];
    ["Alignment of GemmSumParams"][::std::mem::align_of::<GemmSumParams>() - 8usize];
    ["Offset of field: GemmSumParams::partials"][::std::mem::offset_of!(GemmSumParams, partials) - 0usize];
    ["Offset of field: GemmSumParams::c"][::std::mem::offset_of!(GemmSumParams, c) - 8usize];
    ["Offset of field: GemmSumParams::bias"][::std::mem::offset_of!(GemmSumParams, bias) - 16usize];
    ["Offset of field: GemmSumParams::scale"][::std::mem::offset_of!(GemmSumParams, scale) - 24usize];
    ["Offset of field: GemmSumParams::unscaled"][::std::mem::offset_of!(GemmSumParams, unscaled) - 32usize];
    ["Offset of field: GemmSumParams::c_stride"][::std::mem::offset_of!(GemmSumParams, c_stride) - 40usize];
    ["Offset of field: GemmSumParams::m"][::std::mem::offset_of!(GemmSumParams, m) - 48usize];
    ["Offset of field: GemmSumParams::n"][::std::mem::offset_of!(GemmSumParams, n) - 56usize];
    ["Offset of field: GemmSumParams::slabs"][::std::mem::offset_of!(GemmSumParams, slabs) - 64usize];
    ["Offset of field: GemmSumParams::alpha"][::std::mem::offset_of!(GemmSumParams, alpha) - 72usize];
    ["Offset of field: GemmSumParams::c_wide"][::std::mem::offset_of!(GemmSumParams, c_wide) - 76usize];
    ["Offset of field: GemmSumParams::add"][::std::mem::offset_of!(GemmSumParams, add) - 80usize];
};
#[doc = " A matrix for the tensor memory accelerator: `device::launch::TensorMap`."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GemmTensorMap {
    #[doc = " Opaque."]
    pub words: [u64; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmTensorMap"][::std::mem::size_of::<GemmTensorMap>() - 128usize];
    ["Alignment of GemmTensorMap"][::std::mem::align_of::<GemmTensorMap>() - 64usize];
    ["Offset of field: GemmTensorMap::words"][::std::mem::offset_of!(GemmTensorMap, words) - 0usize];
};
#[doc = " One result of `gemm_wgmma`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GemmWgmmaSum {
    #[doc = " `[m, n]`, written."]
    pub c: u64,
    #[doc = " `[n]`, or 0."]
    pub bias: u64,
    #[doc = " `[n]` f32, the last factor of each column; 0 for none."]
    pub scale: u64,
    #[doc = " As `c`, written: the result without `scale`; 0 if it is not wanted."]
    pub unscaled: u64,
    #[doc = " Columns of C."]
    pub n: u64,
    #[doc = " Elements from row to row of C."]
    pub c_stride: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmWgmmaSum"][::std::mem::size_of::<GemmWgmmaSum>() - 48usize];
    ["Alignment of GemmWgmmaSum"][::std::mem::align_of::<GemmWgmmaSum>() - 8usize];
    ["Offset of field: GemmWgmmaSum::c"][::std::mem::offset_of!(GemmWgmmaSum, c) - 0usize];
    ["Offset of field: GemmWgmmaSum::bias"][::std::mem::offset_of!(GemmWgmmaSum, bias) - 8usize];
    ["Offset of field: GemmWgmmaSum::scale"][::std::mem::offset_of!(GemmWgmmaSum, scale) - 16usize];
    ["Offset of field: GemmWgmmaSum::unscaled"][::std::mem::offset_of!(GemmWgmmaSum, unscaled) - 24usize];
    ["Offset of field: GemmWgmmaSum::n"][::std::mem::offset_of!(GemmWgmmaSum, n) - 32usize];
    ["Offset of field: GemmWgmmaSum::c_stride"][::std::mem::offset_of!(GemmWgmmaSum, c_stride) - 40usize];
};
#[doc = " `C_i = alpha sum_t A_it B_it`, plus a bias or what C holds, for a few results with as many rows; or the partial products of\nslabs of the depth of one."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct GemmWgmmaParams {
    #[doc = " `[m, k]` or `[k, m]`, as the kernel says, of the terms of the first result, then of the next."]
    pub a: [GemmTensorMap; 6usize],
    #[doc = " `[n, k]` or `[k, n]`, as the kernel says."]
    pub b: [GemmTensorMap; 6usize],
    #[doc = " Columns of A."]
    pub k: [u64; 6usize],
    #[doc = " The results."]
    pub sums: [GemmWgmmaSum; 3usize],
    #[doc = " Rows of each C."]
    pub m: u64,
    #[doc = " Factor of the products."]
    pub alpha: f32,
    #[doc = " Results."]
    pub sum_count: u32,
    #[doc = " Products of each result."]
    pub term_count: u32,
    #[doc = " 1 to add to what each C holds."]
    pub add: u32,
    #[doc = " Parts of the depth, of stages over all terms."]
    pub slabs: u32,
    #[doc = " Stages of each part."]
    pub slab_stages: u32,
    #[doc = " `[slabs, m, n]` f32, written instead of the only C; 0 to write C."]
    pub partials: u64,
    #[doc = " Up to a multiple of the alignment."]
    pub padding: [u64; 3usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of GemmWgmmaParams"][::std::mem::size_of::<GemmWgmmaParams>() - 1792usize];
    ["Alignment of GemmWgmmaParams"][::std::mem::align_of::<GemmWgmmaParams>() - 64usize];
    ["Offset of field: GemmWgmmaParams::a"][::std::mem::offset_of!(GemmWgmmaParams, a) - 0usize];
    ["Offset of field: GemmWgmmaParams::b"][::std::mem::offset_of!(GemmWgmmaParams, b) - 768usize];
    ["Offset of field: GemmWgmmaParams::k"][::std::mem::offset_of!(GemmWgmmaParams, k) - 1536usize];
    ["Offset of field: GemmWgmmaParams::sums"][::std::mem::offset_of!(GemmWgmmaParams, sums) - 1584usize];
    ["Offset of field: GemmWgmmaParams::m"][::std::mem::offset_of!(GemmWgmmaParams, m) - 1728usize];
    ["Offset of field: GemmWgmmaParams::alpha"][::std::mem::offset_of!(GemmWgmmaParams, alpha) - 1736usize];
    ["Offset of field: GemmWgmmaParams::sum_count"][::std::mem::offset_of!(GemmWgmmaParams, sum_count) - 1740usize];
    ["Offset of field: GemmWgmmaParams::term_count"][::std::mem::offset_of!(GemmWgmmaParams, term_count) - 1744usize];
    ["Offset of field: GemmWgmmaParams::add"][::std::mem::offset_of!(GemmWgmmaParams, add) - 1748usize];
    ["Offset of field: GemmWgmmaParams::slabs"][::std::mem::offset_of!(GemmWgmmaParams, slabs) - 1752usize];
    ["Offset of field: GemmWgmmaParams::slab_stages"][::std::mem::offset_of!(GemmWgmmaParams, slab_stages) - 1756usize];
    ["Offset of field: GemmWgmmaParams::partials"][::std::mem::offset_of!(GemmWgmmaParams, partials) - 1760usize];
    ["Offset of field: GemmWgmmaParams::padding"][::std::mem::offset_of!(GemmWgmmaParams, padding) - 1768usize];
};
