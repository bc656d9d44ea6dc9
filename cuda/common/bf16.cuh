// bfloat16 as stored: the upper half of an f32. Arithmetic is f32.
#pragma once
#include "common/device.cuh"

/** One stored element. */
struct bf16 {
    uint16_t bits;
};

/** Two elements of a register, the first in the low half. */
struct bf16x2 {
    uint32_t bits;
};

/** Widens exactly. */
__device__ __forceinline__ float to_float(bf16 value) { return __uint_as_float(uint32_t(value.bits) << 16); }

/** An f32 is its own value: kernels are written once for both. */
__device__ __forceinline__ float to_float(float value) { return value; }

/** Rounds two values to nearest, ties to even; a NaN becomes the quiet NaN 0x7fff. */
__device__ __forceinline__ bf16x2 round_to_bf16x2(float low, float high) {
#ifdef TUNESMITH_EMULATOR
    auto round = [](float value) -> uint32_t {
        if (value != value) return 0x7fffu;
        uint32_t bits = __float_as_uint(value);
        return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    };
    return {round(low) | round(high) << 16};
#else
    bf16x2 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result.bits) : "f"(high), "f"(low));
    return result;
#endif
}

/** Rounds to the element type `T`. */
template <typename T>
__device__ __forceinline__ T round_to(float value);

template <>
__device__ __forceinline__ float round_to<float>(float value) {
    return value;
}

template <>
__device__ __forceinline__ bf16 round_to<bf16>(float value) {
    return {uint16_t(round_to_bf16x2(value, 0.0f).bits)};
}
