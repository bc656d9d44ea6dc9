// grad_ia3_l[c] = sum_t grad_y[t, c] x[t, c], and in the same pass grad_x[t, c] = grad_y[t, c] ia3_l[c].
//
// A block adds the products of 64 tokens, in order; a second kernel adds these sums, in order. Both round as the CPU
// implementation does, so the sums are the same bits. Bound by memory: two reads of the activations, and one write if grad_x
// is wanted.
#include "common/vector.cuh"
#include "ia3/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void backward(const Ia3BackwardParams& p) {
    const T* x = global_pointer<const T>(p.x);
    const T* grad_y = global_pointer<const T>(p.grad_y);
    T* grad_x = global_pointer<T>(p.grad_x);
    const float* ia3_l = global_pointer<const float>(p.ia3_l);
    float* partials = global_pointer<float>(p.partials);
    uint64_t channel = uint64_t(IA3_CHANNELS) * blockIdx.x + VECTOR * threadIdx.x;
    if (channel >= p.features) return;
    bool vectors = p.features % VECTOR == 0 && vector_aligned(x) && vector_aligned(grad_y) && vector_aligned(grad_x);

    float l[VECTOR], values[VECTOR], gradients[VECTOR], sums[VECTOR] = {};
    load_up_to(ia3_l, channel, p.features, vector_aligned(ia3_l), l);
    uint64_t first = uint64_t(IA3_SUM_TOKENS) * blockIdx.y;
    uint64_t end = min(first + IA3_SUM_TOKENS, p.num_tokens);
#pragma unroll 4
    for (uint64_t token = first; token < end; token++) {
        load_up_to(x + token * p.features, channel, p.features, vectors, values);
        load_up_to(grad_y + token * p.features, channel, p.features, vectors, gradients);
        for (uint32_t i = 0; i < VECTOR; i++) {
            sums[i] = __fadd_rn(sums[i], __fmul_rn(gradients[i], values[i]));
            gradients[i] *= l[i];
        }
        if (grad_x) store_up_to(grad_x + token * p.features, channel, p.features, vectors, gradients);
    }
    store_up_to(partials + blockIdx.y * p.features, channel, p.features,
                p.features % VECTOR == 0 && vector_aligned(partials), sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(IA3_THREADS) ia3_backward_f32(const __grid_constant__ Ia3BackwardParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(IA3_THREADS) ia3_backward_bf16(const __grid_constant__ Ia3BackwardParams p) { backward<bf16>(p); }

// One thread for each channel.
extern "C" __global__ void __launch_bounds__(IA3_THREADS) ia3_sum_f32(const __grid_constant__ Ia3SumParams p) {
    const float* partials = global_pointer<const float>(p.partials);
    uint64_t channel = uint64_t(IA3_THREADS) * blockIdx.x + threadIdx.x;
    if (channel >= p.features) return;
    float sum = 0.0f;
#pragma unroll 4
    for (uint64_t i = 0; i < p.count; i++) sum += partials[i * p.features + channel];
    global_pointer<float>(p.grad_ia3_l)[channel] = sum;
}
