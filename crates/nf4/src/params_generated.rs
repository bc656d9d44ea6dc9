// Written by scripts/bindings from params.h.

#[doc = " Threads of a block that quantizes."]
pub const NF4_QUANTIZE_THREADS: u32 = 256;
#[doc = " Elements that it quantizes, 16 for each thread: the largest NF4 block."]
pub const NF4_QUANTIZE_ELEMENTS: u32 = 4096;
#[doc = " Its shared memory: one value for each warp."]
pub const NF4_QUANTIZE_SHARED_BYTES: u32 = 32;
#[doc = " Values that one thread adds up in the mean of `absmax`."]
pub const NF4_SUM_VALUES: u32 = 256;
#[doc = " Threads of a block that adds up."]
pub const NF4_SUM_THREADS: u32 = 64;
#[doc = " Values of `absmax` in a block of the second quantization: the threads of a block that quantizes them."]
pub const NF4_NESTED_THREADS: u32 = 256;
#[doc = " Its shared memory: one value for each warp."]
pub const NF4_NESTED_SHARED_BYTES: u32 = 32;
#[doc = " Shared memory of the sixteen values that codes stand for, a copy for each bank."]
pub const NF4_CODEBOOK_BYTES: u32 = 2048;
#[doc = " Threads of a block that dequantizes."]
pub const NF4_DEQUANTIZE_THREADS: u32 = 256;
#[doc = " Elements that it dequantizes."]
pub const NF4_DEQUANTIZE_ELEMENTS: u32 = 16384;
#[doc = " Rows and columns of a product that a block computes."]
pub const NF4_TILE: u32 = 128;
#[doc = " Threads of that block."]
pub const NF4_THREADS: u32 = 256;
#[doc = " Its shared memory: that of a dense product, and the codebook."]
pub const NF4_SHARED_BYTES: u32 = 71680;
#[doc = " Rows and columns that a block computes of a product with few rows."]
pub const NF4_NARROW_TILE: u32 = 64;
#[doc = " Threads of that block."]
pub const NF4_NARROW_THREADS: u32 = 128;
#[doc = " Its shared memory."]
pub const NF4_NARROW_SHARED_BYTES: u32 = 67584;
#[doc = " Tokens of a product that is computed without tiles, at most."]
pub const NF4_MATVEC_TOKENS: u32 = 8;
#[doc = " Threads of a block that computes it."]
pub const NF4_MATVEC_THREADS: u32 = 128;
#[doc = " Rows of the weight that such a block reads, two for each warp."]
pub const NF4_MATVEC_ROWS: u32 = 8;
#[doc = " A quantized tensor: `codebook[code] absmax` of the element's block, in f32. With `nested_absmax`, `absmax` is a code itself\nand stands for `map[code] nested_absmax + offset`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4Weight {
    #[doc = " `[(num_elements + 1) / 2]` u8, the even element in the high half; 0 for none."]
    pub packed: u64,
    #[doc = " `[num_blocks]` f32, or u8 if `nested_absmax` is there."]
    pub absmax: u64,
    #[doc = " `[ceil(num_blocks / nested block size)]` f32, or 0."]
    pub nested_absmax: u64,
    #[doc = " `[256]` f32"]
    pub map: u64,
    #[doc = " One f32."]
    pub offset: u64,
    #[doc = " Logarithm to base 2 of the elements of a block."]
    pub block_shift: u32,
    #[doc = " Logarithm to base 2 of the blocks of a nested block."]
    pub nested_shift: u32,
    #[doc = " 1 if values are rounded to bf16 wherever they are used."]
    pub rounded: u32,
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4Weight"][::std::mem::size_of::<Nf4Weight>() - 56usize];
    ["Alignment of Nf4Weight"][::std::mem::align_of::<Nf4Weight>() - 8usize];
    ["Offset of field: Nf4Weight::packed"][::std::mem::offset_of!(Nf4Weight, packed) - 0usize];
    ["Offset of field: Nf4Weight::absmax"][::std::mem::offset_of!(Nf4Weight, absmax) - 8usize];
    ["Offset of field: Nf4Weight::nested_absmax"][::std::mem::offset_of!(Nf4Weight, nested_absmax) - 16usize];
    ["Offset of field: Nf4Weight::map"][::std::mem::offset_of!(Nf4Weight, map) - 24usize];
    ["Offset of field: Nf4Weight::offset"][::std::mem::offset_of!(Nf4Weight, offset) - 32usize];
    ["Offset of field: Nf4Weight::block_shift"][::std::mem::offset_of!(Nf4Weight, block_shift) - 40usize];
    ["Offset of field: Nf4Weight::nested_shift"][::std::mem::offset_of!(Nf4Weight, nested_shift) - 44usize];
    ["Offset of field: Nf4Weight::rounded"][::std::mem::offset_of!(Nf4Weight, rounded) - 48usize];
    ["Offset of field: Nf4Weight::padding"][::std::mem::offset_of!(Nf4Weight, padding) - 52usize];
};
#[doc = " Codes and largest magnitudes of `x`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4QuantizeParams {
    #[doc = " `[num_elements]`"]
    pub x: u64,
    #[doc = " `[(num_elements + 1) / 2]` u8, written."]
    pub packed: u64,
    #[doc = " `[num_blocks]` f32, written."]
    pub absmax: u64,
    #[doc = " Elements."]
    pub num_elements: u64,
    #[doc = " Elements of a block: a power of two from 32 to `NF4_QUANTIZE_ELEMENTS`."]
    pub block_size: u32,
    #[doc = " What is divided by where a block's largest magnitude is smaller."]
    pub smallest: f32,
    #[doc = " The code of a value is the number of these that are below it."]
    pub thresholds: [f32; 15usize],
    #[doc = " Not used: without it the struct would end in padding."]
    pub padding: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4QuantizeParams"][::std::mem::size_of::<Nf4QuantizeParams>() - 104usize];
    ["Alignment of Nf4QuantizeParams"][::std::mem::align_of::<Nf4QuantizeParams>() - 8usize];
    ["Offset of field: Nf4QuantizeParams::x"][::std::mem::offset_of!(Nf4QuantizeParams, x) - 0usize];
    ["Offset of field: Nf4QuantizeParams::packed"][::std::mem::offset_of!(Nf4QuantizeParams, packed) - 8usize];
    ["Offset of field: Nf4QuantizeParams::absmax"][::std::mem::offset_of!(Nf4QuantizeParams, absmax) - 16usize];
    ["Offset of field: Nf4QuantizeParams::num_elements"]
        [::std::mem::offset_of!(Nf4QuantizeParams, num_elements) - 24usize];
    ["Offset of field: Nf4QuantizeParams::block_size"][::std::mem::offset_of!(Nf4QuantizeParams, block_size) - 32usize];
    ["Offset of field: Nf4QuantizeParams::smallest"][::std::mem::offset_of!(Nf4QuantizeParams, smallest) - 36usize];
    ["Offset of field: Nf4QuantizeParams::thresholds"][::std::mem::offset_of!(Nf4QuantizeParams, thresholds) - 40usize];
    ["Offset of field: Nf4QuantizeParams::padding"][::std::mem::offset_of!(Nf4QuantizeParams, padding) - 100usize];
};
#[doc = " Sums of `NF4_SUM_VALUES` values each, and of the last sum the mean."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4SumParams {
    #[doc = " `[len]` f32 or f64"]
    pub values: u64,
    #[doc = " `[ceil(len / NF4_SUM_VALUES)]` f64, written."]
    pub sums: u64,
    #[doc = " One f32, written if `mean_of` is not 0."]
    pub mean: u64,
    #[doc = " Values."]
    pub len: u64,
    #[doc = " What the sum is divided by for the mean, if there is one sum; 0 otherwise."]
    pub mean_of: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4SumParams"][::std::mem::size_of::<Nf4SumParams>() - 40usize];
    ["Alignment of Nf4SumParams"][::std::mem::align_of::<Nf4SumParams>() - 8usize];
    ["Offset of field: Nf4SumParams::values"][::std::mem::offset_of!(Nf4SumParams, values) - 0usize];
    ["Offset of field: Nf4SumParams::sums"][::std::mem::offset_of!(Nf4SumParams, sums) - 8usize];
    ["Offset of field: Nf4SumParams::mean"][::std::mem::offset_of!(Nf4SumParams, mean) - 16usize];
    ["Offset of field: Nf4SumParams::len"][::std::mem::offset_of!(Nf4SumParams, len) - 24usize];
    ["Offset of field: Nf4SumParams::mean_of"][::std::mem::offset_of!(Nf4SumParams, mean_of) - 32usize];
};
#[doc = " The second quantization, of `absmax - offset`."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4NestedParams {
    #[doc = " `[len]` f32"]
    pub absmax: u64,
    #[doc = " One f32."]
    pub offset: u64,
    #[doc = " `[256]` f32, ascending."]
    pub map: u64,
    #[doc = " `[len]` u8, written."]
    pub codes: u64,
    #[doc = " `[ceil(len / NF4_NESTED_THREADS)]` f32, written."]
    pub nested_absmax: u64,
    #[doc = " Values."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4NestedParams"][::std::mem::size_of::<Nf4NestedParams>() - 48usize];
    ["Alignment of Nf4NestedParams"][::std::mem::align_of::<Nf4NestedParams>() - 8usize];
    ["Offset of field: Nf4NestedParams::absmax"][::std::mem::offset_of!(Nf4NestedParams, absmax) - 0usize];
    ["Offset of field: Nf4NestedParams::offset"][::std::mem::offset_of!(Nf4NestedParams, offset) - 8usize];
    ["Offset of field: Nf4NestedParams::map"][::std::mem::offset_of!(Nf4NestedParams, map) - 16usize];
    ["Offset of field: Nf4NestedParams::codes"][::std::mem::offset_of!(Nf4NestedParams, codes) - 24usize];
    ["Offset of field: Nf4NestedParams::nested_absmax"]
        [::std::mem::offset_of!(Nf4NestedParams, nested_absmax) - 32usize];
    ["Offset of field: Nf4NestedParams::len"][::std::mem::offset_of!(Nf4NestedParams, len) - 40usize];
};
#[doc = " The elements from `first` on."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4DequantizeParams {
    #[doc = " The tensor."]
    pub weight: Nf4Weight,
    #[doc = " `[len]`, written."]
    pub out: u64,
    #[doc = " The first element wanted."]
    pub first: u64,
    #[doc = " Elements wanted."]
    pub len: u64,
    #[doc = " What codes stand for."]
    pub codebook: [f32; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4DequantizeParams"][::std::mem::size_of::<Nf4DequantizeParams>() - 144usize];
    ["Alignment of Nf4DequantizeParams"][::std::mem::align_of::<Nf4DequantizeParams>() - 8usize];
    ["Offset of field: Nf4DequantizeParams::weight"][::std::mem::offset_of!(Nf4DequantizeParams, weight) - 0usize];
    ["Offset of field: Nf4DequantizeParams::out"][::std::mem::offset_of!(Nf4DequantizeParams, out) - 56usize];
    ["Offset of field: Nf4DequantizeParams::first"][::std::mem::offset_of!(Nf4DequantizeParams, first) - 64usize];
    ["Offset of field: Nf4DequantizeParams::len"][::std::mem::offset_of!(Nf4DequantizeParams, len) - 72usize];
    ["Offset of field: Nf4DequantizeParams::codebook"][::std::mem::offset_of!(Nf4DequantizeParams, codebook) - 80usize];
};
#[doc = " `C = A W^T` (W `[n, k]`) or `A W` (W `[k, n]`), as the kernel says, plus a bias or what C holds."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4ProductParams {
    #[doc = " `W`"]
    pub weight: Nf4Weight,
    #[doc = " `[m, k]`"]
    pub a: u64,
    #[doc = " `[m, n]`, written."]
    pub c: u64,
    #[doc = " `[n]`, or 0."]
    pub bias: u64,
    #[doc = " Rows of A and C."]
    pub m: u64,
    #[doc = " Columns of C."]
    pub n: u64,
    #[doc = " Columns of A."]
    pub k: u64,
    #[doc = " What codes stand for."]
    pub codebook: [f32; 16usize],
    #[doc = " 1 to add to what C holds."]
    pub add: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4ProductParams"][::std::mem::size_of::<Nf4ProductParams>() - 176usize];
    ["Alignment of Nf4ProductParams"][::std::mem::align_of::<Nf4ProductParams>() - 8usize];
    ["Offset of field: Nf4ProductParams::weight"][::std::mem::offset_of!(Nf4ProductParams, weight) - 0usize];
    ["Offset of field: Nf4ProductParams::a"][::std::mem::offset_of!(Nf4ProductParams, a) - 56usize];
    ["Offset of field: Nf4ProductParams::c"][::std::mem::offset_of!(Nf4ProductParams, c) - 64usize];
    ["Offset of field: Nf4ProductParams::bias"][::std::mem::offset_of!(Nf4ProductParams, bias) - 72usize];
    ["Offset of field: Nf4ProductParams::m"][::std::mem::offset_of!(Nf4ProductParams, m) - 80usize];
    ["Offset of field: Nf4ProductParams::n"][::std::mem::offset_of!(Nf4ProductParams, n) - 88usize];
    ["Offset of field: Nf4ProductParams::k"][::std::mem::offset_of!(Nf4ProductParams, k) - 96usize];
    ["Offset of field: Nf4ProductParams::codebook"][::std::mem::offset_of!(Nf4ProductParams, codebook) - 104usize];
    ["Offset of field: Nf4ProductParams::add"][::std::mem::offset_of!(Nf4ProductParams, add) - 168usize];
};
#[doc = " `y = x W^T + s B^T + bias` for a few tokens."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct Nf4MatvecParams {
    #[doc = " `W`, `[out_features, in_features]`"]
    pub weight: Nf4Weight,
    #[doc = " `[num_tokens, in_features]`"]
    pub x: u64,
    #[doc = " `[num_tokens, rank]`"]
    pub s: u64,
    #[doc = " `[out_features, rank]`"]
    pub lora_b: u64,
    #[doc = " `[out_features]`, or 0."]
    pub bias: u64,
    #[doc = " `[num_tokens, out_features]`, written."]
    pub y: u64,
    #[doc = " Rows of `x` and `y`, at most `NF4_MATVEC_TOKENS`."]
    pub num_tokens: u64,
    #[doc = " Columns of `x`."]
    pub in_features: u64,
    #[doc = " Columns of `y`."]
    pub out_features: u64,
    #[doc = " Columns of `s`; 0 without it."]
    pub rank: u64,
    #[doc = " What codes stand for."]
    pub codebook: [f32; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of Nf4MatvecParams"][::std::mem::size_of::<Nf4MatvecParams>() - 192usize];
    ["Alignment of Nf4MatvecParams"][::std::mem::align_of::<Nf4MatvecParams>() - 8usize];
    ["Offset of field: Nf4MatvecParams::weight"][::std::mem::offset_of!(Nf4MatvecParams, weight) - 0usize];
    ["Offset of field: Nf4MatvecParams::x"][::std::mem::offset_of!(Nf4MatvecParams, x) - 56usize];
    ["Offset of field: Nf4MatvecParams::s"][::std::mem::offset_of!(Nf4MatvecParams, s) - 64usize];
    ["Offset of field: Nf4MatvecParams::lora_b"][::std::mem::offset_of!(Nf4MatvecParams, lora_b) - 72usize];
    ["Offset of field: Nf4MatvecParams::bias"][::std::mem::offset_of!(Nf4MatvecParams, bias) - 80usize];
    ["Offset of field: Nf4MatvecParams::y"][::std::mem::offset_of!(Nf4MatvecParams, y) - 88usize];
    ["Offset of field: Nf4MatvecParams::num_tokens"][::std::mem::offset_of!(Nf4MatvecParams, num_tokens) - 96usize];
    ["Offset of field: Nf4MatvecParams::in_features"][::std::mem::offset_of!(Nf4MatvecParams, in_features) - 104usize];
    ["Offset of field: Nf4MatvecParams::out_features"]
        [::std::mem::offset_of!(Nf4MatvecParams, out_features) - 112usize];
    ["Offset of field: Nf4MatvecParams::rank"][::std::mem::offset_of!(Nf4MatvecParams, rank) - 120usize];
    ["Offset of field: Nf4MatvecParams::codebook"][::std::mem::offset_of!(Nf4MatvecParams, codebook) - 128usize];
};
