// The update of one parameter, as step.cu says, every operation rounded by itself in the order of the CPU implementation.
#pragma once
#include "adamw/params.h"
#include "common/device.cuh"

/** Updates a parameter `p` and its moments `m` and `v`. */
__device__ __forceinline__ void update(const AdamWRates& rates, float grad_scale, float gradient, float& p, float& m,
                                       float& v) {
    float g = __fmul_rn(gradient, grad_scale);
    m = __fadd_rn(m, __fmul_rn(rates.one_minus_beta1, __fsub_rn(g, m)));
    v = __fadd_rn(__fmul_rn(v, rates.beta2), __fmul_rn(__fmul_rn(rates.one_minus_beta2, g), g));
    float denominator = __fadd_rn(__fdiv_rn(__fsqrt_rn(v), rates.sqrt_bias_correction2), rates.epsilon);
    p = __fsub_rn(__fmul_rn(p, rates.keep), __fdiv_rn(__fmul_rn(rates.step_size, m), denominator));
}
