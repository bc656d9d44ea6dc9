// Root mean square norm of rows, and its gradients.
//
//   rstd = 1 / sqrt(mean(x^2) + eps)
//   y    = x * rstd * w
//   dx   = rstd * (dy * w) - x * rstd^3 * mean(dy * w * x)
//   dw   = sum over rows of dy * x * rstd
//
// Arithmetic is f32; y and dx are rounded once to the type of x. One block takes one row and goes over it twice, the second
// time from its cache: memory sees one read of each operand and one write. Sums over rows are added in blocks of 64 and then
// in order.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

using Reduction = BlockReduction<float, NORM_THREADS>;
static_assert(sizeof(Reduction) == NORM_SHARED_BYTES, "the launch gives what the reduction uses");

/** From one vector of a thread to its next. */
constexpr uint32_t STEP = VECTOR * NORM_THREADS;

template <typename T>
__device__ __forceinline__ void forward(const RmsNormForwardParams& p) {
    const T* x = global_pointer<const T>(p.x) + blockIdx.x * p.hidden;     // (hidden)
    const T* weight = global_pointer<const T>(p.weight);                   // (hidden)
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.hidden;                 // (hidden)
    bool vectors = vector_aligned(x) && vector_aligned(weight) && vector_aligned(y);

    float square = 0.0f, values[VECTOR], w[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        for (float value : values) square += value * value;
    }
    square = block_sum(shared_memory<Reduction>(), square);
    float rstd = __fdiv_rn(1.0f, __fsqrt_rn(square / float(p.hidden) + p.eps));
    if (threadIdx.x == 0) global_pointer<float>(p.rstd)[blockIdx.x] = rstd;
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(weight, i, p.hidden, vectors, w);
        for (uint32_t j = 0; j < VECTOR; j++) values[j] *= rstd * (w[j] + p.offset);
        store_up_to(y, i, p.hidden, vectors, values);
    }
}

template <typename T>
__device__ __forceinline__ void backward(const RmsNormBackwardParams& p) {
    const T* x = global_pointer<const T>(p.x) + blockIdx.x * p.hidden;     // (hidden)
    const T* dy = global_pointer<const T>(p.dy) + blockIdx.x * p.hidden;   // (hidden)
    const T* weight = global_pointer<const T>(p.weight);                   // (hidden)
    T* dx = global_pointer<T>(p.dx) + blockIdx.x * p.hidden;               // (hidden)
    bool vectors = vector_aligned(x) && vector_aligned(dy) && vector_aligned(weight) && vector_aligned(dx);
    float rstd = global_pointer<const float>(p.rstd)[blockIdx.x];

    float product = 0.0f, values[VECTOR], gradients[VECTOR], w[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(dy, i, p.hidden, vectors, gradients);
        load_up_to(weight, i, p.hidden, vectors, w);
        // Behind the end of the row x is 0, whatever the offset makes of the weight.
        for (uint32_t j = 0; j < VECTOR; j++) product += gradients[j] * (w[j] + p.offset) * values[j];
    }
    product = block_sum(shared_memory<Reduction>(), product);
    float slope = -rstd * rstd * rstd * product / float(p.hidden);
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(dy, i, p.hidden, vectors, gradients);
        load_up_to(weight, i, p.hidden, vectors, w);
        for (uint32_t j = 0; j < VECTOR; j++) values[j] = slope * values[j] + rstd * gradients[j] * (w[j] + p.offset);
        if (p.add) {
            load_up_to(dx, i, p.hidden, vectors, gradients);
            for (uint32_t j = 0; j < VECTOR; j++) values[j] += gradients[j];
        }
        store_up_to(dx, i, p.hidden, vectors, values);
    }
}

template <typename T>
__device__ __forceinline__ void weight_terms(const RmsNormWeightParams& p) {
    const T* x = global_pointer<const T>(p.x);                             // (rows, hidden)
    const T* dy = global_pointer<const T>(p.dy);                           // (rows, hidden)
    const float* rstd = global_pointer<const float>(p.rstd);               // (rows)
    float* partials = global_pointer<float>(p.partials);
    uint64_t column = uint64_t(COLUMN_SUM_COLUMNS) * blockIdx.x + VECTOR * threadIdx.x;
    if (column >= p.hidden) return;
    bool vectors = p.hidden % VECTOR == 0 && vector_aligned(x) && vector_aligned(dy) && vector_aligned(partials);

    float values[VECTOR], gradients[VECTOR], sums[VECTOR] = {};
    uint64_t first = uint64_t(COLUMN_SUM_ROWS) * blockIdx.y;
    uint64_t end = min(first + COLUMN_SUM_ROWS, p.rows);
#pragma unroll 4
    for (uint64_t row = first; row < end; row++) {
        load_up_to(x + row * p.hidden, column, p.hidden, vectors, values);
        load_up_to(dy + row * p.hidden, column, p.hidden, vectors, gradients);
        for (uint32_t i = 0; i < VECTOR; i++) sums[i] += gradients[i] * (values[i] * rstd[row]);
    }
    store_up_to(partials + blockIdx.y * p.hidden, column, p.hidden, vectors, sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_forward_f32(const __grid_constant__ RmsNormForwardParams p) { forward<float>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_forward_bf16(const __grid_constant__ RmsNormForwardParams p) { forward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_backward_f32(const __grid_constant__ RmsNormBackwardParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) rms_norm_backward_bf16(const __grid_constant__ RmsNormBackwardParams p) { backward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) rms_norm_weight_f32(const __grid_constant__ RmsNormWeightParams p) { weight_terms<float>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) rms_norm_weight_bf16(const __grid_constant__ RmsNormWeightParams p) { weight_terms<bf16>(p); }
