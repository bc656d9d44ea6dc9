// Functions of single elements, and their gradients in place.
//
//   activation:  y = act(x),              dy *= act'(x)
//   soft cap:    y = cap * tanh(x / cap), dy *= 1 - tanh(x / cap)^2
//
// Arithmetic is f32, rounded once to the type of the operands. Each element is read and written once.
#include "common/vector.cuh"
#include "transformer/activation.cuh"

namespace {

struct SoftCap {
    float cap, inverse;

    __device__ __forceinline__ ValueSlope operator()(float x) const {
        float t = tanhf(x * inverse);
        return {cap * t, 1.0f - t * t};
    }
};

template <typename T, typename Function>
__device__ __forceinline__ void values(const PointwiseParams& p, Function function) {
    const T* x = global_pointer<const T>(p.x);
    T* y = global_pointer<T>(p.y);
    bool vectors = vector_aligned(x) && vector_aligned(y);
    uint64_t i = uint64_t(POINTWISE_ELEMENTS) * blockIdx.x + VECTOR * threadIdx.x;
    if (i >= p.len) return;
    float v[VECTOR];
    load_up_to(x, i, p.len, vectors, v);
    for (float& value : v) value = function(value).value;
    store_up_to(y, i, p.len, vectors, v);
}

template <typename T, typename Function>
__device__ __forceinline__ void slopes(const PointwiseParams& p, Function function) {
    const T* x = global_pointer<const T>(p.x);
    T* dy = global_pointer<T>(p.y);
    bool vectors = vector_aligned(x) && vector_aligned(dy);
    uint64_t i = uint64_t(POINTWISE_ELEMENTS) * blockIdx.x + VECTOR * threadIdx.x;
    if (i >= p.len) return;
    float v[VECTOR], d[VECTOR];
    load_up_to(x, i, p.len, vectors, v);
    load_up_to(dy, i, p.len, vectors, d);
    for (uint32_t j = 0; j < VECTOR; j++) d[j] *= function(v[j]).slope;
    store_up_to(dy, i, p.len, vectors, d);
}

template <typename T>
__device__ __forceinline__ void activation_forward(const PointwiseParams& p) {
    with_activation(p.activation, [&](auto function) { values<T>(p, function); });
}

template <typename T>
__device__ __forceinline__ void activation_backward(const PointwiseParams& p) {
    with_activation(p.activation, [&](auto function) { slopes<T>(p, function); });
}

__device__ __forceinline__ SoftCap soft_cap(const PointwiseParams& p) { return {p.cap, 1.0f / p.cap}; }

}  // namespace

extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) activation_forward_f32(const __grid_constant__ PointwiseParams p) { activation_forward<float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) activation_forward_bf16(const __grid_constant__ PointwiseParams p) { activation_forward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) activation_backward_f32(const __grid_constant__ PointwiseParams p) { activation_backward<float>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) activation_backward_bf16(const __grid_constant__ PointwiseParams p) { activation_backward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) softcap_forward_f32(const __grid_constant__ PointwiseParams p) { values<float>(p, soft_cap(p)); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) softcap_forward_bf16(const __grid_constant__ PointwiseParams p) { values<bf16>(p, soft_cap(p)); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) softcap_backward_f32(const __grid_constant__ PointwiseParams p) { slopes<float>(p, soft_cap(p)); }
extern "C" __global__ void __launch_bounds__(POINTWISE_THREADS) softcap_backward_bf16(const __grid_constant__ PointwiseParams p) { slopes<bf16>(p, soft_cap(p)); }
