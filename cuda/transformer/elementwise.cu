// Sums, quotients and multiples of single elements, and conversions between their types.
//
//   add:     y = a + b
//   divide:  y = a / b
//   scale:   y = factor * x, or y += factor * x; with a factor of 1 a conversion
//
// Arithmetic is f32, each operation rounded by itself as on the CPU, and the result once more to the type of y. Each element
// is read and written once.
#include "common/f16.cuh"
#include "transformer/params.h"

namespace {

/** The first of this thread's elements. */
__device__ __forceinline__ uint64_t first_element() { return uint64_t(POINTWISE_ELEMENTS) * blockIdx.x + VECTOR * threadIdx.x; }

template <typename T, typename Function>
__device__ __forceinline__ void combine(const BinaryParams& p, Function function) {
    const T* a = global_pointer<const T>(p.a);
    const T* b = global_pointer<const T>(p.b);
    T* y = global_pointer<T>(p.y);
    bool vectors = vector_aligned(a) && vector_aligned(b) && vector_aligned(y);
    uint64_t i = first_element();
    if (i >= p.len) return;
    float left[VECTOR], right[VECTOR];
    load_up_to(a, i, p.len, vectors, left);
    load_up_to(b, i, p.len, vectors, right);
    for (uint32_t j = 0; j < VECTOR; j++) left[j] = function(left[j], right[j]);
    store_up_to(y, i, p.len, vectors, left);
}

template <typename X, typename Y>
__device__ __forceinline__ void scale(const ScaleParams& p) {
    const X* x = global_pointer<const X>(p.x);
    Y* y = global_pointer<Y>(p.y);
    bool vectors = vector_aligned(x) && vector_aligned(y);
    uint64_t i = first_element();
    if (i >= p.len) return;
    float factor = p.multiplier ? __fmul_rn(p.factor, *global_pointer<const float>(p.multiplier)) : p.factor;
    float values[VECTOR], before[VECTOR];
    load_up_to(x, i, p.len, vectors, values);
    for (float& value : values) value = __fmul_rn(factor, value);
    if (p.add) {
        load_up_to(y, i, p.len, vectors, before);
        for (uint32_t j = 0; j < VECTOR; j++) values[j] = __fadd_rn(before[j], values[j]);
    }
    store_up_to(y, i, p.len, vectors, values);
}

template <typename T>
__device__ __forceinline__ void add(const BinaryParams& p) {
    combine<T>(p, [](float a, float b) { return a + b; });
}

__device__ __forceinline__ void divide(const BinaryParams& p) {
    combine<float>(p, [](float a, float b) { return __fdiv_rn(a, b); });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) add_f32(const __grid_constant__ BinaryParams p) { add<float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) add_bf16(const __grid_constant__ BinaryParams p) { add<bf16>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) divide_f32(const __grid_constant__ BinaryParams p) { divide(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_f32(const __grid_constant__ ScaleParams p) { scale<float, float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_bf16(const __grid_constant__ ScaleParams p) { scale<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_bf16_to_f32(const __grid_constant__ ScaleParams p) { scale<bf16, float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_f32_to_bf16(const __grid_constant__ ScaleParams p) { scale<float, bf16>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_f16_to_f32(const __grid_constant__ ScaleParams p) { scale<f16, float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) scale_f16_to_bf16(const __grid_constant__ ScaleParams p) { scale<f16, bf16>(p); }
