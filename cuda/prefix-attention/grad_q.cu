// dq_i = softmax_scale sum_j ds_ij k_j with ds_ij = p_ij (dp_ij - delta_i), dp_ij = do_i . v_j; with soft-capping times
// 1 - (s_ij / softcap)^2.
//
// A thread block takes a tile of stacked query rows of one key/value head, 16 for each warp, and computes their
// probabilities again from the saved log-sum-exp. The keys of a block arrive while the values are used. All is f32; bf16
// rounds ds before it multiplies the keys, and the result. A pass of its own, so that no sum is shared between blocks.
// Source: Dao 2023, "FlashAttention-2", algorithm 2.
#include "prefix-attention/bias.cuh"
#include "prefix-attention/scores.cuh"

namespace {

template <typename T, uint32_t D>
__device__ __forceinline__ void grad_q(const AttentionGradQParams& params) {
    constexpr uint32_t ROWS = ATTENTION_ROWS, KEYS = KEY_COLUMNS<T, D>;
    struct Shared {
        TileRow<T, D> q[ROWS], grad_o[ROWS], k[KEYS], v[KEYS];
    };
    Shared& shared = shared_memory<Shared>();
    const AttentionInputs& p = params.inputs;
    const AttentionTile tile = global_pointer<const AttentionTile>(params.tiles)[blockIdx.x];
    uint32_t kv_head = blockIdx.y, end = min(tile.first + ROWS, tile.q_len * p.group);
    uint32_t warp_row = 16 * warp_id(), lane_row = tile.first + warp_row + lane_id() / 4;

    KeyBlocks<T, KEYS> blocks(p, tile, ROWS, kv_head);
    load_tile(shared.q, query_rows<T>(p, p.q, tile.q_start, kv_head), tile.first, end - tile.first);
    HeadRows<T> grad_o = query_rows<T>(p, contiguous_queries(p, params.grad_o), tile.q_start, kv_head);
    load_tile(shared.grad_o, grad_o, tile.first, end - tile.first);
    if (blocks.count > 0) load_keys(shared.v, blocks[0].v, blocks[0].keys);
    async_copy_commit();
    if (blocks.count > 0) load_keys(shared.k, blocks[0].k, blocks[0].keys);
    async_copy_commit();

    Scoring scoring(p);
    QueryStatistics queries[2];
    for (uint32_t half = 0; half < 2; half++) {
        // Rows behind the last one are not written; they compute with the last one's numbers.
        uint32_t row = min(lane_row + 8 * half, end - 1);
        uint64_t head = uint64_t(kv_head) * p.group + row % p.group;
        uint64_t index = head * p.num_q_tokens + tile.q_start + row / p.group;
        queries[half] = QueryStatistics::read(params.softmax_lse, params.delta, index);
    }
    float result[1][D / 8][4] = {};
    for (uint32_t i = 0; i < blocks.count; i++) {
        KeyBlock<T> block = blocks[i];
        // The values are there.
        async_copy_wait<1>();
        __syncthreads();
        float gradients[1][KEYS / 8][4] = {}, scores[1][KEYS / 8][4] = {};
        add_scores<1, KEYS, D>(gradients, shared.grad_o + warp_row, shared.v);
        // The keys are there, and no warp reads the values any more.
        async_copy_wait<0>();
        __syncthreads();
        if (i + 1 < blocks.count) load_keys(shared.v, blocks[i + 1].v, blocks[i + 1].keys);
        async_copy_commit();
        add_scores<1, KEYS, D>(scores, shared.q + warp_row, shared.k);
        scoring.score(scores);
        if (MAY_HAVE_BIAS<D, 1>) add_bias(scores, p, tile, kv_head, block.prefix, lane_row, end - 1, block.keys);
        for (uint32_t half = 0; half < 2; half++) {
            Keys visible = block.prefix ? block.keys : visible_to(p, tile, lane_row + 8 * half);
#pragma unroll
            for (uint32_t n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (uint32_t c = 0; c < 2; c++) {
                    uint32_t key = block.keys.start + 8 * n + 2 * (lane_id() % 4) + c;
                    differentiate(scoring, queries[half], visible.contains(key), scores[0][n][2 * half + c],
                                  gradients[0][n][2 * half + c]);
                }
            }
        }
        add_weighted_rows<1, KEYS, D>(result, gradients, shared.k);
        // No warp reads the keys any more.
        __syncthreads();
        if (i + 1 < blocks.count) load_keys(shared.k, blocks[i + 1].k, blocks[i + 1].keys);
        async_copy_commit();
    }
    HeadRows<T> results = query_rows<T>(p, contiguous_queries(p, params.grad_q), tile.q_start, kv_head);
    store_rows<1, D>(result, p.softmax_scale, p.head_dim, [&](uint32_t row) -> T* {
        row += tile.first + warp_row;
        return row < end ? const_cast<T*>(results.row(row)) : nullptr;
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d64_f32(const __grid_constant__ AttentionGradQParams p) { grad_q<float, 64>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d128_f32(const __grid_constant__ AttentionGradQParams p) { grad_q<float, 128>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d256_f32(const __grid_constant__ AttentionGradQParams p) { grad_q<float, 256>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d64_bf16(const __grid_constant__ AttentionGradQParams p) { grad_q<bf16, 64>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d128_bf16(const __grid_constant__ AttentionGradQParams p) { grad_q<bf16, 128>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_q_d256_bf16(const __grid_constant__ AttentionGradQParams p) { grad_q<bf16, 256>(p); }
