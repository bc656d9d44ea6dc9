// Rows of a table by their numbers, and the transposed map.
//
//   gather:       y[i] = factor * x[rows[i]]
//   scatter_add:  x[rows[i]] += factor * y[i]
//
// In the gather one block takes one row of y. In the transposed map several rows of y may belong to one row of x: their places
// stand side by side in `order`, and one block adds them for 512 columns, in their order.
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

constexpr uint32_t STEP = VECTOR * ROWS_THREADS;

template <typename X, typename Y>
__device__ __forceinline__ void gather(const GatherRowsParams& p) {
    uint64_t row = global_pointer<const uint32_t>(p.rows)[blockIdx.x];
    const X* x = global_pointer<const X>(p.x) + row * p.width;             // (width)
    Y* y = global_pointer<Y>(p.y) + blockIdx.x * p.width;                  // (width)
    bool vectors = vector_aligned(x) && vector_aligned(y);
    float values[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.width; i += STEP) {
        load_up_to(x, i, p.width, vectors, values);
        for (float& value : values) value *= p.factor;
        store_up_to(y, i, p.width, vectors, values);
    }
}

template <typename X, typename Y>
__device__ __forceinline__ void scatter_add(const ScatterRowsParams& p) {
    const uint32_t* order = global_pointer<const uint32_t>(p.order);       // (count)
    const uint32_t* starts = global_pointer<const uint32_t>(p.starts);     // (segments + 1)
    const Y* y = global_pointer<const Y>(p.y);                             // (count, width)
    uint32_t first = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    uint32_t row = global_pointer<const uint32_t>(p.rows)[order[first]];
    uint64_t column = uint64_t(STEP) * blockIdx.y + VECTOR * threadIdx.x;
    if (row == p.kept || column >= p.width) return;
    X* x = global_pointer<X>(p.x) + row * p.width;                         // (width)
    bool vectors = p.width % VECTOR == 0 && vector_aligned(x) && vector_aligned(y);
    float sums[VECTOR], terms[VECTOR];
    load_up_to(x, column, p.width, vectors, sums);
#pragma unroll 4
    for (uint32_t i = first; i < end; i++) {
        load_up_to(y + order[i] * p.width, column, p.width, vectors, terms);
        for (uint32_t j = 0; j < VECTOR; j++) sums[j] = fmaf(p.factor, terms[j], sums[j]);
    }
    store_up_to(x, column, p.width, vectors, sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_f32(const __grid_constant__ GatherRowsParams p) { gather<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_bf16(const __grid_constant__ GatherRowsParams p) { gather<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_bf16_to_f32(const __grid_constant__ GatherRowsParams p) { gather<bf16, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_f32_to_bf16(const __grid_constant__ GatherRowsParams p) { gather<float, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_f32(const __grid_constant__ ScatterRowsParams p) { scatter_add<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_bf16(const __grid_constant__ ScatterRowsParams p) { scatter_add<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_bf16_to_f32(const __grid_constant__ ScatterRowsParams p) { scatter_add<float, bf16>(p); }
