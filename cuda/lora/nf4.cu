// The two products with base weights in NF4, dequantized on their way to shared memory (nf4/operand.cuh): QLoRA.
//
// y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias), and the gradient of x. Projections whose weight is dense,
// `[out_features, in_features]`, may be among them. The low-rank products beside these are those of forward.cu and backward.cu.
#include "lora/forward.cuh"
#include "lora/grad_x.cuh"
#include "nf4/operand.cuh"

namespace {

template <typename T>
struct QuantizedWeights {
    using Element = T;
    using Lines = WeightOperand<T>;
    static constexpr Layout FORWARD = Layout::ALONG, BACKWARD = Layout::ACROSS;
    struct Memory {
        TileMemory<T, SquareTile> tile;
        Nf4Codebook codebook;
    };
    static_assert(sizeof(Memory) == LORA_NF4_SHARED_BYTES, "the launch gives what a block uses");

    const Nf4Codebook& codebook;

    __device__ __forceinline__ QuantizedWeights(const LoraParams& p, Memory& memory) : codebook(memory.codebook) {
        memory.codebook.template fill<LORA_THREADS>(p.codebook);
        __syncthreads();
    }
    __device__ __forceinline__ static TileMemory<T, SquareTile>& tile(Memory& memory) { return memory.tile; }
    __device__ __forceinline__ Lines dense(const LoraProjection& q, const Operand<T>& lines) const {
        return {lines, q.quantized, codebook};
    }
    __device__ __forceinline__ Lines base(const LoraProjection& q, uint64_t stride, uint64_t first, uint64_t count,
                                          bool along) const {
        if (q.quantized.packed) return {q.quantized, codebook, stride, first, count, along};
        return {Operand<T>(q.weight, stride, first, count, along), q.quantized, codebook};
    }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_nf4_f32(const __grid_constant__ LoraParams p) { forward<QuantizedWeights<float>>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_nf4_bf16(const __grid_constant__ LoraParams p) { forward<QuantizedWeights<bf16>>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_grad_x_nf4_f32(const __grid_constant__ LoraParams p) { grad_x<QuantizedWeights<float>>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_grad_x_nf4_bf16(const __grid_constant__ LoraParams p) { grad_x<QuantizedWeights<bf16>>(p); }
