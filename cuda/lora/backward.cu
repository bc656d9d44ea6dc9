// Gradients of the projections of x, from the gradients of their outputs. W is frozen and has none.
//
//   dS = scaling dY B       dX = sum over projections of mask / (1 - p) (dS A) + dY W
//   dA = dS^T drop(x)       dB = dY^T s
//
// `lora_grad_x` is one product over the depths of all projections, so dX is written once. The low-rank products come first;
// each is masked on its way into the sums. dY is read by three kernels: dS and dB in one pass would leave a partial dB for
// every few rows, which is more to write and read again than one more read of dY. Sums are f32; dS and dX are rounded once
// to the type of x, dA and dB stay f32.
#include "lora/grad_x.cuh"
#include "lora/narrow.cuh"

namespace {

template <typename T>
__device__ __forceinline__ void grad_s(const LoraParams& p) {
    const LoraProjection& projection = narrow_projection(p);
    NarrowProduct product = {
        .m = p.num_tokens,
        .n = projection.rank,
        .k = projection.out_features,
        .a = {projection.y, projection.out_features},   // (num_tokens, out_features)
        .b = {projection.lora_b, projection.rank},      // (out_features, rank)
    };
    narrow_product<T, T, Layout::ALONG, Layout::ACROSS, Dropped::NONE>(p, product);
}

template <typename T>
__device__ __forceinline__ void grad_a(const LoraParams& p) {
    const LoraProjection& projection = narrow_projection(p);
    NarrowProduct product = {
        .m = projection.rank,
        .n = p.in_features,
        .k = p.num_tokens,
        .a = {projection.grad_s, projection.rank},      // (num_tokens, rank), transposed
        .b = {p.x, p.in_features},                      // (num_tokens, in_features)
    };
    narrow_product<T, float, Layout::ACROSS, Layout::ACROSS, Dropped::B>(p, product);
}

template <typename T>
__device__ __forceinline__ void grad_b(const LoraParams& p) {
    const LoraProjection& projection = narrow_projection(p);
    NarrowProduct product = {
        .m = projection.out_features,
        .n = projection.rank,
        .k = p.num_tokens,
        .a = {projection.y, projection.out_features},   // (num_tokens, out_features), transposed
        .b = {projection.s, projection.rank},           // (num_tokens, rank)
    };
    narrow_product<T, float, Layout::ACROSS, Layout::ACROSS, Dropped::NONE>(p, product);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_s_f32(const __grid_constant__ LoraParams p) { grad_s<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_s_bf16(const __grid_constant__ LoraParams p) { grad_s<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_a_f32(const __grid_constant__ LoraParams p) { grad_a<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_a_bf16(const __grid_constant__ LoraParams p) { grad_a<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_b_f32(const __grid_constant__ LoraParams p) { grad_b<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_b_bf16(const __grid_constant__ LoraParams p) { grad_b<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_grad_x_f32(const __grid_constant__ LoraParams p) { grad_x<DenseWeights<float>>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS, 2) lora_grad_x_bf16(const __grid_constant__ LoraParams p) { grad_x<DenseWeights<bf16>>(p); }
