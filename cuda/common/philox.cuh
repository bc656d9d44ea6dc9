// Philox4x32-10, as crates/device/src/philox.rs defines it: random words that are a function of a key and a position.
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once
#include "common/device.cuh"

/** Four random words. */
struct PhiloxWords {
    uint32_t word[4];
};

/** The words at `counter` under `key`. */
__device__ __forceinline__ PhiloxWords philox4x32(PhiloxWords counter, uint32_t key_low, uint32_t key_high) {
#pragma unroll
    for (uint32_t round = 0; round < 10; round++) {
        uint64_t p0 = uint64_t(0xd2511f53u) * counter.word[0], p1 = uint64_t(0xcd9e8d57u) * counter.word[2];
        counter = {{uint32_t(p1 >> 32) ^ counter.word[1] ^ key_low, uint32_t(p1),
                    uint32_t(p0 >> 32) ^ counter.word[3] ^ key_high, uint32_t(p0)}};
        key_low += 0x9e3779b9u;
        key_high += 0xbb67ae85u;
    }
    return counter;
}
