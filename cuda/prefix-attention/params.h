/* Parameters of the attention kernels. */
#pragma once
#include <stdint.h>

/** Threads of a block that takes a tile, each warp with rows of its own. Kernels promise one such block at a time, which lets
    them use all registers that a thread can have. */
static const uint32_t ATTENTION_THREADS = 128;

/** Rows of a tile: 16 for each warp. */
static const uint32_t ATTENTION_ROWS = 64;

/** Rows of a tile in the forward of bf16 heads of up to 128 channels: 32 for each warp. */
static const uint32_t ATTENTION_TALL_ROWS = 128;

/** The longest head. */
static const uint32_t ATTENTION_MAX_HEAD_DIM = 256;

/** The longest head with a bias: beyond, sums fill the registers. */
static const uint32_t ATTENTION_MAX_BIASED_HEAD_DIM = 128;

/** Threads of a block of the forward for Hopper: a warpgroup that copies and two that take 64 rows each. */
static const uint32_t ATTENTION_WGMMA_THREADS = 384;

/** Keys of a block there. */
static const uint32_t ATTENTION_WGMMA_KEYS = 128;

/** Shared memory for each channel of a head: tiles of 128 queries, and two of keys and of values. */
static const uint32_t ATTENTION_WGMMA_CHANNEL_BYTES = 1280;

/** Shared memory besides: barriers. */
static const uint32_t ATTENTION_WGMMA_BARRIER_BYTES = 1024;

/** Threads of a block of the elementwise kernels. */
static const uint32_t ATTENTION_ELEMENT_THREADS = 256;

/** Shared memory of the sum of a bucket: an f64 for each warp. */
static const uint32_t ATTENTION_SUM_SHARED_BYTES = ATTENTION_ELEMENT_THREADS / 32 * 8;

/** Rows of one sequence that a block takes, for one key/value head. The query heads that share it are stacked: row `r` is
    query `r / group` of head `r % group` within the group. */
struct AttentionTile {
    /** First query token of the sequence. */
    uint32_t q_start;
    /** Its query tokens. */
    uint32_t q_len;
    /** First key of the sequence. */
    uint32_t kv_start;
    /** Its keys. */
    uint32_t kv_len;
    /** First row of a tile of queries, first key of a tile of keys. */
    uint32_t first;
};

static_assert(sizeof(AttentionTile) == 20, "AttentionTile is shared with Rust");

/** A matrix with a row for each token, whose rows may lie apart. */
struct AttentionRows {
    /** Address of the first row. */
    uint64_t data;
    /** Elements from row to row. */
    uint64_t stride;
};

static_assert(sizeof(AttentionRows) == 16, "AttentionRows is shared with Rust");

/** What both directions read, all of one type. */
struct AttentionInputs {
    /** `[num_q_tokens, num_heads * head_dim]` */
    struct AttentionRows q;
    /** `[num_kv_tokens, num_kv_heads * head_dim]` */
    struct AttentionRows k;
    /** As `k`. */
    struct AttentionRows v;
    /** `[prefix_len, num_kv_heads * head_dim]` */
    struct AttentionRows prefix_k;
    /** As `prefix_k`. */
    struct AttentionRows prefix_v;
    /** `[num_kv_heads, bias_len]` f32 in units of `ln 2`, or 0: what is added to the scores. With `x` a query's position minus
        its key's, the bias of head `h` of a group is element `(x + bias_behind) * group + h`. */
    uint64_t bias;
    /** Elements of one key/value head. */
    uint64_t bias_len;
    /** Queries that may stand before the first key. */
    uint64_t bias_behind;
    /** Query tokens of all sequences. */
    uint64_t num_q_tokens;
    /** Keys of the prefix. */
    uint32_t prefix_len;
    /** Key and value heads. */
    uint32_t num_kv_heads;
    /** Query heads that share a key/value head. */
    uint32_t group;
    /** Channels of a head. */
    uint32_t head_dim;
    /** 1 if a query sees only keys up to its own position, 0 if it sees all. */
    uint32_t causal;
    /** Keys that a query sees, itself included, if `causal`. */
    uint32_t window;
    /** Factor of the scores. */
    float softmax_scale;
    /** Bound of the scores; 0 for none. */
    float softcap;
};

static_assert(sizeof(AttentionInputs) == 144, "AttentionInputs is shared with Rust");

/** `values[kv_head, i]` = `log2 e * table[places[i] + kv_head * group]`: the bias of every difference of positions. */
struct AttentionBiasParams {
    /** `[num_buckets, num_heads]` f32 */
    uint64_t table;
    /** `[len]` u32: elements of the table, for the first key/value head. */
    uint64_t places;
    /** `[num_kv_heads, len]` f32, written. */
    uint64_t values;
    /** Elements of one key/value head. */
    uint64_t len;
    /** Query heads that share a key/value head. */
    uint64_t group;
};

static_assert(sizeof(AttentionBiasParams) == 40, "AttentionBiasParams is shared with Rust");

/** `o` and the log-sum-exp of the scores. */
struct AttentionForwardParams {
    /** Operands. */
    struct AttentionInputs inputs;
    /** `[num_tiles]` `AttentionTile`: the tiles of queries. */
    uint64_t tiles;
    /** `[num_q_tokens, num_heads * head_dim]`, written. */
    uint64_t o;
    /** `[num_heads, num_q_tokens]` f32, written. */
    uint64_t softmax_lse;
};

static_assert(sizeof(AttentionForwardParams) == 168, "AttentionForwardParams is shared with Rust");

/** A matrix for the tensor memory accelerator: `device::launch::TensorMap`. */
struct alignas(64) AttentionTensorMap {
    /** Opaque. */
    uint64_t words[16];
};

/** The forward on Hopper. */
struct AttentionWgmmaParams {
    /** Keys of all sequences. */
    struct AttentionTensorMap k;
    /** Their values. */
    struct AttentionTensorMap v;
    /** Keys of the prefix; unused without one. */
    struct AttentionTensorMap prefix_k;
    /** Their values. */
    struct AttentionTensorMap prefix_v;
    /** Operands and results. */
    struct AttentionForwardParams forward;
    /** Column of the first head's first channel in `k`, `v`, `prefix_k` and `prefix_v`. */
    uint64_t columns[4];
    /** Tiles of queries, of `ATTENTION_TALL_ROWS` rows each. */
    uint64_t num_tiles;
    /** Filled up to a multiple of 64. */
    uint64_t padding[6];
};

static_assert(sizeof(AttentionWgmmaParams) == 768, "AttentionWgmmaParams is shared with Rust");

/** `delta = rowsum(o * grad_o)` for each token and head. */
struct AttentionDeltaParams {
    /** `[num_q_tokens, num_heads, head_dim]` */
    uint64_t o;
    /** As `o`. */
    uint64_t grad_o;
    /** `[num_heads, num_q_tokens]` f32, written. */
    uint64_t delta;
    /** Query tokens of all sequences. */
    uint64_t num_q_tokens;
    /** Query heads. */
    uint64_t num_heads;
    /** Channels of a head. */
    uint64_t head_dim;
};

static_assert(sizeof(AttentionDeltaParams) == 48, "AttentionDeltaParams is shared with Rust");

/** The gradient of the queries. */
struct AttentionGradQParams {
    /** Operands. */
    struct AttentionInputs inputs;
    /** `[num_tiles]` `AttentionTile`: the tiles of queries. */
    uint64_t tiles;
    /** `[num_q_tokens, num_heads * head_dim]` */
    uint64_t grad_o;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t softmax_lse;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t delta;
    /** `[num_q_tokens, num_heads * head_dim]`, written. */
    uint64_t grad_q;
};

static_assert(sizeof(AttentionGradQParams) == 184, "AttentionGradQParams is shared with Rust");

/** The gradients of keys and values: first a block for each tile of the sequences' own keys, then one for each tile of the
    prefix and chunk of queries. */
struct AttentionGradKvParams {
    /** Operands. */
    struct AttentionInputs inputs;
    /** `[num_key_tiles]` `AttentionTile`: the tiles of the sequences' own keys. */
    uint64_t key_tiles;
    /** `[num_q_tiles]` `AttentionTile`: the tiles of queries that the prefix meets. */
    uint64_t q_tiles;
    /** `[num_q_tokens, num_heads * head_dim]` */
    uint64_t grad_o;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t softmax_lse;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t delta;
    /** `[num_kv_tokens, num_kv_heads * head_dim]`, written. */
    uint64_t grad_k;
    /** As `grad_k`. */
    uint64_t grad_v;
    /** `[num_chunks, 2, prefix_len, num_kv_heads * head_dim]` f32, written: the sums of chunks of queries. */
    uint64_t prefix_partials;
    /** Tiles of own keys that blocks are launched for. */
    uint32_t num_key_tiles;
    /** Tiles of queries, of `ATTENTION_ROWS` rows each. */
    uint32_t num_q_tiles;
    /** Tiles of queries in a chunk. */
    uint64_t chunk_tiles;
};

static_assert(sizeof(AttentionGradKvParams) == 224, "AttentionGradKvParams is shared with Rust");

/** `sums[i]` = the sum of `partials[.., i]`, in order. */
struct AttentionSumParams {
    /** `[count, 2, len]` f32: parts of both sums. */
    uint64_t partials;
    /** `[len]` f32, written. */
    uint64_t grad_k;
    /** As `grad_k`. */
    uint64_t grad_v;
    /** Parts. */
    uint64_t count;
    /** Elements of one sum. */
    uint64_t len;
};

static_assert(sizeof(AttentionSumParams) == 40, "AttentionSumParams is shared with Rust");

/** The gradient of a bias by difference of positions. */
struct AttentionGradBiasParams {
    /** Operands. */
    struct AttentionInputs inputs;
    /** `[num_tiles]` `AttentionTile`: the tiles of queries. */
    uint64_t tiles;
    /** `[num_q_tokens, num_heads * head_dim]` */
    uint64_t grad_o;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t softmax_lse;
    /** `[num_heads, num_q_tokens]` f32 */
    uint64_t delta;
    /** `[num_blocks, num_kv_heads, bias_len]` f32, added to: what the tiles of each block sum to, laid out as the bias. */
    uint64_t partials;
    /** Tiles. Block `x` takes number `x`, and then every `num_blocks`-th. */
    uint64_t num_tiles;
};

static_assert(sizeof(AttentionGradBiasParams) == 192, "AttentionGradBiasParams is shared with Rust");

/** `grad[b, h]` = the sum of `partials[.., x * group + h]` over the differences `x` of bucket `b`, in order. */
struct AttentionSumBiasParams {
    /** `[count, num_kv_heads, len]` f32 */
    uint64_t partials;
    /** `[num_buckets, 2]` u64: the first difference of each bucket, and the one behind its last. */
    uint64_t buckets;
    /** `[num_buckets, num_kv_heads * group]` f32, written. */
    uint64_t grad;
    /** Parts. */
    uint64_t count;
    /** Elements of one key/value head. */
    uint64_t len;
    /** Query heads that share a key/value head. */
    uint64_t group;
    /** Key and value heads. */
    uint64_t num_kv_heads;
};

static_assert(sizeof(AttentionSumBiasParams) == 56, "AttentionSumBiasParams is shared with Rust");
