// W = (sum_i A_i (x) M_i)^T with M_i = L_i R_i.
//
//   products:  M_i^T[q, p] = sum_r L_i[p, r] R_i[r, q]
//   weight:    W[b Q + q, a P + p] = sum_i A_i[a, b] M_i[p, q]
//
// One thread for each element, neighbours along p. Sums are f32 and in order.
#include "common/device.cuh"
#include "phm/params.h"

namespace {

/** The element that this thread computes. */
__device__ __forceinline__ uint64_t element() { return uint64_t(PHM_THREADS) * blockIdx.x + threadIdx.x; }

}  // namespace

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_products_f32(const __grid_constant__ PhmParams p) {
    const float* left = global_pointer<const float>(p.left);
    const float* right = global_pointer<const float>(p.right);
    uint64_t index = element();
    if (index >= uint64_t(p.n) * p.q * p.p) return;
    uint64_t row = index % p.p, column = index / p.p % p.q, i = index / p.p / p.q;
    float sum = 0.0f;
    for (uint64_t r = 0; r < p.rank; r++) {
        sum += left[(i * p.p + row) * p.rank + r] * right[(i * p.rank + r) * p.q + column];
    }
    global_pointer<float>(p.products)[index] = sum;
}

extern "C" __global__ void __launch_bounds__(PHM_THREADS) phm_weight_f32(const __grid_constant__ PhmParams p) {
    const float* rule = global_pointer<const float>(p.rule);
    const float* products = global_pointer<const float>(p.products);
    uint64_t index = element(), columns = uint64_t(p.n) * p.p;
    if (index >= columns * p.n * p.q) return;
    uint64_t out = index / columns, in = index % columns;
    uint64_t b = out / p.q, q = out % p.q, a = in / p.p, row = in % p.p;
    float sum = 0.0f;
    for (uint64_t i = 0; i < p.n; i++) sum += rule[(i * p.n + a) * p.n + b] * products[(i * p.q + q) * p.p + row];
    global_pointer<float>(p.weight)[index] = sum;
}
