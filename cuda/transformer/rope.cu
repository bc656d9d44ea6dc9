// Rotary position embedding of the heads of each token, forward and backward.
//
//   y[j]     = c[j] x[j]     - s[j] x[j + h]       for j < h = rotary_dim / 2, in every head
//   y[j + h] = c[j] x[j + h] + s[j] x[j]
//   y[j]     = x[j]                                for j >= rotary_dim
//
// The backward is the same with -s. Arithmetic is f32, rounded once to the type of x. One block takes one token; a thread
// takes four pairs at a time and reads both halves before it writes, so y may be x.
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void rope(const RopeParams& p) {
    uint64_t token = blockIdx.x;
    const T* x = global_pointer<const T>(p.x) + token * p.x_stride;                     // (num_heads, head_dim)
    T* y = global_pointer<T>(p.y) + token * p.y_stride;                                 // (num_heads, head_dim)
    uint32_t half = p.rotary_dim / 2;
    uint64_t position = global_pointer<const uint32_t>(p.positions)[token];
    const float* cos = global_pointer<const float>(p.cos) + position * half;            // (half)
    const float* sin = global_pointer<const float>(p.sin) + position * half;            // (half)
    bool whole = half % VECTOR == 0;
    bool vectors = whole && p.head_dim % VECTOR == 0 && vector_aligned(x) && vector_aligned(y);
    bool table_vectors = whole && vector_aligned(cos) && vector_aligned(sin);

    uint32_t per_head = (half + VECTOR - 1) / VECTOR;
    for (uint32_t i = threadIdx.x; i < p.num_heads * per_head; i += ROPE_THREADS) {
        uint64_t head = uint64_t(i / per_head) * p.head_dim;
        uint32_t pair = i % per_head * VECTOR;
        float low[VECTOR], high[VECTOR], c[VECTOR], s[VECTOR];
        load_up_to(x + head, pair, half, vectors, low);
        load_up_to(x + head + half, pair, half, vectors, high);
        load_up_to(cos, pair, half, table_vectors, c);
        load_up_to(sin, pair, half, table_vectors, s);
        for (uint32_t j = 0; j < VECTOR; j++) {
            float sine = p.direction * s[j], rotated = fmaf(c[j], low[j], -__fmul_rn(sine, high[j]));
            high[j] = fmaf(c[j], high[j], __fmul_rn(sine, low[j]));
            low[j] = rotated;
        }
        store_up_to(y + head, pair, half, vectors, low);
        store_up_to(y + head + half, pair, half, vectors, high);
    }
    if (x == y) return;
    uint32_t rest = p.head_dim - p.rotary_dim;
    for (uint32_t i = threadIdx.x; i < p.num_heads * rest; i += ROPE_THREADS) {
        uint64_t channel = uint64_t(i / rest) * p.head_dim + p.rotary_dim + i % rest;
        y[channel] = x[channel];
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROPE_THREADS) rope_f32(const __grid_constant__ RopeParams p) { rope<float>(p); }
extern "C" __global__ void __launch_bounds__(ROPE_THREADS) rope_bf16(const __grid_constant__ RopeParams p) { rope<bf16>(p); }
