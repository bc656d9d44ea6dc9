// The running softmax of the forward: exp(s - max) block by block, with what came before rescaled.
//
// Source: Dao 2023, "FlashAttention-2", algorithm 1.
#pragma once
#include "prefix-attention/scores.cuh"
#include "prefix-attention/visible.cuh"

/** What the sums so far are multiplied with, for each row that a lane holds values of. */
template <uint32_t M>
struct Rescaling {
    float factor[M][2];

    template <uint32_t C>
    __device__ __forceinline__ void apply(float (&o)[M][C][4]) const {
#pragma unroll
        for (uint32_t i = 0; i < M * C * 4; i++) o[i / (C * 4)][i / 4 % C][i % 4] *= factor[i / (C * 4)][i % 4 / 2];
    }
};

/** The running softmax of the rows that a lane holds values of. */
template <uint32_t M>
struct Softmax {
    /** Largest score so far. */
    float maximum[M][2];
    /** This lane's part of the sum of `2^(s - maximum)`. */
    float sum[M][2];

    __device__ __forceinline__ Softmax() {
        for (uint32_t i = 0; i < 2 * M; i++) maximum[i / 2][i % 2] = -INFINITY, sum[i / 2][i % 2] = 0.0f;
    }

    /** Takes a block of scores in and replaces them by `2^(s - maximum)`. What was accumulated before is to be rescaled. */
    template <uint32_t N>
    __device__ __forceinline__ Rescaling<M> absorb(float (&scores)[M][N][4]) {
        Rescaling<M> rescaling;
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
#pragma unroll
            for (uint32_t half = 0; half < 2; half++) {
                float before = maximum[m][half], largest = before;
#pragma unroll
                for (uint32_t n = 0; n < N; n++)
                    largest = fmaxf(largest, fmaxf(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
                largest = quad_max(largest);
                // Where no key was visible yet the maximum is -inf; any finite number in its place gives 2^-inf = 0.
                float shift = largest == -INFINITY ? 0.0f : largest;
                float rescale = exp2_flushed(before - shift), added = 0.0f;
#pragma unroll
                for (uint32_t n = 0; n < N; n++) {
#pragma unroll
                    for (uint32_t i = 2 * half; i < 2 * half + 2; i++) {
                        scores[m][n][i] = exp2_flushed(scores[m][n][i] - shift);
                        added += scores[m][n][i];
                    }
                }
                maximum[m][half] = largest;
                sum[m][half] = sum[m][half] * rescale + added;
                rescaling.factor[m][half] = rescale;
            }
        }
        return rescaling;
    }

    /** Divides the sums of one row by that of its probabilities, and returns its log-sum-exp. A query that sees no key has
        sums of 0 and -inf. */
    template <uint32_t C>
    __device__ __forceinline__ float finish(float (&o)[M][C][4], uint32_t m, uint32_t half) const {
        float total = quad_sum(sum[m][half]), factor = total == 0.0f ? 0.0f : 1.0f / total;
#pragma unroll
        for (uint32_t n = 0; n < C; n++) o[m][n][2 * half] *= factor, o[m][n][2 * half + 1] *= factor;
        return total == 0.0f ? -INFINITY : (maximum[m][half] + log2f(total)) * LN_2;
    }

    /** The four lanes that hold a row. */
    __device__ __forceinline__ static float quad_max(float value) {
        value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 1));
        return fmaxf(value, __shfl_xor_sync(ALL_LANES, value, 2));
    }

    __device__ __forceinline__ static float quad_sum(float value) {
        value += __shfl_xor_sync(ALL_LANES, value, 1);
        return value + __shfl_xor_sync(ALL_LANES, value, 2);
    }
};

/** Hides the scores of keys that their rows do not see. */
template <uint32_t M, uint32_t N>
__device__ __forceinline__ void hide(float (&scores)[M][N][4], const Keys (&visible)[M][2], uint32_t first_key) {
    uint32_t first = first_key + 2 * (lane_id() % 4);
#pragma unroll
    for (uint32_t m = 0; m < M; m++) {
#pragma unroll
        for (uint32_t i = 0; i < 4 * N; i++) {
            if (!visible[m][i % 4 / 2].contains(first + 8 * (i / 4) + i % 2)) scores[m][i / 4][i % 4] = -INFINITY;
        }
    }
}

/** Where the log-sum-exp of a row is kept. */
__device__ __forceinline__ uint64_t lse_index(const AttentionInputs& p, const AttentionTile& tile, uint32_t kv_head, uint32_t row) {
    uint64_t head = uint64_t(kv_head) * p.group + row % p.group;
    return head * p.num_q_tokens + tile.q_start + row / p.group;
}
