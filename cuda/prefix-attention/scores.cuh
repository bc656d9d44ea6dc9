// What happens to scores between the products: scaling, soft-capping and the derivative of the softmax. Scores are in units
// of ln 2, for `exp2_flushed`.
#pragma once
#include "prefix-attention/params.h"
#include "common/exp2.cuh"

constexpr float LOG2_E = 1.44269504f;
constexpr float LN_2 = 0.69314718f;

/** Keys of a block in the passes over keys: what fits into shared memory. */
template <typename T, uint32_t D>
constexpr uint32_t KEY_COLUMNS = sizeof(T) == 2 ? 64 : D <= 128 ? 32 : 16;

/** Queries of a step in the pass over queries: their scores share the registers with two sums. */
template <typename T, uint32_t D>
constexpr uint32_t QUERY_COLUMNS = D <= 64 ? KEY_COLUMNS<T, D> : D <= 128 || sizeof(T) == 2 ? 32 : 16;

/** From products of queries and keys to scores. */
struct Scoring {
    float factor, bound, inverse_bound;

    __device__ __forceinline__ explicit Scoring(const AttentionInputs& p) {
        bound = p.softcap * LOG2_E;
        inverse_bound = bound > 0.0f ? 1.0f / bound : 0.0f;
        factor = bound > 0.0f ? p.softmax_scale / p.softcap : p.softmax_scale * LOG2_E;
    }

    /** `softmax_scale * product`, or `softcap * tanh(softmax_scale * product / softcap)`. */
    template <uint32_t M, uint32_t N>
    __device__ __forceinline__ void score(float (&products)[M][N][4]) const {
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
#pragma unroll
            for (uint32_t i = 0; i < 4 * N; i++) {
                float& value = products[m][i / 4][i % 4];
                value *= factor;
                if (bound > 0.0f) value = bound * tanhf(value);
            }
        }
    }

    /** As above where no bound is set, without the code for one. */
    template <uint32_t M, uint32_t N>
    __device__ __forceinline__ void scale(float (&products)[M][N][4]) const {
#pragma unroll
        for (uint32_t i = 0; i < M * N * 4; i++) products[i / (N * 4)][i / 4 % N][i % 4] *= factor;
    }

    /** The derivative of a score by its scaled product. */
    __device__ __forceinline__ float slope(float score) const {
        float tanh = score * inverse_bound;
        return 1.0f - tanh * tanh;
    }
};

/** What the backward needs of a query. */
struct QueryStatistics {
    /** Log-sum-exp in units of `ln 2`; infinite for a query that sees nothing, whose probabilities are `2^(s - inf)`. */
    float lse;
    /** `rowsum(o * grad_o)` */
    float delta;

    /** Of the query that is number `index` of `softmax_lse` and `delta`. */
    __device__ __forceinline__ static QueryStatistics read(uint64_t softmax_lse, uint64_t delta, uint64_t index) {
        float lse = global_pointer<const float>(softmax_lse)[index];
        return {lse == -INFINITY ? INFINITY : lse * LOG2_E, global_pointer<const float>(delta)[index]};
    }
};

/** A score becomes its probability and the gradient of the probability that of the scaled product:
    `ds = p (dp - delta) slope`. */
__device__ __forceinline__ void differentiate(const Scoring& scoring, const QueryStatistics& query, bool visible, float& score,
                                              float& gradient) {
    float p = visible ? exp2_flushed(score - query.lse) : 0.0f;
    gradient = visible ? p * (gradient - query.delta) * scoring.slope(score) : 0.0f;
    score = p;
}
