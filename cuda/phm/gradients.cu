// The gradients of the parts of W = (sum_i A_i (x) L_i R_i)^T.
//
//   rule:      dA_i[a, b] = sum over q, p of dW[b Q + q, a P + p] M_i[p, q]
//   products:  dM_i[p, q] = sum over a, b of dW[b Q + q, a P + p] A_i[a, b]
//   left:      dL_i[p, r] = sum over q of dM_i[p, q] R_i[r, q]
//   right:     dR_i[r, q] = sum over p of dM_i[p, q] L_i[p, r]
//
// A block takes an element of the rule, a warp one of the right factor, a thread one of the others. Sums are f32, in an order
// that depends on the sizes alone.
#include "common/reduce.cuh"
#include "phm/params.h"

namespace {

using Reduction = BlockReduction<float, PHM_THREADS>;
static_assert(sizeof(Reduction) == PHM_SHARED_BYTES, "the launch gives what the reduction uses");

__device__ __forceinline__ uint64_t element() { return uint64_t(PHM_THREADS) * blockIdx.x + threadIdx.x; }

/** Writes or adds element `index` of the gradient. */
__device__ __forceinline__ void write(const PhmParams& p, uint64_t index, float sum) {
    float* gradient = global_pointer<float>(p.gradient) + index;
    *gradient = p.add ? *gradient + sum : sum;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_rule_gradient_f32(const __grid_constant__ PhmParams p) {
    const float* products = global_pointer<const float>(p.products);
    const float* weight = global_pointer<const float>(p.weight);
    uint64_t i = blockIdx.x / p.n / p.n, a = blockIdx.x / p.n % p.n, b = blockIdx.x % p.n, columns = uint64_t(p.n) * p.p;
    float sum = 0.0f;
    for (uint64_t index = threadIdx.x; index < uint64_t(p.q) * p.p; index += PHM_THREADS) {
        uint64_t q = index / p.p, row = index % p.p;
        sum += weight[(b * p.q + q) * columns + a * p.p + row] * products[i * p.q * p.p + index];
    }
    sum = block_sum(shared_memory<Reduction>(), sum);
    if (threadIdx.x == 0) write(p, blockIdx.x, sum);
}

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_product_gradient_f32(const __grid_constant__ PhmParams p) {
    const float* rule = global_pointer<const float>(p.rule);
    const float* weight = global_pointer<const float>(p.weight);
    uint64_t index = element(), columns = uint64_t(p.n) * p.p;
    if (index >= uint64_t(p.n) * p.q * p.p) return;
    uint64_t row = index % p.p, q = index / p.p % p.q, i = index / p.p / p.q;
    float sum = 0.0f;
    for (uint64_t a = 0; a < p.n; a++) {
        for (uint64_t b = 0; b < p.n; b++) {
            sum += rule[(i * p.n + a) * p.n + b] * weight[(b * p.q + q) * columns + a * p.p + row];
        }
    }
    global_pointer<float>(p.products)[index] = sum;
}

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_left_gradient_f32(const __grid_constant__ PhmParams p) {
    const float* right = global_pointer<const float>(p.right);
    const float* products = global_pointer<const float>(p.products);
    uint64_t index = element();
    if (index >= uint64_t(p.n) * p.rank * p.p) return;
    // Neighbours along p, as the products lie.
    uint64_t row = index % p.p, r = index / p.p % p.rank, i = index / p.p / p.rank;
    float sum = 0.0f;
    for (uint64_t q = 0; q < p.q; q++) sum += products[(i * p.q + q) * p.p + row] * right[(i * p.rank + r) * p.q + q];
    write(p, (i * p.p + row) * p.rank + r, sum);
}

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_right_gradient_f32(const __grid_constant__ PhmParams p) {
    const float* left = global_pointer<const float>(p.left);
    const float* products = global_pointer<const float>(p.products);
    uint64_t index = uint64_t(PHM_THREADS / WARP) * blockIdx.x + warp_id();
    if (index >= uint64_t(p.n) * p.rank * p.q) return;
    uint64_t q = index % p.q, r = index / p.q % p.rank, i = index / p.q / p.rank;
    float sum = 0.0f;
    for (uint64_t row = lane_id(); row < p.p; row += WARP) {
        sum += products[(i * p.q + q) * p.p + row] * left[(i * p.p + row) * p.rank + r];
    }
    sum = warp_sum(sum);
    if (lane_id() == 0) write(p, index, sum);
}
