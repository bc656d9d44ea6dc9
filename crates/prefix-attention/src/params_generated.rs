// Written by scripts/bindings from params.h.

#[doc = " Threads of a block that takes a tile, each warp with rows of its own. Kernels promise one such block at a time, which lets\nthem use all registers that a thread can have."]
pub const ATTENTION_THREADS: u32 = 128;
#[doc = " Rows of a tile: 16 for each warp."]
pub const ATTENTION_ROWS: u32 = 64;
#[doc = " Rows of a tile in the forward of bf16 heads of up to 128 channels: 32 for each warp."]
pub const ATTENTION_TALL_ROWS: u32 = 128;
#[doc = " The longest head."]
pub const ATTENTION_MAX_HEAD_DIM: u32 = 256;
#[doc = " The longest head with a bias: beyond, sums fill the registers."]
pub const ATTENTION_MAX_BIASED_HEAD_DIM: u32 = 128;
#[doc = " Threads of a block of the forward for Hopper: a warpgroup that copies and two that take 64 rows each."]
pub const ATTENTION_WGMMA_THREADS: u32 = 384;
#[doc = " Keys of a block there."]
pub const ATTENTION_WGMMA_KEYS: u32 = 128;
#[doc = " Shared memory for each channel of a head: tiles of 128 queries, and two of keys and of values."]
pub const ATTENTION_WGMMA_CHANNEL_BYTES: u32 = 1280;
#[doc = " Shared memory besides: barriers."]
pub const ATTENTION_WGMMA_BARRIER_BYTES: u32 = 1024;
#[doc = " Threads of a block of the elementwise kernels."]
pub const ATTENTION_ELEMENT_THREADS: u32 = 256;
#[doc = " Shared memory of the sum of a bucket: an f64 for each warp."]
pub const ATTENTION_SUM_SHARED_BYTES: u32 = 64;
#[doc = " Rows of one sequence that a block takes, for one key/value head. The query heads that share it are stacked: row `r` is\nquery `r / group` of head `r % group` within the group."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionTile {
    #[doc = " First query token of the sequence."]
    pub q_start: u32,
    #[doc = " Its query tokens."]
    pub q_len: u32,
    #[doc = " First key of the sequence."]
    pub kv_start: u32,
    #[doc = " Its keys."]
    pub kv_len: u32,
    #[doc = " First row of a tile of queries, first key of a tile of keys."]
    pub first: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionTile"][::std::mem::size_of::<AttentionTile>() - 20usize];
    ["Alignment of AttentionTile"][::std::mem::align_of::<AttentionTile>() - 4usize];
    ["Offset of field: AttentionTile::q_start"][::std::mem::offset_of!(AttentionTile, q_start) - 0usize];
    ["Offset of field: AttentionTile::q_len"][::std::mem::offset_of!(AttentionTile, q_len) - 4usize];
    ["Offset of field: AttentionTile::kv_start"][::std::mem::offset_of!(AttentionTile, kv_start) - 8usize];
    ["Offset of field: AttentionTile::kv_len"][::std::mem::offset_of!(AttentionTile, kv_len) - 12usize];
    ["Offset of field: AttentionTile::first"][::std::mem::offset_of!(AttentionTile, first) - 16usize];
};
#[doc = " A matrix with a row for each token, whose rows may lie apart."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionRows {
    #[doc = " Address of the first row."]
    pub data: u64,
    #[doc = " Elements from row to row."]
    pub stride: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionRows"][::std::mem::size_of::<AttentionRows>() - 16usize];
    ["Alignment of AttentionRows"][::std::mem::align_of::<AttentionRows>() - 8usize];
    ["Offset of field: AttentionRows::data"][::std::mem::offset_of!(AttentionRows, data) - 0usize];
    ["Offset of field: AttentionRows::stride"][::std::mem::offset_of!(AttentionRows, stride) - 8usize];
};
#[doc = " What both directions read, all of one type."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionInputs {
    #[doc = " `[num_q_tokens, num_heads * head_dim]`"]
    pub q: AttentionRows,
    #[doc = " `[num_kv_tokens, num_kv_heads * head_dim]`"]
    pub k: AttentionRows,
    #[doc = " As `k`."]
    pub v: AttentionRows,
    #[doc = " `[prefix_len, num_kv_heads * head_dim]`"]
    pub prefix_k: AttentionRows,
    #[doc = " As `prefix_k`."]
    pub prefix_v: AttentionRows,
    #[doc = " `[num_kv_heads, bias_len]` f32 in units of `ln 2`, or 0: what is added to the scores. With `x` a query's position minus\nits key's, the bias of head `h` of a group is element `(x + bias_behind) * group + h`."]
    pub bias: u64,
    #[doc = " Elements of one key/value head."]
    pub bias_len: u64,
    #[doc = " Queries that may stand before the first key."]
    pub bias_behind: u64,
    #[doc = " Query tokens of all sequences."]
    pub num_q_tokens: u64,
    #[doc = " Keys of the prefix."]
    pub prefix_len: u32,
    #[doc = " Key and value heads."]
    pub num_kv_heads: u32,
    #[doc = " Query heads that share a key/value head."]
    pub group: u32,
    #[doc = " Channels of a head."]
    pub head_dim: u32,
    #[doc = " 1 if a query sees only keys up to its own position, 0 if it sees all."]
    pub causal: u32,
    #[doc = " Keys that a query sees, itself included, if `causal`."]
    pub window: u32,
    #[doc = " Factor of the scores."]
    pub softmax_scale: f32,
    #[doc = " Bound of the scores; 0 for none."]
    pub softcap: f32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionInputs"][::std::mem::size_of::<AttentionInputs>() - 144usize];
    ["Alignment of AttentionInputs"][::std::mem::align_of::<AttentionInputs>() - 8usize];
    ["Offset of field: AttentionInputs::q"][::std::mem::offset_of!(AttentionInputs, q) - 0usize];
    ["Offset of field: AttentionInputs::k"][::std::mem::offset_of!(AttentionInputs, k) - 16usize];
    ["Offset of field: AttentionInputs::v"][::std::mem::offset_of!(AttentionInputs, v) - 32usize];
    ["Offset of field: AttentionInputs::prefix_k"][::std::mem::offset_of!(AttentionInputs, prefix_k) - 48usize];
    ["Offset of field: AttentionInputs::prefix_v"][::std::mem::offset_of!(AttentionInputs, prefix_v) - 64usize];
    ["Offset of field: AttentionInputs::bias"][::std::mem::offset_of!(AttentionInputs, bias) - 80usize];
    ["Offset of field: AttentionInputs::bias_len"][::std::mem::offset_of!(AttentionInputs, bias_len) - 88usize];
    ["Offset of field: AttentionInputs::bias_behind"][::std::mem::offset_of!(AttentionInputs, bias_behind) - 96usize];
    ["Offset of field: AttentionInputs::num_q_tokens"]
        [::std::mem::offset_of!(AttentionInputs, num_q_tokens) - 104usize];
    ["Offset of field: AttentionInputs::prefix_len"][::std::mem::offset_of!(AttentionInputs, prefix_len) - 112usize];
    ["Offset of field: AttentionInputs::num_kv_heads"]
        [::std::mem::offset_of!(AttentionInputs, num_kv_heads) - 116usize];
    ["Offset of field: AttentionInputs::group"][::std::mem::offset_of!(AttentionInputs, group) - 120usize];
    ["Offset of field: AttentionInputs::head_dim"][::std::mem::offset_of!(AttentionInputs, head_dim) - 124usize];
    ["Offset of field: AttentionInputs::causal"][::std::mem::offset_of!(AttentionInputs, causal) - 128usize];
    ["Offset of field: AttentionInputs::window"][::std::mem::offset_of!(AttentionInputs, window) - 132usize];
    ["Offset of field: AttentionInputs::softmax_scale"]
        [::std::mem::offset_of!(AttentionInputs, softmax_scale) - 136usize];
    ["Offset of field: AttentionInputs::softcap"][::std::mem::offset_of!(AttentionInputs, softcap) - 140usize];
};
#[doc = " `values[kv_head, i]` = `log2 e * table[places[i] + kv_head * group]`: the bias of every difference of positions."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionBiasParams {
    #[doc = " `[num_buckets, num_heads]` f32"]
    pub table: u64,
    #[doc = " `[len]` u32: elements of the table, for the first key/value head."]
    pub places: u64,
    #[doc = " `[num_kv_heads, len]` f32, written."]
    pub values: u64,
    #[doc = " Elements of one key/value head."]
    pub len: u64,
    #[doc = " Query heads that share a key/value head."]
    pub group: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionBiasParams"][::std::mem::size_of::<AttentionBiasParams>() - 40usize];
    ["Alignment of AttentionBiasParams"][::std::mem::align_of::<AttentionBiasParams>() - 8usize];
    ["Offset of field: AttentionBiasParams::table"][::std::mem::offset_of!(AttentionBiasParams, table) - 0usize];
    ["Offset of field: AttentionBiasParams::places"][::std::mem::offset_of!(AttentionBiasParams, places) - 8usize];
    ["Offset of field: AttentionBiasParams::values"][::std::mem::offset_of!(AttentionBiasParams, values) - 16usize];
    ["Offset of field: AttentionBiasParams::len"][::std::mem::offset_of!(AttentionBiasParams, len) - 24usize];
    ["Offset of field: AttentionBiasParams::group"][::std::mem::offset_of!(AttentionBiasParams, group) - 32usize];
};
#[doc = " `o` and the log-sum-exp of the scores."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionForwardParams {
    #[doc = " Operands."]
    pub inputs: AttentionInputs,
    #[doc = " `[num_tiles]` `AttentionTile`: the tiles of queries."]
    pub tiles: u64,
    #[doc = " `[num_q_tokens, num_heads * head_dim]`, written."]
    pub o: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32, written."]
    pub softmax_lse: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionForwardParams"][::std::mem::size_of::<AttentionForwardParams>() - 168usize];
    ["Alignment of AttentionForwardParams"][::std::mem::align_of::<AttentionForwardParams>() - 8usize];
    ["Offset of field: AttentionForwardParams::inputs"]
        [::std::mem::offset_of!(AttentionForwardParams, inputs) - 0usize];
    ["Offset of field: AttentionForwardParams::tiles"]
        [::std::mem::offset_of!(AttentionForwardParams, tiles) - 144usize];
    ["Offset of field: AttentionForwardParams::o"][::std::mem::offset_of!(AttentionForwardParams, o) - 152usize];
    ["Offset of field: AttentionForwardParams::softmax_lse"]
        [::std::mem::offset_of!(AttentionForwardParams, softmax_lse) - 160usize];
};
#[doc = " A matrix for the tensor memory accelerator: `device::launch::TensorMap`."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionTensorMap {
    #[doc = " Opaque."]
    pub words: [u64; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionTensorMap"][::std::mem::size_of::<AttentionTensorMap>() - 128usize];
    ["Alignment of AttentionTensorMap"][::std::mem::align_of::<AttentionTensorMap>() - 64usize];
    ["Offset of field: AttentionTensorMap::words"][::std::mem::offset_of!(AttentionTensorMap, words) - 0usize];
};
#[doc = " The forward on Hopper."]
#[repr(C)]
#[repr(align(64))]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionWgmmaParams {
    #[doc = " Keys of all sequences."]
    pub k: AttentionTensorMap,
    #[doc = " Their values."]
    pub v: AttentionTensorMap,
    #[doc = " Keys of the prefix; unused without one."]
    pub prefix_k: AttentionTensorMap,
    #[doc = " Their values."]
    pub prefix_v: AttentionTensorMap,
    #[doc = " Operands and results."]
    pub forward: AttentionForwardParams,
    #[doc = " Column of the first head's first channel in `k`, `v`, `prefix_k` and `prefix_v`."]
    pub columns: [u64; 4usize],
    #[doc = " Tiles of queries, of `ATTENTION_TALL_ROWS` rows each."]
    pub num_tiles: u64,
    #[doc = " Filled up to a multiple of 64."]
    pub padding: [u64; 6usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionWgmmaParams"][::std::mem::size_of::<AttentionWgmmaParams>() - 768usize];
    ["Alignment of AttentionWgmmaParams"][::std::mem::align_of::<AttentionWgmmaParams>() - 64usize];
    ["Offset of field: AttentionWgmmaParams::k"][::std::mem::offset_of!(AttentionWgmmaParams, k) - 0usize];
    ["Offset of field: AttentionWgmmaParams::v"][::std::mem::offset_of!(AttentionWgmmaParams, v) - 128usize];
    ["Offset of field: AttentionWgmmaParams::prefix_k"]
        [::std::mem::offset_of!(AttentionWgmmaParams, prefix_k) - 256usize];
    ["Offset of field: AttentionWgmmaParams::prefix_v"]
        [::std::mem::offset_of!(AttentionWgmmaParams, prefix_v) - 384usize];
    ["Offset of field: AttentionWgmmaParams::forward"]
        [::std::mem::offset_of!(AttentionWgmmaParams, forward) - 512usize];
    ["Offset of field: AttentionWgmmaParams::columns"]
        [::std::mem::offset_of!(AttentionWgmmaParams, columns) - 680usize];
    ["Offset of field: AttentionWgmmaParams::num_tiles"]
        [::std::mem::offset_of!(AttentionWgmmaParams, num_tiles) - 712usize];
    ["Offset of field: AttentionWgmmaParams::padding"]
        [::std::mem::offset_of!(AttentionWgmmaParams, padding) - 720usize];
};
#[doc = " `delta = rowsum(o * grad_o)` for each token and head."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionDeltaParams {
    #[doc = " `[num_q_tokens, num_heads, head_dim]`"]
    pub o: u64,
    #[doc = " As `o`."]
    pub grad_o: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32, written."]
    pub delta: u64,
    #[doc = " Query tokens of all sequences."]
    pub num_q_tokens: u64,
    #[doc = " Query heads."]
    pub num_heads: u64,
    #[doc = " Channels of a head."]
    pub head_dim: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionDeltaParams"][::std::mem::size_of::<AttentionDeltaParams>() - 48usize];
    ["Alignment of AttentionDeltaParams"][::std::mem::align_of::<AttentionDeltaParams>() - 8usize];
    ["Offset of field: AttentionDeltaParams::o"][::std::mem::offset_of!(AttentionDeltaParams, o) - 0usize];
    ["Offset of field: AttentionDeltaParams::grad_o"][::std::mem::offset_of!(AttentionDeltaParams, grad_o) - 8usize];
    ["Offset of field: AttentionDeltaParams::delta"][::std::mem::offset_of!(AttentionDeltaParams, delta) - 16usize];
    ["Offset of field: AttentionDeltaParams::num_q_tokens"]
        [::std::mem::offset_of!(AttentionDeltaParams, num_q_tokens) - 24usize];
    ["Offset of field: AttentionDeltaParams::num_heads"]
        [::std::mem::offset_of!(AttentionDeltaParams, num_heads) - 32usize];
    ["Offset of field: AttentionDeltaParams::head_dim"]
        [::std::mem::offset_of!(AttentionDeltaParams, head_dim) - 40usize];
};
#[doc = " The gradient of the queries."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionGradQParams {
    #[doc = " Operands."]
    pub inputs: AttentionInputs,
    #[doc = " `[num_tiles]` `AttentionTile`: the tiles of queries."]
    pub tiles: u64,
    #[doc = " `[num_q_tokens, num_heads * head_dim]`"]
    pub grad_o: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub softmax_lse: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub delta: u64,
    #[doc = " `[num_q_tokens, num_heads * head_dim]`, written."]
    pub grad_q: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionGradQParams"][::std::mem::size_of::<AttentionGradQParams>() - 184usize];
    ["Alignment of AttentionGradQParams"][::std::mem::align_of::<AttentionGradQParams>() - 8usize];
    ["Offset of field: AttentionGradQParams::inputs"][::std::mem::offset_of!(AttentionGradQParams, inputs) - 0usize];
    ["Offset of field: AttentionGradQParams::tiles"][::std::mem::offset_of!(AttentionGradQParams, tiles) - 144usize];
    ["Offset of field: AttentionGradQParams::grad_o"][::std::mem::offset_of!(AttentionGradQParams, grad_o) - 152usize];
    ["Offset of field: AttentionGradQParams::softmax_lse"]
        [::std::mem::offset_of!(AttentionGradQParams, softmax_lse) - 160usize];
    ["Offset of field: AttentionGradQParams::delta"][::std::mem::offset_of!(AttentionGradQParams, delta) - 168usize];
    ["Offset of field: AttentionGradQParams::grad_q"][::std::mem::offset_of!(AttentionGradQParams, grad_q) - 176usize];
};
#[doc = " The gradients of keys and values: first a block for each tile of the sequences' own keys, then one for each tile of the\nprefix and chunk of queries."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionGradKvParams {
    #[doc = " Operands."]
    pub inputs: AttentionInputs,
    #[doc = " `[num_key_tiles]` `AttentionTile`: the tiles of the sequences' own keys."]
    pub key_tiles: u64,
    #[doc = " `[num_q_tiles]` `AttentionTile`: the tiles of queries that the prefix meets."]
    pub q_tiles: u64,
    #[doc = " `[num_q_tokens, num_heads * head_dim]`"]
    pub grad_o: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub softmax_lse: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub delta: u64,
    #[doc = " `[num_kv_tokens, num_kv_heads * head_dim]`, written."]
    pub grad_k: u64,
    #[doc = " As `grad_k`."]
    pub grad_v: u64,
    #[doc = " `[num_chunks, 2, prefix_len, num_kv_heads * head_dim]` f32, written: the sums of chunks of queries."]
    pub prefix_partials: u64,
    #[doc = " Tiles of own keys that blocks are launched for."]
    pub num_key_tiles: u32,
    #[doc = " Tiles of queries, of `ATTENTION_ROWS` rows each."]
    pub num_q_tiles: u32,
    #[doc = " Tiles of queries in a chunk."]
    pub chunk_tiles: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionGradKvParams"][::std::mem::size_of::<AttentionGradKvParams>() - 224usize];
    ["Alignment of AttentionGradKvParams"][::std::mem::align_of::<AttentionGradKvParams>() - 8usize];
    ["Offset of field: AttentionGradKvParams::inputs"][::std::mem::offset_of!(AttentionGradKvParams, inputs) - 0usize];
    ["Offset of field: AttentionGradKvParams::key_tiles"]
        [::std::mem::offset_of!(AttentionGradKvParams, key_tiles) - 144usize];
    ["Offset of field: AttentionGradKvParams::q_tiles"]
        [::std::mem::offset_of!(AttentionGradKvParams, q_tiles) - 152usize];
    ["Offset of field: AttentionGradKvParams::grad_o"]
        [::std::mem::offset_of!(AttentionGradKvParams, grad_o) - 160usize];
    ["Offset of field: AttentionGradKvParams::softmax_lse"]
        [::std::mem::offset_of!(AttentionGradKvParams, softmax_lse) - 168usize];
    ["Offset of field: AttentionGradKvParams::delta"][::std::mem::offset_of!(AttentionGradKvParams, delta) - 176usize];
    ["Offset of field: AttentionGradKvParams::grad_k"]
        [::std::mem::offset_of!(AttentionGradKvParams, grad_k) - 184usize];
    ["Offset of field: AttentionGradKvParams::grad_v"]
        [::std::mem::offset_of!(AttentionGradKvParams, grad_v) - 192usize];
    ["Offset of field: AttentionGradKvParams::prefix_partials"]
        [::std::mem::offset_of!(AttentionGradKvParams, prefix_partials) - 200usize];
    ["Offset of field: AttentionGradKvParams::num_key_tiles"]
        [::std::mem::offset_of!(AttentionGradKvParams, num_key_tiles) - 208usize];
    ["Offset of field: AttentionGradKvParams::num_q_tiles"]
        [::std::mem::offset_of!(AttentionGradKvParams, num_q_tiles) - 212usize];
    ["Offset of field: AttentionGradKvParams::chunk_tiles"]
        [::std::mem::offset_of!(AttentionGradKvParams, chunk_tiles) - 216usize];
};
#[doc = " `sums[i]` = the sum of `partials[.., i]`, in order."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionSumParams {
    #[doc = " `[count, 2, len]` f32: parts of both sums."]
    pub partials: u64,
    #[doc = " `[len]` f32, written."]
    pub grad_k: u64,
    #[doc = " As `grad_k`."]
    pub grad_v: u64,
    #[doc = " Parts."]
    pub count: u64,
    #[doc = " Elements of one sum."]
    pub len: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionSumParams"][::std::mem::size_of::<AttentionSumParams>() - 40usize];
    ["Alignment of AttentionSumParams"][::std::mem::align_of::<AttentionSumParams>() - 8usize];
    ["Offset of field: AttentionSumParams::partials"][::std::mem::offset_of!(AttentionSumParams, partials) - 0usize];
    ["Offset of field: AttentionSumParams::grad_k"][::std::mem::offset_of!(AttentionSumParams, grad_k) - 8usize];
    ["Offset of field: AttentionSumParams::grad_v"][::std::mem::offset_of!(AttentionSumParams, grad_v) - 16usize];
    ["Offset of field: AttentionSumParams::count"][::std::mem::offset_of!(AttentionSumParams, count) - 24usize];
    ["Offset of field: AttentionSumParams::len"][::std::mem::offset_of!(AttentionSumParams, len) - 32usize];
};
#[doc = " The gradient of a bias by difference of positions."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionGradBiasParams {
    #[doc = " Operands."]
    pub inputs: AttentionInputs,
    #[doc = " `[num_tiles]` `AttentionTile`: the tiles of queries."]
    pub tiles: u64,
    #[doc = " `[num_q_tokens, num_heads * head_dim]`"]
    pub grad_o: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub softmax_lse: u64,
    #[doc = " `[num_heads, num_q_tokens]` f32"]
    pub delta: u64,
    #[doc = " `[num_blocks, num_kv_heads, bias_len]` f32, added to: what the tiles of each block sum to, laid out as the bias."]
    pub partials: u64,
    #[doc = " Tiles. Block `x` takes number `x`, and then every `num_blocks`-th."]
    pub num_tiles: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionGradBiasParams"][::std::mem::size_of::<AttentionGradBiasParams>() - 192usize];
    ["Alignment of AttentionGradBiasParams"][::std::mem::align_of::<AttentionGradBiasParams>() - 8usize];
    ["Offset of field: AttentionGradBiasParams::inputs"]
        [::std::mem::offset_of!(AttentionGradBiasParams, inputs) - 0usize];
    ["Offset of field: AttentionGradBiasParams::tiles"]
        [::std::mem::offset_of!(AttentionGradBiasParams, tiles) - 144usize];
    ["Offset of field: AttentionGradBiasParams::grad_o"]
        [::std::mem::offset_of!(AttentionGradBiasParams, grad_o) - 152usize];
    ["Offset of field: AttentionGradBiasParams::softmax_lse"]
        [::std::mem::offset_of!(AttentionGradBiasParams, softmax_lse) - 160usize];
    ["Offset of field: AttentionGradBiasParams::delta"]
        [::std::mem::offset_of!(AttentionGradBiasParams, delta) - 168usize];
    ["Offset of field: AttentionGradBiasParams::partials"]
        [::std::mem::offset_of!(AttentionGradBiasParams, partials) - 176usize];
    ["Offset of field: AttentionGradBiasParams::num_tiles"]
        [::std::mem::offset_of!(AttentionGradBiasParams, num_tiles) - 184usize];
};
#[doc = " `grad[b, h]` = the sum of `partials[.., x * group + h]` over the differences `x` of bucket `b`, in order."]
#[repr(C)]
#[derive(Debug, Copy, Clone, bytemuck :: Pod, bytemuck :: Zeroable)]
pub struct AttentionSumBiasParams {
    #[doc = " `[count, num_kv_heads, len]` f32"]
    pub partials: u64,
    #[doc = " `[num_buckets, 2]` u64: the first difference of each bucket, and the one behind its last."]
    pub buckets: u64,
    #[doc = " `[num_buckets, num_kv_heads * group]` f32, written."]
    pub grad: u64,
    #[doc = " Parts."]
    pub count: u64,
    #[doc = " Elements of one key/value head."]
    pub len: u64,
    #[doc = " Query heads that share a key/value head."]
    pub group: u64,
    #[doc = " Key and value heads."]
    pub num_kv_heads: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of AttentionSumBiasParams"][::std::mem::size_of::<AttentionSumBiasParams>() - 56usize];
    ["Alignment of AttentionSumBiasParams"][::std::mem::align_of::<AttentionSumBiasParams>() - 8usize];
    ["Offset of field: AttentionSumBiasParams::partials"]
        [::std::mem::offset_of!(AttentionSumBiasParams, partials) - 0usize];
    ["Offset of field: AttentionSumBiasParams::buckets"]
        [::std::mem::offset_of!(AttentionSumBiasParams, buckets) - 8usize];
    ["Offset of field: AttentionSumBiasParams::grad"][::std::mem::offset_of!(AttentionSumBiasParams, grad) - 16usize];
    ["Offset of field: AttentionSumBiasParams::count"][::std::mem::offset_of!(AttentionSumBiasParams, count) - 24usize];
    ["Offset of field: AttentionSumBiasParams::len"][::std::mem::offset_of!(AttentionSumBiasParams, len) - 32usize];
    ["Offset of field: AttentionSumBiasParams::group"][::std::mem::offset_of!(AttentionSumBiasParams, group) - 40usize];
    ["Offset of field: AttentionSumBiasParams::num_kv_heads"]
        [::std::mem::offset_of!(AttentionSumBiasParams, num_kv_heads) - 48usize];
};
