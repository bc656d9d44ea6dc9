// IEEE 754 binary16 as stored, to read: weights of old checkpoints. Arithmetic is f32.
#pragma once
#include "common/vector.cuh"

/** One stored element. */
struct f16 {
    uint16_t bits;
};

/** Widens exactly. */
__device__ __forceinline__ float to_float(f16 value) {
#ifdef TUNESMITH_EMULATOR
    uint32_t sign = uint32_t(value.bits & 0x8000u) << 16, exponent = value.bits >> 10 & 31u, mantissa = value.bits & 0x3ffu;
    // A subnormal is its mantissa in units of 2^-24.
    if (exponent == 0) return __uint_as_float(sign | __float_as_uint(float(mantissa) * 5.9604645e-8f));
    return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | mantissa << 13);
#else
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
#endif
}

/** Reads four f16, widened. */
__device__ __forceinline__ void load_vector(const f16* address, float (&values)[VECTOR]) {
    struct alignas(8) Words {
        f16 value[VECTOR];
    };
    expect_aligned(address, 8);
    auto words = *reinterpret_cast<const Words*>(address);
    for (uint32_t i = 0; i < VECTOR; i++) values[i] = to_float(words.value[i]);
}
