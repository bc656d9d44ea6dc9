// The host meaning of CUDA's keywords, built-in variables and intrinsics, as far as kernels here use them.
//
// `__shared__` has none on purpose: shared memory is asked for through `shared_memory<Layout>()`, so that the emulator can
// poison it for each block and check its size.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>

#include "emulator/runtime.h"

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

#define threadIdx (tunesmith_emulator_position()->thread)
#define blockIdx (tunesmith_emulator_position()->block)
#define blockDim (tunesmith_emulator_position()->block_dim)
#define gridDim (tunesmith_emulator_position()->grid_dim)

#define __syncthreads() tunesmith_emulator_sync_threads(__FILE__, __LINE__)
#define __syncwarp() ((void)tunesmith_emulator_warp_gather(nullptr, 0, __FILE__, __LINE__))

/** Kernels here only exchange between all lanes: every shuffle names them. */
#define TUNESMITH_ALL_LANES 0xffffffffu

template <typename T>
inline T tunesmith_lane_value(uint32_t mask, T value, uint32_t source, const char* file, uint32_t line) {
    if (mask != TUNESMITH_ALL_LANES) tunesmith_emulator_fault("a warp shuffle does not name all lanes");
    const T* values = static_cast<const T*>(tunesmith_emulator_warp_gather(&value, sizeof(T), file, line));
    return values[source & 31];
}

#define __shfl_sync(mask, value, source) tunesmith_lane_value(mask, value, source, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) \
    tunesmith_lane_value(mask, value, (threadIdx.x & 31) ^ (lanes), __FILE__, __LINE__)

// Rounded to nearest by themselves, never contracted to a fused multiply-add.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline double __dadd_rn(double a, double b) { return a + b; }

inline float __uint_as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

using std::min;
using std::max;
