// A quantized tensor in global memory, element by element and chunk by chunk.
//
// Every product and sum is rounded by itself, in the order of the CPU implementation: values are the same bits.
#pragma once
#include "common/vector.cuh"
#include "nf4/params.h"

/** The sixteen values, a copy for each bank of shared memory: all lanes of a warp look up different ones at once. */
struct Nf4Codebook {
    float values[16][WARP];

    /** Fills this thread's part of `THREADS`. Before it is used: `__syncthreads`. */
    template <uint32_t THREADS>
    __device__ __forceinline__ void fill(const float (&codebook)[16]) {
        for (uint32_t code = warp_id(); code < 16; code += THREADS / WARP) values[code][lane_id()] = codebook[code];
    }

    __device__ __forceinline__ float operator()(uint32_t code) const { return values[code][lane_id()]; }
};
static_assert(sizeof(Nf4Codebook) == NF4_CODEBOOK_BYTES, "launches give what a codebook takes");

/** A block's scale as it is stored: loading it waits for nothing. */
struct Nf4Scale {
    float absmax;
    uint32_t code;
};

__device__ __forceinline__ Nf4Scale load_scale(const Nf4Weight& weight, uint64_t element) {
    uint64_t block = element >> weight.block_shift;
    if (!weight.nested_absmax) return {global_pointer<const float>(weight.absmax)[block], 0};
    return {global_pointer<const float>(weight.nested_absmax)[block >> weight.nested_shift],
            global_pointer<const uint8_t>(weight.absmax)[block]};
}

/** What it stands for. */
__device__ __forceinline__ float scale_of(const Nf4Weight& weight, const Nf4Scale& scale) {
    if (!weight.nested_absmax) return scale.absmax;
    float value = __fmul_rn(global_pointer<const float>(weight.map)[scale.code], scale.absmax);
    return __fadd_rn(value, *global_pointer<const float>(weight.offset));
}

/** A value as it is used: rounded to bf16 if the weight says so. */
__device__ __forceinline__ float nf4_value(const Nf4Weight& weight, float code_value, float scale) {
    float value = __fmul_rn(code_value, scale);
    return weight.rounded ? to_float(round_to<bf16>(value)) : value;
}

/** One element. */
__device__ __forceinline__ float nf4_element(const Nf4Weight& weight, const Nf4Codebook& codebook, uint64_t element) {
    uint32_t byte = global_pointer<const uint8_t>(weight.packed)[element / 2];
    return nf4_value(weight, codebook(element % 2 ? byte & 15 : byte >> 4), scale_of(weight, load_scale(weight, element)));
}

/** Whether the codes of `COUNT` neighbours can be read at once. */
template <uint32_t COUNT>
__device__ __forceinline__ bool codes_aligned(const Nf4Weight& weight) {
    return weight.packed % (COUNT / 2) == 0;
}

/** The codes, aligned, of `COUNT` elements from `first`, a multiple of `COUNT`, on. */
template <uint32_t COUNT>
__device__ __forceinline__ uint32_t load_codes(const Nf4Weight& weight, uint64_t first) {
    static_assert(COUNT == 4 || COUNT == 8);
    const uint8_t* bytes = global_pointer<const uint8_t>(weight.packed) + first / 2;
    expect_aligned(bytes, COUNT / 2);
    if constexpr (COUNT == 4) return *reinterpret_cast<const uint16_t*>(bytes);
    return *reinterpret_cast<const uint32_t*>(bytes);
}

/** What these codes stand for. */
template <uint32_t COUNT>
__device__ __forceinline__ void decode(const Nf4Weight& weight, const Nf4Codebook& codebook, uint32_t codes, float scale,
                                       float (&values)[COUNT]) {
#pragma unroll
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t code = codes >> (i % 2 ? 4 * (i - 1) : 4 * (i + 1)) & 15;
        values[i] = nf4_value(weight, codebook(code), scale);
    }
}
