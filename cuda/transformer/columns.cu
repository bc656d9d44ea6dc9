// Blocks of columns side by side, and the transposed map: how a fused projection is taken apart.
//
//   gather:       y[r, b * len + c] = x[r, start + b * stride + c]
//   scatter:      the reverse; other columns of x stay as they are
//   scatter_add:  the reverse, added
//
// One block takes one row. Blocks of columns do not overlap, so that no two threads add to one element.
#include "common/bf16.cuh"
#include "transformer/params.h"

namespace {

template <typename Move>
__device__ __forceinline__ void each_column(const ColumnsParams& p, Move move) {
    for (uint64_t column = threadIdx.x; column < p.count * p.len; column += ROWS_THREADS) {
        uint64_t block = column / p.len;
        move(blockIdx.x * p.columns + p.start + block * p.stride + (column - block * p.len),
             blockIdx.x * p.count * p.len + column);
    }
}

template <typename T>
__device__ __forceinline__ void gather(const ColumnsParams& p) {
    const T* x = global_pointer<const T>(p.x);
    T* y = global_pointer<T>(p.y);
    each_column(p, [=](uint64_t from, uint64_t to) { y[to] = x[from]; });
}

template <typename T>
__device__ __forceinline__ void scatter(const ColumnsParams& p) {
    T* x = global_pointer<T>(p.x);
    const T* y = global_pointer<const T>(p.y);
    each_column(p, [=](uint64_t to, uint64_t from) { x[to] = y[from]; });
}

template <typename T>
__device__ __forceinline__ void scatter_add(const ColumnsParams& p) {
    T* x = global_pointer<T>(p.x);
    const T* y = global_pointer<const T>(p.y);
    each_column(p, [=](uint64_t to, uint64_t from) { x[to] = round_to<T>(to_float(x[to]) + to_float(y[from])); });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_gather_f32(const __grid_constant__ ColumnsParams p) { gather<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_gather_bf16(const __grid_constant__ ColumnsParams p) { gather<bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_scatter_f32(const __grid_constant__ ColumnsParams p) { scatter<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_scatter_bf16(const __grid_constant__ ColumnsParams p) { scatter<bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_scatter_add_f32(const __grid_constant__ ColumnsParams p) { scatter_add<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) columns_scatter_add_bf16(const __grid_constant__ ColumnsParams p) { scatter_add<bf16>(p); }
