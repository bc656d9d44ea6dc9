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
    ["Size of GemmParams"][::std::mem::size_of::<GemmParams>() - 112usize];
    ["Alignment of GemmParams"][::std::mem::align_of::<GemmParams>() - 8usize];
    ["Offset of field: GemmParams::a"][::std::mem::offset_of!(GemmParams, a) - 0usize];
    ["Offset of field: GemmParams::b"][::std::mem::offset_of!(GemmParams, b) - 8usize];
    ["Offset of field: GemmParams::c"][::std::mem::offset_of!(GemmParams, c) - 16usize];
    ["Offset of field: GemmParams::bias"][::std::mem::offset_of!(GemmParams, bias) - 24usize];
    ["Offset of field: GemmParams::a_stride"][::std::mem::offset_of!(GemmParams, a_stride) - 32usize];
    ["Offset of field: GemmParams::b_stride"][::std::mem::offset_of!(GemmParams, b_stride) - 40usize];
    ["Offset of field: GemmParams::c_stride"][::std::mem::offset_of!(GemmParams, c_stride) - 48usize];
    ["Offset of field: GemmParams::m"][::std::mem::offset_of!(GemmParams, m) - 56usize];
    ["Offset of field: GemmParams::n"][::std::mem::offset_of!(GemmParams, n) - 64usize];
    ["Offset of field: GemmParams::k"][::std::mem::offset_of!(GemmParams, k) - 72usize];
    ["Offset of field: GemmParams::slab_depth"][::std::mem::offset_of!(GemmParams, slab_depth) - 80usize];
    ["Offset of field: GemmParams::add"][::std::mem::offset_of!(GemmParams, add) - 88usize];
    ["Offset of field: GemmParams::alpha"][::std::mem::offset_of!(GemmParams, alpha) - 96usize];
    ["Offset of field: GemmParams::a_transposed"][::std::mem::offset_of!(GemmParams, a_transposed) - 100usize];
    ["Offset of field: GemmParams::b_transposed"][::std::mem::offset_of!(GemmParams, b_transposed) - 104usize];
    ["Offset of field: GemmParams::c_wide"][::std::mem::offset_of!(GemmParams, c_wide) - 108usize];
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
    ["Size of GemmSumParams"][::std::mem::size_of::<GemmSumParams>() - 72usize];
    ["Alignment of GemmSumParams"][::std::mem::align_of::<GemmSumParams>() - 8usize];
    ["Offset of field: GemmSumParams::partials"][::std::mem::offset_of!(GemmSumParams, partials) - 0usize];
    ["Offset of field: GemmSumParams::c"][::std::mem::offset_of!(GemmSumParams, c) - 8usize];
    ["Offset of field: GemmSumParams::bias"][::std::mem::offset_of!(GemmSumParams, bias) - 16usize];
    ["Offset of field: GemmSumParams::c_stride"][::std::mem::offset_of!(GemmSumParams, c_stride) - 24usize];
    ["Offset of field: GemmSumParams::m"][::std::mem::offset_of!(GemmSumParams, m) - 32usize];
    ["Offset of field: GemmSumParams::n"][::std::mem::offset_of!(GemmSumParams, n) - 40usize];
    ["Offset of field: GemmSumParams::slabs"][::std::mem::offset_of!(GemmSumParams, slabs) - 48usize];
    ["Offset of field: GemmSumParams::alpha"][::std::mem::offset_of!(GemmSumParams, alpha) - 56usize];
    ["Offset of field: GemmSumParams::c_wide"][::std::mem::offset_of!(GemmSumParams, c_wide) - 60usize];
    ["Offset of field: GemmSumParams::add"][::std::mem::offset_of!(GemmSumParams, add) - 64usize];
};
