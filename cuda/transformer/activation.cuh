// Activation functions with their slopes, one element at a time.
#pragma once
#include "common/device.cuh"
#include "transformer/params.h"

/** A value and the slope there. */
struct ValueSlope {
    float value, slope;
};

/** `x * sigmoid(z)` with `slope` = dz/dx: silu and its relatives. */
__device__ __forceinline__ ValueSlope gated_by_sigmoid(float x, float z, float slope) {
    // Beyond the bound sigmoid or its complement is below 2^-125. A NaN in z is one in x, which multiplies both results.
    float e = expf(fminf(fmaxf(-z, -87.0f), 87.0f));
    float s = 1.0f / (1.0f + e);
    return {x * s, s * (1.0f + x * (e * s) * slope)};
}

struct Silu {
    __device__ __forceinline__ ValueSlope operator()(float x) const { return gated_by_sigmoid(x, x, 1.0f); }
};

struct QuickGelu {
    __device__ __forceinline__ ValueSlope operator()(float x) const { return gated_by_sigmoid(x, 1.702f * x, 1.702f); }
};

struct GeluTanh {
    __device__ __forceinline__ ValueSlope operator()(float x) const {
        constexpr float SCALE = 1.595769f;  // 2 sqrt(2 / pi): (1 + tanh(u)) / 2 is sigmoid(2 u)
        constexpr float CUBIC = 0.044715f;
        float square = x * x;
        return gated_by_sigmoid(x, SCALE * x * (1.0f + CUBIC * square), SCALE * (1.0f + 3.0f * CUBIC * square));
    }
};

struct Gelu {
    __device__ __forceinline__ ValueSlope operator()(float x) const {
        float cdf = 0.5f * erfcf(-0.70710678f * x);           // 1 / sqrt(2)
        float density = 0.3989423f * expf(-0.5f * x * x);     // 1 / sqrt(2 pi)
        // Where x is infinite the density is 0, and so is their product.
        return {x * cdf, cdf + (density == 0.0f ? 0.0f : x * density)};
    }
};

struct Relu {
    __device__ __forceinline__ ValueSlope operator()(float x) const {
        // This way round, NaN stays NaN.
        return {x < 0.0f ? 0.0f : x, x > 0.0f ? 1.0f : 0.0f};
    }
};

struct Tanh {
    __device__ __forceinline__ ValueSlope operator()(float x) const {
        float y = tanhf(x);
        return {y, 1.0f - y * y};
    }
};

/** Calls `body(function)` for the function `activation` stands for. All threads take the same branch. */
template <typename Body>
__device__ __forceinline__ void with_activation(uint64_t activation, Body body) {
    switch (activation) {
        case ACTIVATION_SILU: return body(Silu());
        case ACTIVATION_GELU: return body(Gelu());
        case ACTIVATION_GELU_TANH: return body(GeluTanh());
        case ACTIVATION_QUICK_GELU: return body(QuickGelu());
        case ACTIVATION_RELU: return body(Relu());
        default: return body(Tanh());
    }
}
