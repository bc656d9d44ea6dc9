// A bias that depends on the difference of positions of query and key.
#pragma once
#include "prefix-attention/visible.cuh"

/** Whether kernels for heads of `D` channels, with 16 `M` rows for each warp, have registers left for a bias. */
template <uint32_t D, uint32_t M>
constexpr bool MAY_HAVE_BIAS = D <= ATTENTION_MAX_BIASED_HEAD_DIM && M == 1;

/** Where the bias of a row `row` of a sequence and of key 0 is: that of key `j` is `j * group` elements before it. Key 0 is
    the sequence's first, or that of the prefix, which stands before the sequence. */
__device__ __forceinline__ const float* bias_of_row(const AttentionInputs& p, const AttentionTile& tile, uint32_t kv_head,
                                                    bool prefix, uint32_t row) {
    uint64_t first = p.bias_behind + tile.kv_len + (prefix ? p.prefix_len : 0) - tile.q_len;
    return global_pointer<const float>(p.bias) + kv_head * p.bias_len + first * p.group + row;
}

/** Adds the bias to the scores of a warp's rows from `row` on and a block of keys. Rows behind `last_row` and keys behind the
    last one, which are hidden, take those of the last. */
template <uint32_t M, uint32_t N>
__device__ __forceinline__ void add_bias(float (&scores)[M][N][4], const AttentionInputs& p, const AttentionTile& tile,
                                         uint32_t kv_head, bool prefix, uint32_t row, uint32_t last_row, const Keys& keys) {
    if (!p.bias) return;
#pragma unroll
    for (uint32_t r = 0; r < 2 * M; r++) {
        const float* bias = bias_of_row(p, tile, kv_head, prefix, min(row + 8 * r, last_row));
#pragma unroll
        for (uint32_t i = 0; i < 2 * N; i++) {
            uint32_t key = min(keys.start + 8 * (i / 2) + 2 * (lane_id() % 4) + i % 2, keys.end - 1);
            scores[r / 2][i / 2][2 * (r % 2) + i % 2] += *(bias - uint64_t(key) * p.group);
        }
    }
}
