// What the four lanes of a quad hold of a row of a tensor core's sums, neighbours in memory.
#pragma once
#include "common/device.cuh"

/** Sixteen bytes, eight bf16. */
struct alignas(16) QuadWords {
    uint32_t word[4];
};

/** Word `index` of four. */
__device__ __forceinline__ uint32_t select(const uint32_t (&words)[4], uint32_t index) {
    uint32_t low = index & 1 ? words[1] : words[0], high = index & 1 ? words[3] : words[2];
    return index & 2 ? high : low;
}

/** The four lanes of a quad each hold a word of four matrices; afterwards lane `i` holds the four words of matrix `i`. */
__device__ __forceinline__ void transpose_quad(uint32_t (&words)[4]) {
    uint32_t pair = lane_id() % 4, received[4];
    for (uint32_t i = 0; i < 4; i++) received[i] = __shfl_xor_sync(ALL_LANES, select(words, pair ^ i), i);
    for (uint32_t i = 0; i < 4; i++) words[i] = select(received, pair ^ i);
}
