// The host meaning of ldmatrix and mma.sync: each lane computes its own part from what all lanes hold.
#pragma once
#include "emulator/keywords.h"

namespace emulator {

inline float low_bf16(uint32_t pair) { return __uint_as_float(pair << 16); }
inline float high_bf16(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

inline void load_matrix_x4(uint32_t (&registers)[4], const void* row, bool transposed) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) tunesmith_emulator_fault("ldmatrix reads a misaligned row");
    auto rows = static_cast<const uint16_t* const*>(
        tunesmith_emulator_warp_gather(&row, sizeof row, transposed ? "ldmatrix.trans" : "ldmatrix", 0));
    uint32_t lane = threadIdx.x % 32, group = lane / 4, pair = lane % 4;
    for (uint32_t i = 0; i < 4; i++) {
        const uint16_t* const* matrix = rows + 8 * i;
        uint32_t low = transposed ? matrix[2 * pair][group] : matrix[group][2 * pair];
        uint32_t high = transposed ? matrix[2 * pair + 1][group] : matrix[group][2 * pair + 1];
        registers[i] = low | high << 16;
    }
    // No lane goes on to overwrite a row while another still reads it.
    tunesmith_emulator_warp_gather(nullptr, 0, "ldmatrix", 1);
}

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    struct Fragments {
        uint32_t a[4], b[2];
    } own = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    auto lanes = static_cast<const Fragments*>(tunesmith_emulator_warp_gather(&own, sizeof own, "mma.sync", 0));
    uint32_t lane = threadIdx.x % 32, group = lane / 4, pair = lane % 4;
    for (uint32_t half = 0; half < 2; half++) {         // columns k = 8 half ..
        for (uint32_t quad = 0; quad < 4; quad++) {     // columns k = 8 half + 2 quad, + 1
            const Fragments& rows = lanes[4 * group + quad];
            const Fragments& left = lanes[4 * (2 * pair) + quad];
            const Fragments& right = lanes[4 * (2 * pair + 1) + quad];
            uint32_t top = rows.a[2 * half], bottom = rows.a[2 * half + 1];
            d[0] += low_bf16(top) * low_bf16(left.b[half]) + high_bf16(top) * high_bf16(left.b[half]);
            d[1] += low_bf16(top) * low_bf16(right.b[half]) + high_bf16(top) * high_bf16(right.b[half]);
            d[2] += low_bf16(bottom) * low_bf16(left.b[half]) + high_bf16(bottom) * high_bf16(left.b[half]);
            d[3] += low_bf16(bottom) * low_bf16(right.b[half]) + high_bf16(bottom) * high_bf16(right.b[half]);
        }
    }
}

}  // namespace emulator
