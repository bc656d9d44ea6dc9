// Gradients of the projections of x, from the gradients of their outputs. W is frozen and has none.
//
//   dS = scaling dY B       dX = sum over projections of mask / (1 - p) (dS A) + dY W
//   dA = dS^T drop(x)       dB = dY^T s
//
// `lora_grad_x` is one product over the depths of all projections, so dX is written once. The low-rank products come first;
// each is masked on its way into the sums. dY is read by three kernels: dS and dB in one pass would leave a partial dB for
// every few rows, which is more to write and read again than one more read of dY. Sums are f32; dS and dX are rounded once
// to the type of x, dA and dB stay f32.
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

/** dS A of every projection, then dY W of every projection. */
template <typename T>
struct GradXTerms : PlainTerms {
    static constexpr Layout A = Layout::ALONG, B = Layout::EITHER;
    static constexpr bool MASKS_SUMS = true;
    const LoraParams& p;
    uint64_t row, column;

    __device__ __forceinline__ uint32_t count() const { return 2 * p.count; }
    __device__ __forceinline__ Term<T> operator()(uint32_t term) const {
        if (term < p.count) {
            const LoraProjection& q = p.projections[term];
            Operand<T> grad_s(q.grad_s, q.rank, row, p.num_tokens, true);
            Operand<T> lora_a(q.lora_a, p.in_features, column, p.in_features, false);
            return {grad_s, lora_a, q.rank};
        }
        const LoraProjection& q = p.projections[term - p.count];
        uint64_t stride = q.weight_transposed ? q.out_features : p.in_features;
        Operand<T> grad_y(q.y, q.out_features, row, p.num_tokens, true);
        Operand<T> weight(q.weight, stride, column, p.in_features, q.weight_transposed);
        return {grad_y, weight, q.out_features};
    }

    __device__ __forceinline__ bool is_masked(uint32_t term) const {
        return term < p.count && p.projections[term].dropout.threshold != 0;
    }
    template <typename Sums>
    __device__ __forceinline__ SumMask<Sums::COUNT> sum_mask(uint32_t term, Sums& sums) const {
        const LoraDropout& dropout = p.projections[term].dropout;
        SumMask<Sums::COUNT> mask = {.keep = {}, .scale = dropout.scale};
        sums.for_each_run([&](uint32_t index, uint32_t i, uint32_t j, const float*) {
            mask.keep[index / 32] |= kept<Sums::RUN>(dropout, (row + i) * p.in_features + column + j) << index % 32;
        });
        return mask;
    }
};

template <typename T>
__device__ __forceinline__ void grad_x(const LoraParams& p) {
    auto& memory = shared_memory<TileMemory<T, SquareTile>>();
    TileOrigin<SquareTile> tile(blockIdx.x, p.num_tokens, p.in_features);
    Accumulators<T, SquareTile> sums;
    add_products(sums, memory.stages, GradXTerms<T>{{}, p, tile.row, tile.column});
    T* data = global_pointer<T>(p.grad_x);
    Output<T, T> grad_x{data, p.in_features, p.num_tokens, p.in_features, nullptr, 1.0f, p.add != 0};
    for_each_vector(sums, memory.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
        grad_x.write(tile.row + row, tile.column + column, values);
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_s_f32(const __grid_constant__ LoraParams p) { grad_s<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_s_bf16(const __grid_constant__ LoraParams p) { grad_s<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_a_f32(const __grid_constant__ LoraParams p) { grad_a<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_a_bf16(const __grid_constant__ LoraParams p) { grad_a<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_b_f32(const __grid_constant__ LoraParams p) { grad_b<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_grad_b_bf16(const __grid_constant__ LoraParams p) { grad_b<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_grad_x_f32(const __grid_constant__ LoraParams p) { grad_x<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS, 2) lora_grad_x_bf16(const __grid_constant__ LoraParams p) { grad_x<bf16>(p); }
