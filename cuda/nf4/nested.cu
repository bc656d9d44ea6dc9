// Double quantization: absmax - offset in 8 bits, in blocks of 256 with a largest magnitude each; offset is the mean.
//
// The mean is a sum in f64 of 256 values at a time in order, and of these sums in the same way, as on the CPU: the same bits.
// There is one value for each 64 weights or so: time hardly matters.
#include "common/dynamic8.cuh"
#include "common/reduce.cuh"
#include "nf4/params.h"

namespace {

using Reduction = BlockReduction<float, NF4_NESTED_THREADS>;
static_assert(sizeof(Reduction) == NF4_NESTED_SHARED_BYTES, "the launch gives what the reduction uses");

template <typename T>
__device__ __forceinline__ void add_up(const Nf4SumParams& p) {
    const T* values = global_pointer<const T>(p.values);
    uint64_t index = uint64_t(NF4_SUM_THREADS) * blockIdx.x + threadIdx.x, first = index * NF4_SUM_VALUES;
    if (first >= p.len) return;
    uint64_t end = min(first + NF4_SUM_VALUES, p.len);
    double sum = 0.0;
#pragma unroll 8
    for (uint64_t i = first; i < end; i++) sum += double(values[i]);
    global_pointer<double>(p.sums)[index] = sum;
    if (p.mean_of) *global_pointer<float>(p.mean) = float(sum / double(p.mean_of));
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NF4_SUM_THREADS) nf4_sum_f32(const __grid_constant__ Nf4SumParams p) { add_up<float>(p); }
extern "C" __global__ void __launch_bounds__(NF4_SUM_THREADS) nf4_sum_f64(const __grid_constant__ Nf4SumParams p) { add_up<double>(p); }

// One thread for each value of a nested block.
extern "C" __global__ void __launch_bounds__(NF4_NESTED_THREADS) nf4_nested_f32(const __grid_constant__ Nf4NestedParams p) {
    uint64_t index = uint64_t(NF4_NESTED_THREADS) * blockIdx.x + threadIdx.x;
    float value = 0.0f;
    if (index < p.len)
        value = __fsub_rn(global_pointer<const float>(p.absmax)[index], *global_pointer<const float>(p.offset));
    // NaN is passed over.
    float largest = block_max(shared_memory<Reduction>(), fmaxf(0.0f, fabsf(value)));
    if (threadIdx.x == 0) global_pointer<float>(p.nested_absmax)[blockIdx.x] = largest;
    if (index >= p.len) return;
    float factor = __fdiv_rn(1.0f, largest);
    const float* map = global_pointer<const float>(p.map);
    global_pointer<uint8_t>(p.codes)[index] = largest == 0.0f ? 0 : dynamic8_code(map, __fmul_rn(value, factor));
}
