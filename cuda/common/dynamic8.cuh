// Codes of 8 bits, as crates/blockwise defines them.
#pragma once
#include "common/device.cuh"

/** The code of a value in -1..=1 of `map`, `[256]` ascending: the value is rounded to the nearest of 65536 even steps, then to the
    nearest of the map, to the lower one at equal distance. NaN gets that of -1. */
__device__ __forceinline__ uint8_t dynamic8_code(const float* map, float x) {
    float scaled = __fadd_rn(__fmul_rn(__fmul_rn(__fadd_rn(x, 1.0f), 0.5f), 65535.0f), 0.5f);
    // NaN goes to 0, numbers outside to the ends.
    uint32_t step = !(scaled >= 0.0f) ? 0 : scaled >= 65535.0f ? 65535 : uint32_t(scaled);
    x = __fsub_rn(__fdiv_rn(__fmul_rn(2.0f, float(step)), 65535.0f), 1.0f);
    // The first value that is not below x, or the last.
    uint32_t right = 0;
    for (uint32_t half = 128; half > 0; half /= 2) right += map[right + half - 1] < x ? half : 0;
    right = max(right, 1u);
    return uint8_t(__fsub_rn(map[right], x) < __fsub_rn(x, map[right - 1]) ? right : right - 1);
}
