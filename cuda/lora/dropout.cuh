// Dropout whose mask is a function of an element's place in x, drawn wherever it is needed and never stored.
#pragma once
#include "common/philox.cuh"
#include "gemm/operand.cuh"
#include "lora/params.h"

/** A bit for each of the `COUNT` elements from `first` on: 1 to keep it. */
template <uint32_t COUNT>
__device__ __forceinline__ uint32_t kept(const LoraDropout& dropout, uint64_t first) {
    uint32_t bits = 0;
    // Four elements share one block of random words. Elements that begin within a block touch one block more.
    for (uint64_t block = first / 4; block <= (first + COUNT - 1) / 4; block++) {
        PhiloxWords counter = {{uint32_t(block), uint32_t(block >> 32), dropout.step, dropout.site}};
        PhiloxWords words = philox4x32(counter, dropout.key[0], dropout.key[1]);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint64_t index = 4 * block + i - first;     // wraps around before `first`
            if (index < COUNT && words.word[i] >> 8 >= dropout.threshold) bits |= 1u << index;
        }
    }
    return bits;
}

/** Makes dropped elements of the tile of `x` that this thread has copied zero. */
template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH>
__device__ __forceinline__ void drop(OperandTile<T, LINES, DEPTH>& tile, const Operand<T>& operand, uint64_t depth,
                                     uint64_t depth_end, const LoraDropout& dropout, const T* x) {
    struct alignas(16) Words {
        uint32_t word[4];
    };
    constexpr uint32_t PER_WORD = 4 / sizeof(T), ELEMENT = 0xffffffffu >> (32 - 8 * sizeof(T));
    for_own_chunks<ALONG, THREADS>(tile, operand, depth, depth_end, [&](uint32_t, T* chunk, uint64_t offset, uint32_t valid) {
        if (valid == 0) return;
        uint32_t bits = kept<CHUNK<T>>(dropout, uint64_t(operand.data - x) + offset);
        Words words = *reinterpret_cast<const Words*>(chunk);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            uint32_t mask = 0;
            for (uint32_t j = 0; j < PER_WORD; j++) mask |= bits >> (i * PER_WORD + j) & 1 ? ELEMENT << 8 * sizeof(T) * j : 0;
            words.word[i] &= mask;
        }
        *reinterpret_cast<Words*>(chunk) = words;
    });
}
