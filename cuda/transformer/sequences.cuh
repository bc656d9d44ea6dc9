// Which sequence of a packed batch a row belongs to.
#pragma once
#include "common/device.cuh"

/** The sequence of row `row`, of `count` sequences at `cu_seqlens` each of which has `front` rows more before it. */
__device__ __forceinline__ uint64_t sequence_of(const uint32_t* cu_seqlens, uint64_t count, uint64_t front, uint64_t row) {
    // It begins at or before `row`, and the next at `end` behind it.
    uint64_t sequence = 0, end = count;
    while (end - sequence > 1) {
        uint64_t middle = (sequence + end) / 2;
        if (cu_seqlens[middle] + middle * front <= row) {
            sequence = middle;
        } else {
            end = middle;
        }
    }
    return sequence;
}
