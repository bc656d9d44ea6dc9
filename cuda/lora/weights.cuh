// Base weights that are stored element by element.
//
// What a kernel is told of its weights is a type with these members:
//   Element, Lines, Memory       of activations; an operand's lines; shared memory of a block
//   FORWARD, BACKWARD            the layouts of weights in the two products
//   tile(memory)                 the stages and the result in it
//   dense(projection, lines)     lines of an adapter's matrix as `Lines`
//   base(projection, ...)        lines of the projection's weight
#pragma once
#include "gemm/operand.cuh"
#include "lora/params.h"

static_assert(SquareTile::M == LORA_TILE && SquareTile::N == LORA_TILE && SquareTile::THREADS == LORA_THREADS);
static_assert(sizeof(TileMemory<float, SquareTile>) == LORA_SHARED_BYTES);
static_assert(sizeof(TileMemory<bf16, SquareTile>) == LORA_SHARED_BYTES);

template <typename T>
struct DenseWeights {
    using Element = T;
    using Lines = Operand<T>;
    using Memory = TileMemory<T, SquareTile>;
    static constexpr Layout FORWARD = Layout::EITHER, BACKWARD = Layout::EITHER;

    __device__ __forceinline__ DenseWeights(const LoraParams&, Memory&) {}
    __device__ __forceinline__ static TileMemory<T, SquareTile>& tile(Memory& memory) { return memory; }
    __device__ __forceinline__ static Lines dense(const LoraProjection&, const Operand<T>& lines) { return lines; }
    __device__ __forceinline__ static Lines base(const LoraProjection& q, uint64_t stride, uint64_t first, uint64_t count,
                                                 bool along) {
        return {q.weight, stride, first, count, along};
    }
};
