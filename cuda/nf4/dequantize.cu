// x = codebook[code] absmax, in one pass with the second quantization of absmax undone on the way.
//
// A thread reads the codes of 16 bytes of x at a time, so that a warp writes 512 contiguous bytes at once. The product is f32,
// rounded once to the type of x: the bits of the CPU implementation. Bound by memory: 2.5 bytes for each element in bf16.
#include "nf4/weight.cuh"

namespace {

template <typename T>
__device__ __forceinline__ void dequantize(const Nf4DequantizeParams& p) {
    auto& codebook = shared_memory<Nf4Codebook>();
    codebook.fill<NF4_DEQUANTIZE_THREADS>(p.codebook);
    __syncthreads();
    T* out = global_pointer<T>(p.out);
    bool whole_chunks = p.first % CHUNK<T> == 0 && codes_aligned<CHUNK<T>>(p.weight) && p.out % 16 == 0;
    uint64_t block = uint64_t(NF4_DEQUANTIZE_ELEMENTS) * blockIdx.x;
#pragma unroll 4
    for (uint32_t i = 0; i < NF4_DEQUANTIZE_ELEMENTS; i += CHUNK<T> * NF4_DEQUANTIZE_THREADS) {
        uint64_t at = block + i + CHUNK<T> * threadIdx.x, element = p.first + at;
        if (whole_chunks && at + CHUNK<T> <= p.len) {
            float values[CHUNK<T>];
            uint32_t codes = load_codes<CHUNK<T>>(p.weight, element);
            decode(p.weight, codebook, codes, scale_of(p.weight, load_scale(p.weight, element)), values);
            store_chunk(out + at, values);
        } else {
            for (uint32_t j = 0; j < CHUNK<T> && at + j < p.len; j++)
                out[at + j] = round_to<T>(nf4_element(p.weight, codebook, element + j));
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NF4_DEQUANTIZE_THREADS) nf4_dequantize_f32(const __grid_constant__ Nf4DequantizeParams p) { dequantize<float>(p); }
extern "C" __global__ void __launch_bounds__(NF4_DEQUANTIZE_THREADS) nf4_dequantize_bf16(const __grid_constant__ Nf4DequantizeParams p) { dequantize<bf16>(p); }
