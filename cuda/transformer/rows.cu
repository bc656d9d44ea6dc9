// Rows of a table by their numbers, and the transposed map.
//
//   gather:       y[i] = factor * x[rows[i]]
//   scatter_add:  x[rows[i]] += factor * y[i]
//
// One block takes one row of y. In the transposed map several of them may name one row of x: the block of the first adds all
// of them, in their order, and the others leave. A block reads all numbers for that: with thousands of them that is more than its
// rows, and comes from the cache.
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

constexpr uint32_t STEP = VECTOR * ROWS_THREADS;

template <typename X, typename Y>
__device__ __forceinline__ void gather(const RowsParams& p) {
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
__device__ __forceinline__ void scatter_add(const RowsParams& p) {
    const uint32_t* rows = global_pointer<const uint32_t>(p.rows);         // (count)
    const Y* y = global_pointer<const Y>(p.y);                             // (count, width)
    uint32_t row = rows[blockIdx.x];
    if (row == p.kept) return;
    for (uint64_t before = 0; before < blockIdx.x; before++) {
        if (rows[before] == row) return;
    }
    X* x = global_pointer<X>(p.x) + row * p.width;                         // (width)
    bool vectors = p.width % VECTOR == 0 && vector_aligned(x) && vector_aligned(y);
    float sums[VECTOR], terms[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.width; i += STEP) {
        load_up_to(x, i, p.width, vectors, sums);
        for (uint64_t from = blockIdx.x; from < p.count; from++) {
            if (rows[from] != row) continue;
            load_up_to(y + from * p.width, i, p.width, vectors, terms);
            for (uint32_t j = 0; j < VECTOR; j++) sums[j] = fmaf(p.factor, terms[j], sums[j]);
        }
        store_up_to(x, i, p.width, vectors, sums);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_f32(const __grid_constant__ RowsParams p) { gather<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_bf16(const __grid_constant__ RowsParams p) { gather<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_bf16_to_f32(const __grid_constant__ RowsParams p) { gather<bf16, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_gather_f32_to_bf16(const __grid_constant__ RowsParams p) { gather<float, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_f32(const __grid_constant__ RowsParams p) { scatter_add<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_bf16(const __grid_constant__ RowsParams p) { scatter_add<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) rows_scatter_add_bf16_to_f32(const __grid_constant__ RowsParams p) { scatter_add<float, bf16>(p); }
