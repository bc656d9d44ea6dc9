// One AdamW step over a flat buffer.
//
//   g     = grad_scale * gradient
//   m     = m + (1 - beta1) * (g - m)
//   v     = beta2 * v + (1 - beta2) * g^2
//   denom = sqrt(v) / sqrt(1 - beta2^step) + epsilon
//   p     = p * (1 - lr * weight_decay) - lr / (1 - beta1^step) * m / denom
//
// With a factor that is NaN nothing is changed. Every operation is rounded by itself, in the order of the CPU implementation:
// the results are the same bits. `_bf16` also writes p rounded to bf16, the copy that the forward pass reads; state and
// arithmetic stay f32. Bound by memory: 28 bytes for each parameter, 30 with the copy.
#include "adamw/update.cuh"
#include "common/vector.cuh"

namespace {

template <bool SHADOW>
__device__ __forceinline__ void step(const AdamWStepParams& params) {
    const float* gradients = global_pointer<const float>(params.gradients);
    float* parameters = global_pointer<float>(params.parameters);
    float* exp_avg = global_pointer<float>(params.exp_avg);
    float* exp_avg_sq = global_pointer<float>(params.exp_avg_sq);
    bf16* shadow = global_pointer<bf16>(params.shadow);

    uint64_t start = uint64_t(ADAMW_STEP_ELEMENTS) * blockIdx.x + VECTOR * threadIdx.x;
    float grad_scale = *global_pointer<const float>(params.grad_scale);
    if (start >= params.len || isnan(grad_scale)) return;
    // A group may start anywhere in the flat buffers.
    bool vectors = vector_aligned(gradients) && vector_aligned(parameters) && vector_aligned(exp_avg) &&
                   vector_aligned(exp_avg_sq) && (!SHADOW || vector_aligned(shadow));

    float g[VECTOR], p[VECTOR], m[VECTOR], v[VECTOR];
    load_up_to(gradients, start, params.len, vectors, g);
    load_up_to(parameters, start, params.len, vectors, p);
    load_up_to(exp_avg, start, params.len, vectors, m);
    load_up_to(exp_avg_sq, start, params.len, vectors, v);
    for (uint32_t i = 0; i < VECTOR; i++) update(params.rates, grad_scale, g[i], p[i], m[i], v[i]);
    store_up_to(parameters, start, params.len, vectors, p);
    store_up_to(exp_avg, start, params.len, vectors, m);
    store_up_to(exp_avg_sq, start, params.len, vectors, v);
    if (SHADOW) store_up_to(shadow, start, params.len, vectors, p);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_step_f32(const __grid_constant__ AdamWStepParams p) { step<false>(p); }
extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_step_bf16(const __grid_constant__ AdamWStepParams p) { step<true>(p); }
