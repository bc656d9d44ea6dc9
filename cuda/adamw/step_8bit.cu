// One AdamW step over a tensor whose moments are 8-bit codes in blocks of 256 with one scale each.
//
// m = map[code] absmax; then the update of step.cu; then the new moments are codes again, of a block whose largest magnitude is
// the new absmax. With a factor of the gradients that is NaN nothing is changed. The parameter sees the moments before they are rounded to codes. A block of threads updates one block of
// codes; every operation is rounded as on the CPU: the results are the same bits. `_bf16` also writes p rounded to bf16. Bound by
// memory: 16 bytes for each parameter, 18 with the copy.
#include "adamw/update.cuh"
#include "common/bf16.cuh"
#include "common/dynamic8.cuh"
#include "common/reduce.cuh"

namespace {

struct Shared {
    float signed_map[256], unsigned_map[256];
    BlockReduction<float, ADAMW_THREADS> reduction;
};
static_assert(sizeof(Shared) == ADAMW_8BIT_SHARED_BYTES, "the launch gives what a block uses");
static_assert(ADAMW_THREADS == 256, "a thread for each value of a map");

/** Writes the code of this thread's value, if there is one, and the scale of the block. */
__device__ __forceinline__ void quantize(Shared& shared, const float* map, float value, bool there, uint8_t* codes,
                                         uint64_t index, float* absmax) {
    // NaN is passed over.
    float largest = block_max(shared.reduction, there ? fmaxf(0.0f, fabsf(value)) : 0.0f);
    if (threadIdx.x == 0) absmax[blockIdx.x] = largest;
    float factor = __fdiv_rn(1.0f, largest);
    if (there) codes[index] = largest == 0.0f ? 0 : dynamic8_code(map, __fmul_rn(value, factor));
}

template <bool SHADOW>
__device__ __forceinline__ void step_8bit(const AdamWStep8bitParams& params) {
    float grad_scale = *global_pointer<const float>(params.grad_scale);
    if (isnan(grad_scale)) return;
    auto& shared = shared_memory<Shared>();
    shared.signed_map[threadIdx.x] = global_pointer<const float>(params.signed_map)[threadIdx.x];
    shared.unsigned_map[threadIdx.x] = global_pointer<const float>(params.unsigned_map)[threadIdx.x];
    __syncthreads();
    uint8_t* exp_avg = global_pointer<uint8_t>(params.exp_avg);
    uint8_t* exp_avg_sq = global_pointer<uint8_t>(params.exp_avg_sq);
    float* exp_avg_absmax = global_pointer<float>(params.exp_avg_absmax);
    float* exp_avg_sq_absmax = global_pointer<float>(params.exp_avg_sq_absmax);

    uint64_t index = uint64_t(ADAMW_CODE_BLOCK) * blockIdx.x + threadIdx.x;
    bool there = index < params.len;
    float m = 0.0f, v = 0.0f;
    if (there) {
        float p = global_pointer<const float>(params.parameters)[index];
        m = __fmul_rn(shared.signed_map[exp_avg[index]], exp_avg_absmax[blockIdx.x]);
        v = __fmul_rn(shared.unsigned_map[exp_avg_sq[index]], exp_avg_sq_absmax[blockIdx.x]);
        update(params.rates, grad_scale, global_pointer<const float>(params.gradients)[index], p, m, v);
        global_pointer<float>(params.parameters)[index] = p;
        if (SHADOW) global_pointer<bf16>(params.shadow)[index] = round_to<bf16>(p);
    }
    // All scales have been read when the first barrier within is over.
    quantize(shared, shared.signed_map, m, there, exp_avg, index, exp_avg_absmax);
    quantize(shared, shared.unsigned_map, v, there, exp_avg_sq, index, exp_avg_sq_absmax);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_step_8bit_f32(const __grid_constant__ AdamWStep8bitParams p) { step_8bit<false>(p); }
extern "C" __global__ void __launch_bounds__(ADAMW_THREADS) adamw_step_8bit_bf16(const __grid_constant__ AdamWStep8bitParams p) { step_8bit<true>(p); }
