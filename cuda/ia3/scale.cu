// y[t, c] = x[t, c] ia3_l[c].
//
// A block takes 512 channels of 16 tokens; each thread keeps its four factors in registers. The product is f32, rounded once
// to the type of y. Bound by memory: one read and one write of the activations.
#include "common/vector.cuh"
#include "ia3/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void scale(const Ia3ScaleParams& p) {
    const T* x = global_pointer<const T>(p.x);
    const float* ia3_l = global_pointer<const float>(p.ia3_l);
    T* y = global_pointer<T>(p.y);
    uint64_t channel = uint64_t(IA3_CHANNELS) * blockIdx.x + VECTOR * threadIdx.x;
    if (channel >= p.features) return;
    bool vectors = p.features % VECTOR == 0 && vector_aligned(x) && vector_aligned(y);

    float l[VECTOR], values[VECTOR];
    load_up_to(ia3_l, channel, p.features, vector_aligned(ia3_l), l);
    uint64_t first = uint64_t(IA3_SCALE_TOKENS) * blockIdx.y;
    uint64_t end = min(first + IA3_SCALE_TOKENS, p.num_tokens);
#pragma unroll 4
    for (uint64_t token = first; token < end; token++) {
        load_up_to(x + token * p.features, channel, p.features, vectors, values);
        for (uint32_t i = 0; i < VECTOR; i++) values[i] *= l[i];
        store_up_to(y + token * p.features, channel, p.features, vectors, values);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(IA3_THREADS) ia3_scale_f32(const __grid_constant__ Ia3ScaleParams p) { scale<float>(p); }
extern "C" __global__ void __launch_bounds__(IA3_THREADS) ia3_scale_bf16(const __grid_constant__ Ia3ScaleParams p) { scale<bf16>(p); }
