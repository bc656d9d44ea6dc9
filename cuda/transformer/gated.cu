// Gated activation of the feed-forward block: SwiGLU, GeGLU.
//
//   y     = act(gate) * up, times a factor of the channel if there is one
//   dgate = dy * up * act'(gate),   dup = dy * act(gate)
//
// Arithmetic is f32; results are rounded once to the type of the operands. One block takes one row, each element is read and
// written once. A gradient may take the place of the operand it belongs to: every thread reads its elements before it writes.
#include "common/vector.cuh"
#include "transformer/activation.cuh"

namespace {

constexpr uint32_t STEP = VECTOR * GATED_THREADS;

template <typename T>
__device__ __forceinline__ void forward(const GatedForwardParams& p) {
    const T* gate = global_pointer<const T>(p.gate) + blockIdx.x * p.stride;   // (features)
    const T* up = global_pointer<const T>(p.up) + blockIdx.x * p.stride;       // (features)
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.features;                   // (features)
    const float* scale = global_pointer<const float>(p.scale);                 // (features), or null
    bool vectors = vector_aligned(gate) && vector_aligned(up) && vector_aligned(y);
    with_activation(p.activation, [=](auto function) {
        float g[VECTOR], u[VECTOR], l[VECTOR];
        for (uint64_t i = VECTOR * threadIdx.x; i < p.features; i += STEP) {
            load_up_to(gate, i, p.features, vectors, g);
            load_up_to(up, i, p.features, vectors, u);
            for (uint32_t j = 0; j < VECTOR; j++) u[j] *= function(g[j]).value;
            if (scale) {
                load_up_to(scale, i, p.features, vector_aligned(scale), l);
                for (uint32_t j = 0; j < VECTOR; j++) u[j] *= l[j];
            }
            store_up_to(y, i, p.features, vectors, u);
        }
    });
}

template <typename T>
__device__ __forceinline__ void backward(const GatedBackwardParams& p) {
    const T* gate = global_pointer<const T>(p.gate) + blockIdx.x * p.stride;       // (features)
    const T* up = global_pointer<const T>(p.up) + blockIdx.x * p.stride;           // (features)
    const T* dy = global_pointer<const T>(p.dy) + blockIdx.x * p.features;         // (features)
    T* dgate = global_pointer<T>(p.dgate) + blockIdx.x * p.gradient_stride;        // (features)
    T* dup = global_pointer<T>(p.dup) + blockIdx.x * p.gradient_stride;            // (features)
    bool vectors = vector_aligned(gate) && vector_aligned(up) && vector_aligned(dy) && vector_aligned(dgate) &&
                   vector_aligned(dup);
    with_activation(p.activation, [=](auto function) {
        float g[VECTOR], u[VECTOR], d[VECTOR];
        for (uint64_t i = VECTOR * threadIdx.x; i < p.features; i += STEP) {
            load_up_to(gate, i, p.features, vectors, g);
            load_up_to(up, i, p.features, vectors, u);
            load_up_to(dy, i, p.features, vectors, d);
            for (uint32_t j = 0; j < VECTOR; j++) {
                ValueSlope at = function(g[j]);
                g[j] = d[j] * u[j] * at.slope;
                u[j] = d[j] * at.value;
            }
            store_up_to(dgate, i, p.features, vectors, g);
            store_up_to(dup, i, p.features, vectors, u);
        }
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(GATED_THREADS) gated_forward_f32(const __grid_constant__ GatedForwardParams p) { forward<float>(p); }
extern "C" __global__ void __launch_bounds__(GATED_THREADS) gated_forward_bf16(const __grid_constant__ GatedForwardParams p) { forward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(GATED_THREADS) gated_backward_f32(const __grid_constant__ GatedBackwardParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(GATED_THREADS) gated_backward_bf16(const __grid_constant__ GatedBackwardParams p) { backward<bf16>(p); }
