// The mean of the rows of each sequence of a packed batch, and its gradient.
//
//   forward:   y[s] = mean of x[i] over the rows i of s; 0 without rows
//   backward:  dx[i] = dy[s] / len(s)
//
// Rows are added in their order, in f32, by one thread for a vector of columns; one block writes one row of the gradient.
#include "common/vector.cuh"
#include "transformer/params.h"
#include "transformer/sequences.cuh"

namespace {

constexpr uint32_t STEP = VECTOR * ROWS_THREADS;

/** What one row of a sequence contributes. */
__device__ __forceinline__ float share(uint32_t start, uint32_t end) { return __fdiv_rn(1.0f, float(max(end - start, 1u))); }

template <typename T>
__device__ __forceinline__ void forward(const MeanRowsParams& p) {
    const uint32_t* ends = global_pointer<const uint32_t>(p.cu_seqlens) + blockIdx.x;
    uint32_t start = ends[0], end = ends[1];
    const T* x = global_pointer<const T>(p.x);                             // (num_rows, width)
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.width;                  // (width)
    uint64_t i = uint64_t(STEP) * blockIdx.y + VECTOR * threadIdx.x;
    if (i >= p.width) return;
    bool vectors = p.width % VECTOR == 0 && vector_aligned(x) && vector_aligned(y);
    float sums[VECTOR] = {}, terms[VECTOR];
#pragma unroll 4
    for (uint64_t row = start; row < end; row++) {
        load_up_to(x + row * p.width, i, p.width, vectors, terms);
        for (uint32_t j = 0; j < VECTOR; j++) sums[j] += terms[j];
    }
    for (float& sum : sums) sum *= share(start, end);
    store_up_to(y, i, p.width, vectors, sums);
}

template <typename T>
__device__ __forceinline__ void backward(const MeanRowsParams& p) {
    const uint32_t* cu_seqlens = global_pointer<const uint32_t>(p.cu_seqlens);
    uint64_t sequence = sequence_of(cu_seqlens, p.num_sequences, 0, blockIdx.x);
    float factor = share(cu_seqlens[sequence], cu_seqlens[sequence + 1]);
    const T* dy = global_pointer<const T>(p.y) + sequence * p.width;       // (width)
    T* dx = global_pointer<T>(p.x) + blockIdx.x * p.width;                 // (width)
    bool vectors = vector_aligned(dy) && vector_aligned(dx);
    float values[VECTOR], before[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.width; i += STEP) {
        load_up_to(dy, i, p.width, vectors, values);
        for (float& value : values) value = __fmul_rn(factor, value);
        if (p.add) {
            load_up_to(dx, i, p.width, vectors, before);
            for (uint32_t j = 0; j < VECTOR; j++) values[j] = __fadd_rn(before[j], values[j]);
        }
        store_up_to(dx, i, p.width, vectors, values);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) mean_rows_forward_f32(const __grid_constant__ MeanRowsParams p) { forward<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) mean_rows_forward_bf16(const __grid_constant__ MeanRowsParams p) { forward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) mean_rows_backward_f32(const __grid_constant__ MeanRowsParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) mean_rows_backward_bf16(const __grid_constant__ MeanRowsParams p) { backward<bf16>(p); }
