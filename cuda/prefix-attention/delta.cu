// delta_i = do_i . o_i, which is sum_j p_ij dp_ij: one warp for each token and head, in f32.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "prefix-attention/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void delta(const AttentionDeltaParams& p) {
    uint64_t index = uint64_t(ATTENTION_ELEMENT_THREADS / WARP) * blockIdx.x + warp_id();
    // The whole warp leaves.
    if (index >= p.num_q_tokens * p.num_heads) return;
    const T* o = global_pointer<const T>(p.o) + index * p.head_dim;             // (head_dim)
    const T* grad_o = global_pointer<const T>(p.grad_o) + index * p.head_dim;   // (head_dim)
    bool vectors = vector_aligned(o) && vector_aligned(grad_o);
    float sum = 0.0f, values[VECTOR], gradients[VECTOR];
    for (uint64_t i = VECTOR * lane_id(); i < p.head_dim; i += VECTOR * WARP) {
        load_up_to(o, i, p.head_dim, vectors, values);
        load_up_to(grad_o, i, p.head_dim, vectors, gradients);
        for (uint32_t j = 0; j < VECTOR; j++) sum += values[j] * gradients[j];
    }
    sum = warp_sum(sum);
    uint64_t token = index / p.num_heads, head = index % p.num_heads;
    if (lane_id() == 0) global_pointer<float>(p.delta)[head * p.num_q_tokens + token] = sum;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ATTENTION_ELEMENT_THREADS) attention_delta_f32(const __grid_constant__ AttentionDeltaParams p) { delta<float>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_ELEMENT_THREADS) attention_delta_bf16(const __grid_constant__ AttentionDeltaParams p) { delta<bf16>(p); }
