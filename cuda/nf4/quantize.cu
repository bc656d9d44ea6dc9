// absmax = max |x| of a block, code = the number of thresholds below x / absmax.
//
// A thread quantizes 16 neighbours, and threads of one block exchange their largest magnitude. Every operation is rounded as on
// the CPU, whose codes these are: a whole block is multiplied by the reciprocal of absmax, a short last one divided by it. Bound
// by memory: one read of x, and half a byte and a share of absmax written for each element.
#include "common/vector.cuh"
#include "nf4/params.h"

namespace {

constexpr uint32_t OWN = NF4_QUANTIZE_ELEMENTS / NF4_QUANTIZE_THREADS;

struct Shared {
    uint32_t warps[NF4_QUANTIZE_THREADS / WARP];
};
static_assert(sizeof(Shared) == NF4_QUANTIZE_SHARED_BYTES, "the launch gives what a block uses");

/** The largest value among `threads` neighbours, a power of two from 2 to all. */
__device__ __forceinline__ uint32_t group_max(Shared& shared, uint32_t value, uint32_t threads) {
    for (uint32_t lanes = 1; lanes < min(threads, WARP); lanes *= 2)
        value = max(value, __shfl_xor_sync(ALL_LANES, value, lanes));
    if (threads <= WARP) return value;
    if (lane_id() == 0) shared.warps[warp_id()] = value;
    __syncthreads();
    uint32_t warps = threads / WARP, first = warp_id() / warps * warps;
    for (uint32_t i = 0; i < warps; i++) value = max(value, shared.warps[first + i]);
    return value;
}

/** NaN is above all thresholds: code 15. */
__device__ __forceinline__ uint32_t code_of(const Nf4QuantizeParams& p, float x) {
    uint32_t code = 15;
#pragma unroll
    for (uint32_t i = 0; i < 15; i++) code -= x <= p.thresholds[i];
    return code;
}

template <typename T>
__device__ __forceinline__ void quantize(const Nf4QuantizeParams& p) {
    const T* x = global_pointer<const T>(p.x);
    uint8_t* packed = global_pointer<uint8_t>(p.packed);
    uint64_t first = uint64_t(NF4_QUANTIZE_ELEMENTS) * blockIdx.x + OWN * threadIdx.x;

    bool all = first + OWN <= p.num_elements;
    float values[OWN] = {};
    if (all && p.x % 16 == 0) {
#pragma unroll
        for (uint32_t i = 0; i < OWN; i += CHUNK<T>) {
            float chunk[CHUNK<T>];
            load_chunk(x + first + i, chunk);
            for (uint32_t j = 0; j < CHUNK<T>; j++) values[i + j] = chunk[j];
        }
    } else {
        for (uint32_t i = 0; i < OWN; i++) values[i] = first + i < p.num_elements ? to_float(x[first + i]) : 0.0f;
    }

    // Without their sign, bit patterns ascend as the numbers do, and NaN is above all.
    uint32_t largest = 0;
    for (float value : values) largest = max(largest, __float_as_uint(value) & 0x7fffffffu);
    float absmax = __uint_as_float(group_max(shared_memory<Shared>(), largest, p.block_size / OWN));
    // This way round, NaN stays NaN.
    float divisor = absmax < p.smallest ? p.smallest : absmax;
    uint64_t block = first / p.block_size;
    bool whole = (block + 1) * p.block_size <= p.num_elements;
    float factor = __fdiv_rn(1.0f, divisor);

    uint32_t words[OWN / 8] = {};
#pragma unroll
    for (uint32_t i = 0; i < OWN; i++) {
        float scaled = whole ? __fmul_rn(values[i], factor) : __fdiv_rn(values[i], divisor);
        // An odd last byte is filled up with the code of 0.
        uint32_t code = code_of(p, first + i < p.num_elements ? scaled : 0.0f);
        words[i / 8] |= code << (i % 2 ? 4 * (i % 8 - 1) : 4 * (i % 8 + 1));
    }
    if (all && p.packed % 8 == 0) {
        struct alignas(8) Words {
            uint32_t word[OWN / 8];
        };
        *reinterpret_cast<Words*>(packed + first / 2) = {{words[0], words[1]}};
    } else {
        for (uint32_t i = 0; i < OWN && first + i < p.num_elements; i += 2)
            packed[(first + i) / 2] = uint8_t(words[i / 8] >> 4 * (i % 8));
    }
    if (first < p.num_elements && first % p.block_size == 0)
        global_pointer<float>(p.absmax)[block] = whole ? absmax : divisor;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NF4_QUANTIZE_THREADS) nf4_quantize_f32(const __grid_constant__ Nf4QuantizeParams p) { quantize<float>(p); }
extern "C" __global__ void __launch_bounds__(NF4_QUANTIZE_THREADS) nf4_quantize_bf16(const __grid_constant__ Nf4QuantizeParams p) { quantize<bf16>(p); }
