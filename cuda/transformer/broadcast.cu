// y[r] = x[r] + factor * row: a bias, or what a product is then added to.
//
// One block takes one row. The product and the sum are rounded by themselves, as on the CPU, and the result to the type of y.
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void broadcast(const BroadcastParams& p) {
    const T* x = p.x ? global_pointer<const T>(p.x) + blockIdx.x * p.columns : nullptr;
    const T* row = global_pointer<const T>(p.row);                         // (columns)
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.columns;                // (columns)
    bool vectors = vector_aligned(x) && vector_aligned(row) && vector_aligned(y);
    float values[VECTOR], terms[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.columns; i += VECTOR * ROWS_THREADS) {
        load_up_to(row, i, p.columns, vectors, terms);
        for (float& value : values) value = 0.0f;
        if (x) load_up_to(x, i, p.columns, vectors, values);
        for (uint32_t j = 0; j < VECTOR; j++) values[j] = __fadd_rn(values[j], __fmul_rn(p.factor, terms[j]));
        store_up_to(y, i, p.columns, vectors, values);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) broadcast_f32(const __grid_constant__ BroadcastParams p) { broadcast<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) broadcast_bf16(const __grid_constant__ BroadcastParams p) { broadcast<bf16>(p); }
