// Cross-entropy of logits against labels, and the gradient in the logits' place.
//
//   l        = logits, or cap * tanh(logits / cap)
//   loss     = logsumexp(l) - l[label]                     0 for rows whose label is -100
//   dlogits  = scale * (softmax(l) - onehot(label)) * (1 - (l / cap)^2)
//
// One block takes one row. The first pass keeps a running maximum and the sum of exponentials relative to it in every thread
// (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"), the second writes the gradient: two reads and
// one write of the logits. Exponentials are f32; sums over threads and the loss are f64.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

constexpr uint32_t STEP = VECTOR * CROSS_ENTROPY_THREADS;
/** Below every logit that is a number but minus infinity, whose exponential is then 0 and not NaN. */
constexpr float LEAST = -3.4028235e38f;
constexpr uint32_t NO_INDEX = 0xffffffffu;

struct Shared {
    BlockReduction<double, CROSS_ENTROPY_THREADS> sum;
    BlockReduction<float, CROSS_ENTROPY_THREADS> max;
    uint32_t first[CROSS_ENTROPY_THREADS / WARP];
};
static_assert(sizeof(Shared) == CROSS_ENTROPY_SHARED_BYTES, "the launch gives what the reductions use");

struct Uncapped {
    __device__ __forceinline__ float value(float x) const { return x; }
    __device__ __forceinline__ float slope(float) const { return 1.0f; }
};

struct Capped {
    float cap;
    __device__ __forceinline__ float value(float x) const { return cap * tanhf(x / cap); }
    __device__ __forceinline__ float slope(float capped) const { return 1.0f - (capped / cap) * (capped / cap); }
};

/** The smallest of the block's values, the same in every thread. All threads take part. */
__device__ __forceinline__ uint32_t block_min(uint32_t (&warps)[CROSS_ENTROPY_THREADS / WARP], uint32_t value) {
    for (uint32_t lanes = WARP / 2; lanes > 0; lanes /= 2) value = min(value, __shfl_xor_sync(ALL_LANES, value, lanes));
    if (lane_id() == 0) warps[warp_id()] = value;
    __syncthreads();
    for (uint32_t warp : warps) value = min(value, warp);
    __syncthreads();
    return value;
}

template <typename T, typename Cap>
__device__ __forceinline__ void row(const CrossEntropyParams& p, Cap cap) {
    T* logits = global_pointer<T>(p.logits) + blockIdx.x * p.vocab;        // (vocab)
    int64_t label = global_pointer<const int64_t>(p.labels)[blockIdx.x];
    double* loss = global_pointer<double>(p.losses) + blockIdx.x;
    uint32_t* correct = global_pointer<uint32_t>(p.correct) + blockIdx.x;
    bool vectors = vector_aligned(logits);
    float values[VECTOR];
    if (label == CROSS_ENTROPY_IGNORED) {
        if (threadIdx.x == 0) {
            *loss = 0.0;
            *correct = 0;
        }
        for (float& value : values) value = 0.0f;
        for (uint64_t i = VECTOR * threadIdx.x; p.gradient && i < p.vocab; i += STEP) {
            store_up_to(logits, i, p.vocab, vectors, values);
        }
        return;
    }

    // Of this thread's elements: the largest logit and where it first stands, the sum relative to its capped value.
    float largest = LEAST, sum = 0.0f;
    uint32_t first = NO_INDEX;
    for (uint64_t i = VECTOR * threadIdx.x; i < p.vocab; i += STEP) {
        load_up_to(logits, i, p.vocab, vectors, values);
        float before = largest;
        for (uint32_t j = 0; j < VECTOR; j++) {
            if (i + j < p.vocab && values[j] > largest) {
                largest = values[j];
                first = uint32_t(i + j);
            }
        }
        float max = cap.value(largest);
        sum *= expf(cap.value(before) - max);
        for (uint32_t j = 0; j < VECTOR; j++) {
            if (i + j < p.vocab) sum += expf(cap.value(values[j]) - max);
        }
    }
    Shared& shared = shared_memory<Shared>();
    float all_largest = block_max(shared.max, largest);
    float max = cap.value(all_largest);
    double all_sum = block_sum(shared.sum, double(sum) * double(expf(cap.value(largest) - max)));
    uint32_t all_first = block_min(shared.first, largest == all_largest ? first : NO_INDEX);
    float at_label = to_float(logits[label]);
    float capped_label = cap.value(at_label);
    // The logits may be written from here on.
    __syncthreads();
    if (threadIdx.x == 0) {
        *loss = log(all_sum) + double(max) - double(capped_label);
        *correct = all_first == uint64_t(label);
    }
    if (!p.gradient) return;

    float factor = float(double(p.scale) / all_sum);
    for (uint64_t i = VECTOR * threadIdx.x; i < p.vocab; i += STEP) {
        load_up_to(logits, i, p.vocab, vectors, values);
        for (uint32_t j = 0; j < VECTOR; j++) {
            float capped = cap.value(values[j]);
            float slope = cap.slope(capped);
            values[j] = factor * slope * expf(capped - max);
            if (i + j == uint64_t(label)) values[j] -= p.scale * slope;
        }
        store_up_to(logits, i, p.vocab, vectors, values);
    }
}

template <typename T>
__device__ __forceinline__ void cross_entropy(const CrossEntropyParams& p) {
    if (p.cap > 0.0f) return row<T>(p, Capped{p.cap});
    row<T>(p, Uncapped{});
}

}  // namespace

extern "C" __global__ void __launch_bounds__(CROSS_ENTROPY_THREADS) cross_entropy_f32(const __grid_constant__ CrossEntropyParams p) { cross_entropy<float>(p); }
extern "C" __global__ void __launch_bounds__(CROSS_ENTROPY_THREADS) cross_entropy_bf16(const __grid_constant__ CrossEntropyParams p) { cross_entropy<bf16>(p); }

// One block: each thread adds its rows in order, and the threads are added in order.
extern "C" __global__ void __launch_bounds__(CROSS_ENTROPY_THREADS) cross_entropy_sum_f64(const __grid_constant__ CrossEntropySumParams p) {
    const double* losses = global_pointer<const double>(p.losses);
    const uint32_t* correct = global_pointer<const uint32_t>(p.correct);
    const int64_t* labels = global_pointer<const int64_t>(p.labels);
    double* sums = global_pointer<double>(p.sums);
    double loss = 0.0, counted = 0.0, right = 0.0;
    for (uint64_t i = threadIdx.x; i < p.rows; i += CROSS_ENTROPY_THREADS) {
        loss += losses[i];
        counted += labels[i] == CROSS_ENTROPY_IGNORED ? 0.0 : 1.0;
        right += correct[i];
    }
    auto& shared = shared_memory<Shared>().sum;
    loss = block_sum(shared, loss);
    counted = block_sum(shared, counted);
    right = block_sum(shared, right);
    if (threadIdx.x == 0) {
        sums[0] += loss;
        sums[1] += counted;
        sums[2] += right;
    }
}

// One thread.
extern "C" __global__ void __launch_bounds__(WARP) cross_entropy_loss_f32(const __grid_constant__ CrossEntropyLossParams p) {
    if (threadIdx.x == 0) *global_pointer<float>(p.loss) = float(global_pointer<const double>(p.sums)[0]);
}
