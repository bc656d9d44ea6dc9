// Written by scripts/bindings from params.h.

#[doc = " Threads of a block."]
pub const PHM_THREADS: u32 = 256;
#[doc = " Shared memory of a block that sums: one f32 for each warp."]
pub const PHM_SHARED_BYTES: u32 = 32;
#[doc = " `W = (sum_i A_i (x) L_i R_i)^T` with `M_i = L_i R_i`; all f32. A kernel reads what its formula names and writes one."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct PhmParams {
    #[doc = " `A`, `[n, n, n]`"]
    pub rule: u64,
    #[doc = " `L`, `[n, p, rank]`"]
    pub left: u64,
    #[doc = " `R`, `[n, rank, q]`"]
    pub right: u64,
    #[doc = " The transposes of `M`, or those of their gradients, `[n, q, p]`."]
    pub products: u64,
    #[doc = " `W`, or its gradient, `[n * q, n * p]`."]
    pub weight: u64,
    #[doc = " The gradient of `A`, `L` or `R`."]
    pub gradient: u64,
    #[doc = " 1 to add to what `gradient` holds, 0 to replace it."]
    pub add: u64,
    #[doc = " Products."]
    pub n: u32,
    #[doc = " Rows of `L_i`."]
    pub p: u32,
    #[doc = " Columns of `R_i`."]
    pub q: u32,
    #[doc = " Columns of `L_i`."]
    pub rank: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of PhmParams"][::std::mem::size_of::<PhmParams>() - 72usize];
    ["Alignment of PhmParams"][::std::mem::align_of::<PhmParams>() - 8usize];
    ["Offset of field: PhmParams::rule"][::std::mem::offset_of!(PhmParams, rule) - 0usize];
    ["Offset of field: PhmParams::left"][::std::mem::offset_of!(PhmParams, left) - 8usize];
    ["Offset of field: PhmParams::right"][::std::mem::offset_of!(PhmParams, right) - 16usize];
    ["Offset of field: PhmParams::products"][::std::mem::offset_of!(PhmParams, products) - 24usize];
    ["Offset of field: PhmParams::weight"][::std::mem::offset_of!(PhmParams, weight) - 32usize];
    ["Offset of field: PhmParams::gradient"][::std::mem::offset_of!(PhmParams, gradient) - 40usize];
    ["Offset of field: PhmParams::add"][::std::mem::offset_of!(PhmParams, add) - 48usize];
    ["Offset of field: PhmParams::n"][::std::mem::offset_of!(PhmParams, n) - 56usize];
    ["Offset of field: PhmParams::p"][::std::mem::offset_of!(PhmParams, p) - 60usize];
    ["Offset of field: PhmParams::q"][::std::mem::offset_of!(PhmParams, q) - 64usize];
    ["Offset of field: PhmParams::rank"][::std::mem::offset_of!(PhmParams, rank) - 68usize];
};
