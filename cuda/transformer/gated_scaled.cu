// The backward of a gated activation whose channels have another factor: (IA)^3's, before a block's last projection.
//
//   dgate = dy * scale * up * act'(gate),   dup = dy * scale * act(gate)
//   dscale_c = sum over rows of dy * act(gate) * up
//
// A block takes 512 channels of 64 rows, whose terms of dscale it adds in order; `column_sum_f32` adds these sums. Arithmetic is
// f32, gradients of the factors are rounded once. Each element is read and written once, and a gradient may take the place of
// the operand it belongs to.
#include "common/vector.cuh"
#include "transformer/activation.cuh"

namespace {

template <typename T>
__device__ __forceinline__ void backward(const GatedScaledBackwardParams& p) {
    const T* gate = global_pointer<const T>(p.gate);                               // (rows, features)
    const T* up = global_pointer<const T>(p.up);                                   // (rows, features)
    const T* dy = global_pointer<const T>(p.dy);                                   // (rows, features)
    T* dgate = global_pointer<T>(p.dgate);                                         // (rows, features)
    T* dup = global_pointer<T>(p.dup);                                             // (rows, features)
    const float* scale = global_pointer<const float>(p.scale);                     // (features)
    float* partials = global_pointer<float>(p.partials);                           // (blocks of rows, features)
    uint64_t column = uint64_t(COLUMN_SUM_COLUMNS) * blockIdx.x + VECTOR * threadIdx.x;
    if (column >= p.features) return;
    bool vectors = p.features % VECTOR == 0 && vector_aligned(gate) && vector_aligned(up) && vector_aligned(dy) &&
                   vector_aligned(dgate) && vector_aligned(dup);

    uint64_t first = uint64_t(COLUMN_SUM_ROWS) * blockIdx.y, end = min(first + COLUMN_SUM_ROWS, p.rows);
    float l[VECTOR], sums[VECTOR] = {};
    load_up_to(scale, column, p.features, vector_aligned(scale), l);
    with_activation(p.activation, [&](auto function) {
        float g[VECTOR], u[VECTOR], d[VECTOR];
        for (uint64_t row = first; row < end; row++) {
            load_up_to(gate + row * p.stride, column, p.features, vectors, g);
            load_up_to(up + row * p.stride, column, p.features, vectors, u);
            load_up_to(dy + row * p.features, column, p.features, vectors, d);
            for (uint32_t j = 0; j < VECTOR; j++) {
                ValueSlope at = function(g[j]);
                float scaled = d[j] * l[j];
                sums[j] += d[j] * (at.value * u[j]);
                g[j] = scaled * u[j] * at.slope;
                u[j] = scaled * at.value;
            }
            store_up_to(dgate + row * p.gradient_stride, column, p.features, vectors, g);
            store_up_to(dup + row * p.gradient_stride, column, p.features, vectors, u);
        }
    });
    store_up_to(partials + blockIdx.y * p.features, column, p.features, p.features % VECTOR == 0 && vector_aligned(partials), sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) gated_scaled_backward_f32(const __grid_constant__ GatedScaledBackwardParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) gated_scaled_backward_bf16(const __grid_constant__ GatedScaledBackwardParams p) { backward<bf16>(p); }
