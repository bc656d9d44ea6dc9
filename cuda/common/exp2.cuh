// Powers of two by the special function unit.
#pragma once
#include "common/device.cuh"

/** `2^x` within two units in the last place, in one instruction; results below the smallest normal number are 0. */
__device__ __forceinline__ float exp2_flushed(float x) {
#ifdef TUNESMITH_EMULATOR
    float y = exp2f(x);
    return y < 1.17549435e-38f ? 0.0f : y;
#else
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#endif
}
