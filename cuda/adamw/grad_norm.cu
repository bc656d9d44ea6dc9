// The 2-norm of all gradients and the factor that clips them, in two stages without atomics.
//
// Squares of f32 are exact in f64 and are added in f64, in an order that depends on the number of gradients only. The result
// stays on the device: the step reads the factor from there, and the host need not wait. From the first step on whose loss or
// norm is no number the factor is NaN, with which nothing is updated, and what is known stays that of this step: the host may
// look later. Bound by memory: 4 bytes for each gradient.
#include "adamw/params.h"
#include "common/reduce.cuh"
#include "common/vector.cuh"

namespace {

using Reduction = BlockReduction<double, ADAMW_THREADS>;
static_assert(sizeof(Reduction) == ADAMW_NORM_SHARED_BYTES, "the launch gives what the reduction uses");

}  // namespace

extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_sum_of_squares_f32(const __grid_constant__ AdamWSumOfSquaresParams p) {
    const float* gradients = global_pointer<const float>(p.gradients);
    bool vectors = vector_aligned(gradients);
    uint64_t first = uint64_t(ADAMW_NORM_ELEMENTS) * blockIdx.x + VECTOR * threadIdx.x;
    double sum = 0.0;
#pragma unroll 4
    for (uint32_t i = 0; i < ADAMW_NORM_ELEMENTS; i += VECTOR * ADAMW_THREADS) {
        float g[VECTOR];
        load_up_to(gradients, first + i, p.len, vectors, g);
        for (float value : g) sum += double(value) * double(value);
    }
    sum = block_sum(shared_memory<Reduction>(), sum);
    if (threadIdx.x == 0) global_pointer<double>(p.partials)[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_clip_f32(const __grid_constant__ AdamWClipParams p) {
    const double* partials = global_pointer<const double>(p.partials);
    double sum = 0.0;
    for (uint64_t i = threadIdx.x; i < p.count; i += ADAMW_THREADS) sum += partials[i];
    double norm = sqrt(block_sum(shared_memory<Reduction>(), sum));
    if (threadIdx.x != 0) return;
    auto& outcome = *global_pointer<AdamWOutcome>(p.outcome);
    if (outcome.failed == 0) {
        const float* losses = global_pointer<const float>(p.losses);
        bool is_finite = isfinite(float(norm));
        double loss = 0.0;
        for (uint64_t i = 0; i < p.loss_count; i++) {
            is_finite = is_finite && isfinite(losses[i]);
            loss += double(losses[i]);
        }
        outcome.norm = norm;
        outcome.loss = loss;
        if (!is_finite) outcome.failed = 1;
    } else {
        outcome.failed++;
    }
    float coefficient = __fdiv_rn(p.max_norm, __fadd_rn(float(norm), 1e-6f));
    float clipped = coefficient > 1.0f ? 1.0f : coefficient;
    *global_pointer<float>(p.grad_scale) = outcome.failed == 0 ? clipped : NAN;
}
