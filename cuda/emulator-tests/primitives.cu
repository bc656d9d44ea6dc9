// One kernel for each primitive of cuda/common, so that its meaning is tested by itself on every executor.
#include "common/async_copy.cuh"
#include "common/exp2.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "emulator-tests/params.h"

namespace {

struct Tiles {
    alignas(16) bf16 a[16][16];
    alignas(16) bf16 b[16][8];
};

template <typename T>
__device__ __forceinline__ void block_reductions(const ProbeParams& p) {
    auto& shared = shared_memory<BlockReduction<T, PROBE_THREADS>>();
    T value = T(global_pointer<const float>(p.input)[threadIdx.x]);
    global_pointer<float>(p.output)[threadIdx.x] = float(block_sum(shared, value));
}

}  // namespace

// output (16, 8) = A (16, 16) B (16, 8) by one warp; input holds A and then B as bf16.
extern "C" __global__ void primitive_mma(const __grid_constant__ ProbeParams p) {
    Tiles& tiles = shared_memory<Tiles>();
    const bf16* input = global_pointer<const bf16>(p.input);
    for (uint32_t i = threadIdx.x; i < 16 * 16; i += blockDim.x) tiles.a[i / 16][i % 16] = input[i];
    for (uint32_t i = threadIdx.x; i < 16 * 8; i += blockDim.x) tiles.b[i / 8][i % 8] = input[16 * 16 + i];
    __syncthreads();
    uint32_t lane = lane_id();
    uint32_t a[4], b[4];
    load_matrix_x4(a, &tiles.a[lane % 16][8 * (lane / 16)]);         // rows 0..16, columns 0..8, then 8..16
    load_matrix_x4_transposed(b, &tiles.b[lane % 16][0]);            // rows 0..8 and 8..16, twice
    float d[4] = {};
    mma_m16n8k16(d, a, {b[0], b[1]});
    if (warp_id() == 0) {
        float* output = global_pointer<float>(p.output);
        for (uint32_t i = 0; i < 4; i++) output[8 * (lane / 4 + 8 * (i / 2)) + 2 * (lane % 4) + i % 2] = d[i];
    }
}

// output[t] = the sum of all inputs, in f32 and in f64.
extern "C" __global__ void primitive_block_sum_f32(const __grid_constant__ ProbeParams p) { block_reductions<float>(p); }
extern "C" __global__ void primitive_block_sum_f64(const __grid_constant__ ProbeParams p) { block_reductions<double>(p); }

// output[t] = the largest input.
extern "C" __global__ void primitive_block_max(const __grid_constant__ ProbeParams p) {
    auto& shared = shared_memory<BlockReduction<float, PROBE_THREADS>>();
    global_pointer<float>(p.output)[threadIdx.x] = block_max(shared, global_pointer<const float>(p.input)[threadIdx.x]);
}

// output = input rounded to bf16 and widened again, in vectors as far as they go.
extern "C" __global__ void primitive_round_to_bf16(const __grid_constant__ ProbeParams p) {
    const float* input = global_pointer<const float>(p.input);
    float* output = global_pointer<float>(p.output);
    uint64_t start = VECTOR * (uint64_t(blockIdx.x) * blockDim.x + threadIdx.x);
    float values[VECTOR];
    load_up_to(input, start, p.len, vector_aligned(input), values);
    for (float& value : values) value = to_float(round_to<bf16>(value));
    store_up_to(output, start, p.len, vector_aligned(output), values);
}

// output = 2^input.
extern "C" __global__ void primitive_exp2_flushed(const __grid_constant__ ProbeParams p) {
    uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i < p.len) global_pointer<float>(p.output)[i] = exp2_flushed(global_pointer<const float>(p.input)[i]);
}

// output = the first `len` inputs and zeroes behind them, through shared memory in two groups of copies.
extern "C" __global__ void primitive_async_copy(const __grid_constant__ ProbeParams p) {
    struct Stages {
        alignas(16) float values[2][4 * PROBE_THREADS / 2];
    };
    Stages& stages = shared_memory<Stages>();
    constexpr uint32_t half = PROBE_THREADS / 2;
    uint32_t stage = threadIdx.x / half, at = 4 * (threadIdx.x % half);
    const float* input = global_pointer<const float>(p.input);
    for (uint32_t group = 0; group < 2; group++) {
        uint64_t start = 4 * half * group + at;
        uint64_t left = start < p.len ? p.len - start : 0;
        if (stage == group) async_copy_16(&stages.values[group][at], input + (left ? start : 0), 4 * uint32_t(min(left, uint64_t(4))));
        async_copy_commit();
    }
    async_copy_wait<1>();  // the first group
    async_copy_wait<0>();
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < 4 * PROBE_THREADS; i += blockDim.x)
        global_pointer<float>(p.output)[i] = stages.values[i / (4 * half)][i % (4 * half)];
}
