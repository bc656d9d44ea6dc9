// The bias of every difference of positions from a table of buckets, in units of ln 2: one thread for each element.
#include "prefix-attention/scores.cuh"

extern "C" __global__ void __launch_bounds__(ATTENTION_ELEMENT_THREADS) attention_expand_bias_f32(const __grid_constant__ AttentionBiasParams p) {
    const float* table = global_pointer<const float>(p.table);
    const uint32_t* places = global_pointer<const uint32_t>(p.places);
    uint64_t i = uint64_t(ATTENTION_ELEMENT_THREADS) * blockIdx.x + threadIdx.x, kv_head = blockIdx.y;
    if (i < p.len) global_pointer<float>(p.values)[kv_head * p.len + i] = LOG2_E * table[places[i] + kv_head * p.group];
}
