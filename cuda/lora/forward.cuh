// The large product of the forward pass, over whatever the base weights are stored as.
#pragma once
#include "gemm/output.cuh"
#include "gemm/product.cuh"
#include "lora/weights.cuh"

/** s B^T, then x W^T. */
template <typename Weights>
struct ForwardTerms : PlainTerms {
    using T = typename Weights::Element;
    static constexpr Layout A = Layout::ALONG, B = Weights::FORWARD;
    const LoraParams& p;
    const LoraProjection& projection;
    const Weights& weights;
    uint64_t row, column;

    __device__ __forceinline__ static constexpr uint32_t count() { return 2; }
    __device__ __forceinline__ Term<T, typename Weights::Lines> operator()(uint32_t term) const {
        const LoraProjection& q = projection;
        if (term == 0) {
            Operand<T> s(q.s, q.rank, row, p.num_tokens, true), lora_b(q.lora_b, q.rank, column, q.out_features, true);
            return {s, weights.dense(q, lora_b), q.rank};
        }
        uint64_t stride = q.weight_transposed ? q.out_features : p.in_features;
        Operand<T> x(p.x, p.in_features, row, p.num_tokens, true);
        return {x, weights.base(q, stride, column, q.out_features, !q.weight_transposed), p.in_features};
    }
};

/** This block's tile of the output of one projection. */
template <typename Weights>
__device__ __forceinline__ void forward(const LoraParams& p) {
    using T = typename Weights::Element;
    auto& memory = shared_memory<typename Weights::Memory>();
    Weights weights(p, memory);
    // The tiles of one projection follow those of the last.
    uint32_t index = blockIdx.x, which = 0;
    auto tiles = [&] { return TileOrigin<SquareTile>::count(p.num_tokens, p.projections[which].out_features); };
    for (; index >= tiles(); which++) index -= tiles();
    const LoraProjection& projection = p.projections[which];
    TileOrigin<SquareTile> tile(index, p.num_tokens, projection.out_features);
    Accumulators<T, SquareTile> sums;
    TileMemory<T, SquareTile>& own = Weights::tile(memory);
    add_products(sums, own.stages, ForwardTerms<Weights>{{}, p, projection, weights, tile.row, tile.column});
    uint64_t columns = projection.out_features;
    const T* bias = global_pointer<const T>(projection.bias);
    Output<T, T> y{global_pointer<T>(projection.y), columns, p.num_tokens, columns, bias, 1.0f, false};
    const T* lora_bias = global_pointer<const T>(projection.lora_bias);
    for_each_vector(sums, own.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
        if (lora_bias) {
            float addend[VECTOR];
            load_up_to(lora_bias, tile.column + column, columns, vector_aligned(lora_bias), addend);
            for (uint32_t i = 0; i < VECTOR; i++) values[i] += projection.scaling * addend[i];
        }
        y.write(tile.row + row, tile.column + column, values);
    });
}
