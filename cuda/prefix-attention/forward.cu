// o_i = sum_j p_ij v_j with p_ij = exp(s_ij - lse_i), block of keys by block with a running softmax.
//
// A thread block takes a tile of stacked query rows of one key/value head, each warp 16 rows of it or 32, and reads the keys
// that any of them sees, prefix first, in place. The values of a block arrive while its scores are computed, the keys of the
// next one while the values are summed. Scores, softmax and sums are f32; bf16 rounds the probabilities before they multiply
// the values, and the result.
// Source: Dao 2023, "FlashAttention-2", algorithm 1.
#include "prefix-attention/bias.cuh"
#include "prefix-attention/softmax.cuh"

namespace {

template <typename T, uint32_t D, uint32_t M>
__device__ __forceinline__ void forward(const AttentionForwardParams& params) {
    constexpr uint32_t ROWS = M * ATTENTION_ROWS, KEYS = KEY_COLUMNS<T, D>;
    struct Shared {
        TileRow<T, D> q[ROWS], k[KEYS], v[KEYS];
    };
    Shared& shared = shared_memory<Shared>();
    const AttentionInputs& p = params.inputs;
    const AttentionTile tile = global_pointer<const AttentionTile>(params.tiles)[blockIdx.x];
    uint32_t kv_head = blockIdx.y, rows = min(ROWS, tile.q_len * p.group - tile.first);
    uint32_t warp_row = 16 * M * warp_id(), lane_row = tile.first + warp_row + lane_id() / 4;

    KeyBlocks<T, KEYS> blocks(p, tile, ROWS, kv_head);
    load_tile(shared.q, query_rows<T>(p, p.q, tile.q_start, kv_head), tile.first, rows);
    if (blocks.count > 0) load_keys(shared.k, blocks[0].k, blocks[0].keys);
    async_copy_commit();

    Scoring scoring(p);
    Softmax<M> softmax;
    float o[M][D / 8][4] = {};
    // What every row of the tile sees, and what each row of this lane sees.
    Keys common = {visible_to(p, tile, tile.first + rows - 1).start, visible_to(p, tile, tile.first).end};
    for (uint32_t i = 0; i < blocks.count; i++) {
        KeyBlock<T> block = blocks[i];
        // The keys are there, and no warp reads the last block's values any more.
        async_copy_wait<0>();
        __syncthreads();
        load_keys(shared.v, block.v, block.keys);
        async_copy_commit();

        float scores[M][KEYS / 8][4] = {};
        add_scores<M, KEYS, D>(scores, shared.q + warp_row, shared.k);
        scoring.score(scores);
        if (MAY_HAVE_BIAS<D, M>) add_bias(scores, p, tile, kv_head, block.prefix, lane_row, tile.first + rows - 1, block.keys);
        bool whole = block.keys.end - block.keys.start == KEYS && (block.prefix || common.cover(block.keys));
        if (!whole) {
            Keys visible[M][2];
            for (uint32_t r = 0; r < 2 * M; r++)
                visible[r / 2][r % 2] = block.prefix ? block.keys : visible_to(p, tile, lane_row + 8 * r);
            hide(scores, visible, block.keys.start);
        }
        softmax.absorb(scores).apply(o);

        // The values are there, and no warp reads the keys any more.
        async_copy_wait<0>();
        __syncthreads();
        if (i + 1 < blocks.count) load_keys(shared.k, blocks[i + 1].k, blocks[i + 1].keys);
        async_copy_commit();
        add_weighted_rows<M, KEYS, D>(o, scores, shared.v);
    }

    HeadRows<T> results = query_rows<T>(p, contiguous_queries(p, params.o), tile.q_start, kv_head);
    float* softmax_lse = global_pointer<float>(params.softmax_lse);
#pragma unroll
    for (uint32_t m = 0; m < M; m++) {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            uint32_t row = lane_row + 16 * m + 8 * half;
            float lse = softmax.finish(o, m, half);
            if (row < tile.first + rows && lane_id() % 4 == 0) softmax_lse[lse_index(p, tile, kv_head, row)] = lse;
        }
    }
    store_rows<M, D>(o, 1.0f, p.head_dim, [&](uint32_t row) -> T* {
        row += warp_row;
        return row < rows ? const_cast<T*>(results.row(tile.first + row)) : nullptr;
    });
}

}  // namespace

// For bf16 with a bias, the tiles are not tall.
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_biased_d64_bf16(const __grid_constant__ AttentionForwardParams p) { forward<bf16, 64, 1>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_biased_d128_bf16(const __grid_constant__ AttentionForwardParams p) { forward<bf16, 128, 1>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d64_f32(const __grid_constant__ AttentionForwardParams p) { forward<float, 64, 1>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d128_f32(const __grid_constant__ AttentionForwardParams p) { forward<float, 128, 1>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d256_f32(const __grid_constant__ AttentionForwardParams p) { forward<float, 256, 1>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d64_bf16(const __grid_constant__ AttentionForwardParams p) { forward<bf16, 64, 2>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d128_bf16(const __grid_constant__ AttentionForwardParams p) { forward<bf16, 128, 2>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_forward_d256_bf16(const __grid_constant__ AttentionForwardParams p) { forward<bf16, 256, 1>(p); }
