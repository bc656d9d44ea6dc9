// The gradient of x, over whatever the base weights are stored as.
#pragma once
#include "gemm/output.cuh"
#include "gemm/product.cuh"
#include "lora/dropout.cuh"
#include "lora/weights.cuh"

/** dS A of every projection, then dY W of every projection. */
template <typename Weights>
struct GradXTerms : PlainTerms {
    using T = typename Weights::Element;
    static constexpr Layout A = Layout::ALONG, B = Weights::BACKWARD;
    static constexpr bool MASKS_SUMS = true;
    const LoraParams& p;
    const Weights& weights;
    uint64_t row, column;

    __device__ __forceinline__ uint32_t count() const { return 2 * p.count; }
    __device__ __forceinline__ Term<T, typename Weights::Lines> operator()(uint32_t term) const {
        if (term < p.count) {
            const LoraProjection& q = p.projections[term];
            Operand<T> grad_s(q.grad_s, q.rank, row, p.num_tokens, true);
            Operand<T> lora_a(q.lora_a, p.in_features, column, p.in_features, false);
            return {grad_s, weights.dense(q, lora_a), q.rank};
        }
        const LoraProjection& q = p.projections[term - p.count];
        uint64_t stride = q.weight_transposed ? q.out_features : p.in_features;
        Operand<T> grad_y(q.y, q.out_features, row, p.num_tokens, true);
        return {grad_y, weights.base(q, stride, column, p.in_features, q.weight_transposed), q.out_features};
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

/** This block's tile of the gradient of x. */
template <typename Weights>
__device__ __forceinline__ void grad_x(const LoraParams& p) {
    using T = typename Weights::Element;
    auto& memory = shared_memory<typename Weights::Memory>();
    Weights weights(p, memory);
    TileOrigin<SquareTile> tile(blockIdx.x, p.num_tokens, p.in_features);
    Accumulators<T, SquareTile> sums;
    TileMemory<T, SquareTile>& own = Weights::tile(memory);
    add_products(sums, own.stages, GradXTerms<Weights>{{}, p, weights, tile.row, tile.column});
    T* data = global_pointer<T>(p.grad_x);
    Output<T, T> grad_x{data, p.in_features, p.num_tokens, p.in_features, nullptr, 1.0f, p.add != 0};
    for_each_vector(sums, own.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
        grad_x.write(tile.row + row, tile.column + column, values);
    });
}
