// Sums over a warp and over a block, in an order that depends on nothing but the number of threads.
#pragma once
#include "common/device.cuh"

/** Sum over the lanes of the warp, the same bits in every lane. */
template <typename T>
__device__ __forceinline__ T warp_sum(T value) {
    for (uint32_t lanes = WARP / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(ALL_LANES, value, lanes);
    return value;
}

/** Largest value over the lanes of the warp. NaN is passed over. */
__device__ __forceinline__ float warp_max(float value) {
    for (uint32_t lanes = WARP / 2; lanes > 0; lanes /= 2) value = fmaxf(value, __shfl_xor_sync(ALL_LANES, value, lanes));
    return value;
}

/** Shared memory of a block-wide reduction over `THREADS` threads. */
template <typename T, uint32_t THREADS>
struct BlockReduction {
    T warps[THREADS / WARP];
};

/** Sum over the block's threads, the same bits in every thread. All threads take part. */
template <typename T, uint32_t THREADS>
__device__ __forceinline__ T block_sum(BlockReduction<T, THREADS>& shared, T value) {
    value = warp_sum(value);
    if (lane_id() == 0) shared.warps[warp_id()] = value;
    __syncthreads();
    T sum = 0;
    for (uint32_t i = 0; i < THREADS / WARP; i++) sum += shared.warps[i];
    // The next reduction may write before a slower warp has read.
    __syncthreads();
    return sum;
}

/** Largest value over the block's threads. All threads take part. */
template <uint32_t THREADS>
__device__ __forceinline__ float block_max(BlockReduction<float, THREADS>& shared, float value) {
    value = warp_max(value);
    if (lane_id() == 0) shared.warps[warp_id()] = value;
    __syncthreads();
    float largest = shared.warps[0];
    for (uint32_t i = 1; i < THREADS / WARP; i++) largest = fmaxf(largest, shared.warps[i]);
    __syncthreads();
    return largest;
}
