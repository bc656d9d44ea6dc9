// y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias), in two launches for all projections of x.
//
// `lora_project` reads x once for s = scaling drop(x) A^T, which is rounded to the type of x and kept for the backward pass.
// `lora_forward` multiplies [s, x] with [B, W]^T: the low-rank product is the first step or two of the depth of the large one
// (K-extension), so it costs no pass over y. Sums are f32; y is rounded once.
#include "lora/forward.cuh"
#include "lora/narrow.cuh"

namespace {

template <typename T>
__device__ __forceinline__ void project(const LoraParams& p) {
    const LoraProjection& projection = narrow_projection(p);
    NarrowProduct product = {
        .m = p.num_tokens,
        .n = projection.rank,
        .k = p.in_features,
        .a = {p.x, p.in_features},                      // (num_tokens, in_features)
        .b = {projection.lora_a, p.in_features},        // (rank, in_features), transposed
    };
    narrow_product<T, T, Layout::ALONG, Layout::ALONG, Dropped::A>(p, product);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_project_f32(const __grid_constant__ LoraParams p) { project<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_project_bf16(const __grid_constant__ LoraParams p) { project<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_f32(const __grid_constant__ LoraParams p) { forward<DenseWeights<float>>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_bf16(const __grid_constant__ LoraParams p) { forward<DenseWeights<bf16>>(p); }
