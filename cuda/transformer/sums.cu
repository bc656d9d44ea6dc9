// Sums of all elements, as one f32.
//
//   inner_product:  sum = sum_i x_i w_i
//   squared_error:  sum = sum_i d_i^2 with d_i = x_i - target_i, which is kept
//
// Terms and sums are f64. One block: each thread adds its vectors in order, and the threads are added in order. The arrays
// are scores or a test's; nothing here is as large as an activation.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "transformer/params.h"

namespace {

using Reduction = BlockReduction<double, SUM_THREADS>;
static_assert(sizeof(Reduction) == SUM_SHARED_BYTES, "the launch gives what the reduction uses");

/** Sums `term(x, other, start)` over vectors; elements behind the last one are zeros. */
template <typename T, typename Term>
__device__ __forceinline__ void sum_all(const SumParams& p, Term term) {
    const T* x = global_pointer<const T>(p.x);                             // (len)
    const float* other = global_pointer<const float>(p.other);             // (len)
    bool vectors = vector_aligned(x) && vector_aligned(other);
    float left[VECTOR], right[VECTOR];
    double sum = 0.0;
    for (uint64_t i = VECTOR * threadIdx.x; i < p.len; i += VECTOR * SUM_THREADS) {
        load_up_to(x, i, p.len, vectors, left);
        load_up_to(other, i, p.len, vectors, right);
        sum += term(left, right, i);
    }
    sum = block_sum(shared_memory<Reduction>(), sum);
    if (threadIdx.x == 0) *global_pointer<float>(p.sum) = float(sum);
}

template <typename T>
__device__ __forceinline__ void inner_product(const SumParams& p) {
    sum_all<T>(p, [](const float (&x)[VECTOR], const float (&w)[VECTOR], uint64_t) {
        double sum = 0.0;
        for (uint32_t j = 0; j < VECTOR; j++) sum += double(x[j]) * double(w[j]);
        return sum;
    });
}

template <typename T>
__device__ __forceinline__ void squared_error(const SumParams& p) {
    float* differences = global_pointer<float>(p.differences);             // (len)
    bool vectors = vector_aligned(differences);
    sum_all<T>(p, [=, &p](float (&x)[VECTOR], const float (&targets)[VECTOR], uint64_t start) {
        double sum = 0.0;
        for (uint32_t j = 0; j < VECTOR; j++) {
            x[j] -= targets[j];
            sum += double(x[j]) * double(x[j]);
        }
        store_up_to(differences, start, p.len, vectors, x);
        return sum;
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(SUM_THREADS) inner_product_f32(const __grid_constant__ SumParams p) { inner_product<float>(p); }
extern "C" __global__ void __launch_bounds__(SUM_THREADS) inner_product_bf16(const __grid_constant__ SumParams p) { inner_product<bf16>(p); }
extern "C" __global__ void __launch_bounds__(SUM_THREADS) squared_error_f32(const __grid_constant__ SumParams p) { squared_error<float>(p); }
extern "C" __global__ void __launch_bounds__(SUM_THREADS) squared_error_bf16(const __grid_constant__ SumParams p) { squared_error<bf16>(p); }
