// The sums of a block's tile of C, spread over the registers of its threads.
//
// `Accumulators<T, Tile>` has these members:
//   COUNT                        sums of a thread
//   RUN                          neighbours in a row among them
//   add<A_ALONG, B_ALONG>(stage) adds the product of a stage
//   for_each_run(body)           body(index, row, column, run): each run of sums with its place in the tile
#pragma once
#include "gemm/tile.cuh"

template <typename T, typename Tile>
struct Accumulators;

/** Which sums of a thread a masked product is added to, and with which factor. */
template <uint32_t COUNT>
struct SumMask {
    uint32_t keep[COUNT / 32];
    float scale;

    /** `sum + scale product` if the sum's bit is set. */
    __device__ __forceinline__ float add(uint32_t index, float sum, float product) const {
        return keep[index / 32] >> index % 32 & 1 ? sum + scale * product : sum;
    }
};
