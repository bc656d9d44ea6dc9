// Rows of one head between global memory and tiles.
#pragma once
#include "common/async_copy.cuh"
#include "prefix-attention/params.h"
#include "prefix-attention/products.cuh"

/** The rows of one head: those of the tokens from `data` on, or of queries stacked over `group` heads. */
template <typename T>
struct HeadRows {
    /** Of the first token, or null. */
    const T* data;
    /** Elements from token to token. */
    uint64_t stride;
    /** Heads that are stacked, side by side in memory. */
    uint32_t group;
    /** Channels of a head. */
    uint32_t head_dim;

    __device__ __forceinline__ const T* row(uint32_t row) const {
        return data + row / group * stride + row % group * head_dim;
    }

    /** Whether 16 bytes at a time may be read. */
    __device__ __forceinline__ bool vectors() const {
        return (reinterpret_cast<uintptr_t>(data) | stride * sizeof(T) | head_dim * sizeof(T)) % 16 == 0;
    }
};

/** The keys or values of one head from token `start` on. */
template <typename T>
__device__ __forceinline__ HeadRows<T> key_rows(const AttentionInputs& p, const AttentionRows& rows, uint32_t start,
                                                uint32_t kv_head) {
    return {global_pointer<const T>(rows.data) + start * rows.stride + uint64_t(kv_head) * p.head_dim, rows.stride, 1,
            p.head_dim};
}

/** The queries, or what lies like them, of the heads that share a key/value head from token `start` on. */
template <typename T>
__device__ __forceinline__ HeadRows<T> query_rows(const AttentionInputs& p, const AttentionRows& rows, uint32_t start,
                                                  uint32_t kv_head) {
    const T* data = global_pointer<const T>(rows.data) + start * rows.stride + uint64_t(kv_head) * p.group * p.head_dim;
    return {data, rows.stride, p.group, p.head_dim};
}

/** Rows without gaps that lie as the queries do. */
__device__ __forceinline__ AttentionRows contiguous_queries(const AttentionInputs& p, uint64_t data) {
    return {data, uint64_t(p.num_kv_heads) * p.group * p.head_dim};
}

/** Starts copying the rows `first..first + count` to `tile`, with zeroes for the rows and channels it has beyond them. All
    threads of the block take part. */
template <typename T, uint32_t D, uint32_t ROWS>
__device__ __forceinline__ void load_tile(TileRow<T, D> (&tile)[ROWS], const HeadRows<T>& from, uint32_t first,
                                          uint32_t count) {
    constexpr uint32_t STEP = 16 / sizeof(T), STEPS = D / STEP;
    bool vectors = from.vectors();
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < ROWS * STEPS; i += ATTENTION_THREADS) {
        uint32_t row = i / STEPS, channel = i % STEPS * STEP;
        T* to = &tile[row].values[channel];
        uint32_t channels = row < count && channel < from.head_dim ? min(from.head_dim - channel, STEP) : 0;
        const T* source = from.row(first + row) + channel;
        if (vectors) {
            async_copy_16(to, source, channels * sizeof(T));
        } else {
            for (uint32_t j = 0; j < STEP; j++) to[j] = j < channels ? source[j] : T{};
        }
    }
}

/** Writes two neighbouring channels, as far as the head has them. */
template <typename T>
__device__ __forceinline__ void store_pair(T* row, uint32_t channel, uint32_t head_dim, float first, float second) {
    if (channel < head_dim) row[channel] = round_to<T>(first);
    if (channel + 1 < head_dim) row[channel + 1] = round_to<T>(second);
}

/** As above, both in one write where the head's length is even. */
__device__ __forceinline__ void store_pair(bf16* row, uint32_t channel, uint32_t head_dim, float first, float second) {
    bf16x2 both = round_to_bf16x2(first, second);
    if (head_dim % 2 == 0) {
        expect_aligned(row, 4);
        if (channel < head_dim) *reinterpret_cast<uint32_t*>(row + channel) = both.bits;
    } else {
        if (channel < head_dim) row[channel] = {uint16_t(both.bits)};
        if (channel + 1 < head_dim) row[channel + 1] = {uint16_t(both.bits >> 16)};
    }
}

/** Writes the accumulators of a warp times `factor`, its rows where `row_of` says, or nowhere for null. */
template <uint32_t M, uint32_t D, typename RowOf>
__device__ __forceinline__ void store_rows(const float (&d)[M][D / 8][4], float factor, uint32_t head_dim, RowOf row_of) {
    uint32_t group = lane_id() / 4, pair = lane_id() % 4;
#pragma unroll
    for (uint32_t m = 0; m < M; m++) {
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            auto row = row_of(16 * m + group + 8 * half);
            if (!row) continue;
#pragma unroll
            for (uint32_t n = 0; n < D / 8; n++)
                store_pair(row, 8 * n + 2 * pair, head_dim, factor * d[m][n][2 * half], factor * d[m][n][2 * half + 1]);
        }
    }
}
