// The host meaning of wgmma: each thread computes its own sums, when it waits for them.
#pragma once
#include "emulator/mma.h"
#include "emulator/tensor_map.h"

namespace emulator {

/** The bf16 at a place of shared memory that a descriptor's swizzle leads to. */
inline float swizzled_bf16(uint64_t offset) {
    auto shared = static_cast<const uint8_t*>(tunesmith_emulator_seen_memory());
    uint16_t bits;
    memcpy(&bits, shared + swizzle_128(offset), sizeof bits);
    return __uint_as_float(uint32_t(bits) << 16);
}

inline uint64_t descriptor_start(uint64_t descriptor) { return (descriptor & 0x3fff) << 4; }
inline uint64_t descriptor_leading(uint64_t descriptor) { return (descriptor >> 16 & 0x3fff) << 4; }
inline uint64_t descriptor_stride(uint64_t descriptor) { return (descriptor >> 32 & 0x3fff) << 4; }

/** Depth `depth` of a line of a tile whose lines run along the depth. */
inline float along(uint64_t descriptor, uint64_t line, uint64_t depth) {
    return swizzled_bf16(descriptor_start(descriptor) + line / 8 * descriptor_stride(descriptor) + line % 8 * 128 + 2 * depth);
}

/** The same of tiles whose lines lie across the depth. */
inline float across(uint64_t descriptor, uint64_t line, uint64_t depth) {
    return swizzled_bf16(descriptor_start(descriptor) + line / 64 * descriptor_leading(descriptor) + 2 * (line % 64) +
                         depth / 8 * descriptor_stride(descriptor) + depth % 8 * 128);
}

/** What the instruction's name and immediates say. */
struct Product {
    uint32_t columns;
    bool b_along, a_in_registers, add, a_across = false;
};

/** Keeps the product until it is waited for. A is a descriptor, or the address of four words. */
inline void wgmma_start(float* d, uint64_t a, uint64_t b, Product product) {
    uint64_t flags = product.columns << 4 | product.a_across << 3 | product.b_along << 2 | product.a_in_registers << 1 | product.add;
    uint64_t work[4] = {reinterpret_cast<uint64_t>(d), a, b, flags};
    tunesmith_emulator_defer(&work);
}

/** A lane's word holds two depths of one row; the four lanes of a quad hold all of them. Every thread computes its own sums,
    so it takes the words of its quad. */
inline void gather_rows(float (&rows)[2][16], const uint32_t* words) {
    uint32_t own[4] = {words[0], words[1], words[2], words[3]};
    auto all = static_cast<const uint32_t(*)[4]>(tunesmith_emulator_warp_gather(own, sizeof own, "wgmma", 0));
    uint32_t quad = threadIdx.x % 32 / 4 * 4;
    for (uint32_t k = 0; k < 16; k++) {
        for (uint32_t half = 0; half < 2; half++) {
            uint32_t word = all[quad + k % 8 / 2][k / 8 * 2 + half];
            rows[half][k] = __uint_as_float(k % 2 ? word & 0xffff0000u : word << 16);
        }
    }
}

inline void multiply(float* d, uint64_t a, uint64_t b, Product product) {
    uint32_t thread = threadIdx.x % 128, group = thread % 32 / 4, pair = thread % 4, row = 16 * (thread / 32) + group;
    float rows[2][16];
    if (product.a_in_registers) {
        gather_rows(rows, reinterpret_cast<const uint32_t*>(a));
    } else {
        auto element = product.a_across ? across : along;
        for (uint32_t k = 0; k < 16; k++) rows[0][k] = element(a, row, k), rows[1][k] = element(a, row + 8, k);
    }
    for (uint32_t j = 0; j < product.columns / 4; j++) {
        uint32_t column = j / 2 * 8 + 2 * pair + j % 2;
        float* sums = d + j / 2 * 4 + j % 2;
        if (!product.add) sums[0] = sums[2] = 0.0f;
        for (uint32_t k = 0; k < 16; k++) {
            float value = product.b_along ? along(b, column, k) : across(b, column, k);
            sums[0] += rows[0][k] * value;
            sums[2] += rows[1][k] * value;
        }
    }
}

inline void wgmma_wait(uint32_t pending) {
    uint64_t work[4];
    while (tunesmith_emulator_deferred(pending, &work))
        multiply(reinterpret_cast<float*>(work[0]), work[1], work[2],
                 {uint32_t(work[3] >> 4), (work[3] & 4) != 0, (work[3] & 2) != 0, (work[3] & 1) != 0, (work[3] & 8) != 0});
    // A warp waits as one.
    tunesmith_emulator_warp_gather(nullptr, 0, "wgmma.wait_group", 0);
}

}  // namespace emulator
