// Products of tiles by one warp, accumulated in f32: on tensor cores for bf16, with fused multiply-adds for f32.
//
// An accumulator of 16 x N values lies in the registers as mma.sync leaves it, for both types: with `group = lane / 4` and
// `pair = lane % 4`, `d[n][0]`, `d[n][1]` are row `group`, columns `8 n + 2 pair` and the next; `d[n][2]`, `d[n][3]` the
// same columns of row `group + 8`. So what happens to scores between two products is written once.
#pragma once
#include "common/mma.cuh"
#include "common/vector.cuh"

/** A row of `D` channels in shared memory. With the padding, the 16 bytes that eight consecutive rows begin with lie in
    different banks. */
template <typename T, uint32_t D>
struct TileRow {
    alignas(16) T values[D + 16 / sizeof(T)];
};

/** `d += a bT`: the scores of 16 `M` rows of `a` and `N` rows of `b`. */
template <uint32_t M, uint32_t N, uint32_t D>
__device__ __forceinline__ void add_scores(float (&d)[M][N / 8][4], const TileRow<bf16, D>* a, const TileRow<bf16, D>* b) {
    uint32_t lane = lane_id();
#pragma unroll
    for (uint32_t k = 0; k < D; k += 16) {
        uint32_t rows[M][4], columns[4];
#pragma unroll
        for (uint32_t m = 0; m < M; m++) load_matrix_x4(rows[m], &a[16 * m + lane % 16].values[k + lane / 16 * 8]);
#pragma unroll
        for (uint32_t n = 0; n < N; n += 16) {
            load_matrix_x4(columns, &b[n + lane / 16 * 8 + lane % 8].values[k + lane / 8 % 2 * 8]);
#pragma unroll
            for (uint32_t m = 0; m < M; m++) {
                mma_m16n8k16(d[m][n / 8], rows[m], {columns[0], columns[1]});
                mma_m16n8k16(d[m][n / 8 + 1], rows[m], {columns[2], columns[3]});
            }
        }
    }
}

/** As above in f32: each lane computes the values it holds. */
template <uint32_t M, uint32_t N, uint32_t D>
__device__ __forceinline__ void add_scores(float (&d)[M][N / 8][4], const TileRow<float, D>* a, const TileRow<float, D>* b) {
    uint32_t group = lane_id() / 4, pair = lane_id() % 4;
#pragma unroll 4
    for (uint32_t k = 0; k < D; k += VECTOR) {
        float top[VECTOR], bottom[VECTOR], left[VECTOR], right[VECTOR];
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
            load_vector(&a[16 * m + group].values[k], top);
            load_vector(&a[16 * m + group + 8].values[k], bottom);
#pragma unroll
            for (uint32_t n = 0; n < N / 8; n++) {
                load_vector(&b[8 * n + 2 * pair].values[k], left);
                load_vector(&b[8 * n + 2 * pair + 1].values[k], right);
#pragma unroll
                for (uint32_t i = 0; i < VECTOR; i++) {
                    d[m][n][0] += top[i] * left[i];
                    d[m][n][1] += top[i] * right[i];
                    d[m][n][2] += bottom[i] * left[i];
                    d[m][n][3] += bottom[i] * right[i];
                }
            }
        }
    }
}

/** `d += w b`: sums of the `N` rows of `b` with weights `w`, which are rounded to bf16. */
template <uint32_t M, uint32_t N, uint32_t D>
__device__ __forceinline__ void add_weighted_rows(float (&d)[M][D / 8][4], const float (&w)[M][N / 8][4],
                                                  const TileRow<bf16, D>* b) {
    uint32_t lane = lane_id();
#pragma unroll
    for (uint32_t k = 0; k < N; k += 16) {
        // The accumulator's columns 2 pair, 2 pair + 1 are those that a lane holds of the left operand.
        uint32_t weights[M][4], columns[4];
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) {
                const float* values = &w[m][k / 8 + i / 2][i % 2 * 2];
                weights[m][i] = round_to_bf16x2(values[0], values[1]).bits;
            }
        }
#pragma unroll
        for (uint32_t n = 0; n < D; n += 16) {
            load_matrix_x4_transposed(columns, &b[k + lane % 16].values[n + lane / 16 * 8]);
#pragma unroll
            for (uint32_t m = 0; m < M; m++) {
                mma_m16n8k16(d[m][n / 8], weights[m], {columns[0], columns[1]});
                mma_m16n8k16(d[m][n / 8 + 1], weights[m], {columns[2], columns[3]});
            }
        }
    }
}

/** As above in f32, weights included: a row's weights lie in four lanes, which give them to each other. */
template <uint32_t M, uint32_t N, uint32_t D>
__device__ __forceinline__ void add_weighted_rows(float (&d)[M][D / 8][4], const float (&w)[M][N / 8][4],
                                                  const TileRow<float, D>* b) {
    uint32_t quad = lane_id() & ~3u, pair = lane_id() % 4;
#pragma unroll
    for (uint32_t k = 0; k < N; k++) {
#pragma unroll
        for (uint32_t m = 0; m < M; m++) {
            float top = __shfl_sync(ALL_LANES, w[m][k / 8][k % 2], quad + k % 8 / 2);
            float bottom = __shfl_sync(ALL_LANES, w[m][k / 8][2 + k % 2], quad + k % 8 / 2);
#pragma unroll
            for (uint32_t n = 0; n < D / 8; n++) {
                const float* values = &b[k].values[8 * n + 2 * pair];
                d[m][n][0] += top * values[0];
                d[m][n][1] += top * values[1];
                d[m][n][2] += bottom * values[0];
                d[m][n][3] += bottom * values[1];
            }
        }
    }
}
