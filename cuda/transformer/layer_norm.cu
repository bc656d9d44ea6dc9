// Layer norm of rows, and its gradients.
//
//   mean = mean(x),  rstd = 1 / sqrt(mean((x - mean)^2) + eps),  n = (x - mean) * rstd
//   y    = n * w + b
//   dx   = rstd * (dy * w - mean(dy * w) - n * mean(dy * w * n))
//   dw   = sum over rows of dy * n,   db = sum over rows of dy
//
// Arithmetic is f32; y and dx are rounded once to the type of x. One block takes one row and goes over it three times forward,
// as mean(x^2) - mean^2 would cancel, and twice backward; all but the first time from its cache. Sums over rows are added in
// blocks of 64 and then in order.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

using Reduction = BlockReduction<float, NORM_THREADS>;
static_assert(sizeof(Reduction) == NORM_SHARED_BYTES, "the launch gives what the reduction uses");

/** From one vector of a thread to its next. */
constexpr uint32_t STEP = VECTOR * NORM_THREADS;

template <typename T>
__device__ __forceinline__ void forward(const LayerNormForwardParams& p) {
    const T* x = global_pointer<const T>(p.x) + blockIdx.x * p.hidden;     // (hidden)
    const T* weight = global_pointer<const T>(p.weight);                   // (hidden)
    const T* bias = global_pointer<const T>(p.bias);                       // (hidden) or nothing
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.hidden;                 // (hidden)
    bool vectors = vector_aligned(x) && vector_aligned(weight) && vector_aligned(bias) && vector_aligned(y);
    Reduction& shared = shared_memory<Reduction>();

    float sum = 0.0f, values[VECTOR], w[VECTOR], b[VECTOR] = {};
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        for (float value : values) sum += value;
    }
    float mean = block_sum(shared, sum) / float(p.hidden);
    float square = 0.0f;
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        for (uint32_t j = 0; j < VECTOR; j++) {
            // What lies behind the end of the row is no deviation.
            float deviation = i + j < p.hidden ? values[j] - mean : 0.0f;
            square += deviation * deviation;
        }
    }
    float rstd = __fdiv_rn(1.0f, __fsqrt_rn(block_sum(shared, square) / float(p.hidden) + p.eps));
    if (threadIdx.x == 0) {
        float* statistics = global_pointer<float>(p.statistics) + 2 * uint64_t(blockIdx.x);
        statistics[0] = mean;
        statistics[1] = rstd;
    }
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(weight, i, p.hidden, vectors, w);
        if (bias) load_up_to(bias, i, p.hidden, vectors, b);
        for (uint32_t j = 0; j < VECTOR; j++) values[j] = (values[j] - mean) * rstd * w[j] + b[j];
        store_up_to(y, i, p.hidden, vectors, values);
    }
}

template <typename T>
__device__ __forceinline__ void backward(const LayerNormBackwardParams& p) {
    const T* x = global_pointer<const T>(p.x) + blockIdx.x * p.hidden;     // (hidden)
    const T* dy = global_pointer<const T>(p.dy) + blockIdx.x * p.hidden;   // (hidden)
    const T* weight = global_pointer<const T>(p.weight);                   // (hidden)
    T* dx = global_pointer<T>(p.dx) + blockIdx.x * p.hidden;               // (hidden)
    bool vectors = vector_aligned(x) && vector_aligned(dy) && vector_aligned(weight) && vector_aligned(dx);
    Reduction& shared = shared_memory<Reduction>();
    const float* statistics = global_pointer<const float>(p.statistics) + 2 * uint64_t(blockIdx.x);
    float mean = statistics[0], rstd = statistics[1];

    float sum = 0.0f, product = 0.0f, values[VECTOR], gradients[VECTOR], w[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(dy, i, p.hidden, vectors, gradients);
        load_up_to(weight, i, p.hidden, vectors, w);
        // Behind the end of the row dy and w are 0.
        for (uint32_t j = 0; j < VECTOR; j++) {
            sum += gradients[j] * w[j];
            product += gradients[j] * w[j] * (values[j] - mean);
        }
    }
    float mean_g = block_sum(shared, sum) / float(p.hidden);
    float mean_gn = block_sum(shared, product) * rstd / float(p.hidden);
    for (uint64_t i = VECTOR * threadIdx.x; i < p.hidden; i += STEP) {
        load_up_to(x, i, p.hidden, vectors, values);
        load_up_to(dy, i, p.hidden, vectors, gradients);
        load_up_to(weight, i, p.hidden, vectors, w);
        for (uint32_t j = 0; j < VECTOR; j++) {
            values[j] = rstd * (gradients[j] * w[j] - mean_g - (values[j] - mean) * rstd * mean_gn);
        }
        if (p.add) {
            load_up_to(dx, i, p.hidden, vectors, gradients);
            for (uint32_t j = 0; j < VECTOR; j++) values[j] += gradients[j];
        }
        store_up_to(dx, i, p.hidden, vectors, values);
    }
}

template <typename T>
__device__ __forceinline__ void weight_terms(const LayerNormWeightParams& p) {
    const T* x = global_pointer<const T>(p.x);                             // (rows, hidden)
    const T* dy = global_pointer<const T>(p.dy);                           // (rows, hidden)
    const float* statistics = global_pointer<const float>(p.statistics);   // (rows, 2)
    uint64_t column = uint64_t(COLUMN_SUM_COLUMNS) * blockIdx.x + VECTOR * threadIdx.x;
    if (column >= p.hidden) return;
    bool vectors = p.hidden % VECTOR == 0 && vector_aligned(x) && vector_aligned(dy);

    float values[VECTOR], gradients[VECTOR], weight_sums[VECTOR] = {}, bias_sums[VECTOR] = {};
    uint64_t first = uint64_t(COLUMN_SUM_ROWS) * blockIdx.y;
    uint64_t end = min(first + COLUMN_SUM_ROWS, p.rows);
#pragma unroll 4
    for (uint64_t row = first; row < end; row++) {
        load_up_to(x + row * p.hidden, column, p.hidden, vectors, values);
        load_up_to(dy + row * p.hidden, column, p.hidden, vectors, gradients);
        float mean = statistics[2 * row], rstd = statistics[2 * row + 1];
        for (uint32_t i = 0; i < VECTOR; i++) {
            weight_sums[i] += gradients[i] * ((values[i] - mean) * rstd);
            bias_sums[i] += gradients[i];
        }
    }
    float* weight_partials = global_pointer<float>(p.weight_partials);
    float* bias_partials = global_pointer<float>(p.bias_partials);
    vectors = vectors && vector_aligned(weight_partials) && vector_aligned(bias_partials);
    if (weight_partials) store_up_to(weight_partials + blockIdx.y * p.hidden, column, p.hidden, vectors, weight_sums);
    if (bias_partials) store_up_to(bias_partials + blockIdx.y * p.hidden, column, p.hidden, vectors, bias_sums);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_forward_f32(const __grid_constant__ LayerNormForwardParams p) { forward<float>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_forward_bf16(const __grid_constant__ LayerNormForwardParams p) { forward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_backward_f32(const __grid_constant__ LayerNormBackwardParams p) { backward<float>(p); }
extern "C" __global__ void __launch_bounds__(NORM_THREADS) layer_norm_backward_bf16(const __grid_constant__ LayerNormBackwardParams p) { backward<bf16>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) layer_norm_weight_f32(const __grid_constant__ LayerNormWeightParams p) { weight_terms<float>(p); }
extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) layer_norm_weight_bf16(const __grid_constant__ LayerNormWeightParams p) { weight_terms<bf16>(p); }
