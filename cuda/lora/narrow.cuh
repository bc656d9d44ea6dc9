// Products with a side as short as the rank: bound by one read of their long operand.
//
// Each block sums a tile of 64 x 64 for one projection, the rank padded with zeroes inside the tile, over one slab of the
// depth. Blocks of all projections for one part of x follow each other, so that memory is read once and the L2 cache serves
// the rest. A sum in several slabs goes to `partials`, which the launch adds up in order.
#pragma once
#include "gemm/output.cuh"
#include "gemm/product.cuh"
#include "lora/dropout.cuh"

static_assert(NarrowTile::M == LORA_NARROW_TILE && NarrowTile::N == LORA_NARROW_TILE);
static_assert(NarrowTile::THREADS == LORA_NARROW_THREADS);
static_assert(sizeof(TileMemory<float, NarrowTile>) == LORA_NARROW_SHARED_BYTES);
static_assert(sizeof(TileMemory<bf16, NarrowTile>) == LORA_NARROW_SHARED_BYTES);

/** The operand that dropout masks. */
enum class Dropped { NONE, A, B };

/** The one term of a narrow product. */
template <typename T, Layout A_LAYOUT, Layout B_LAYOUT, Dropped DROPPED>
struct NarrowTerm : PlainTerms {
    static constexpr Layout A = A_LAYOUT, B = B_LAYOUT;
    static constexpr bool MASKS_OPERANDS = DROPPED != Dropped::NONE;
    Term<T> term;
    const LoraDropout& dropout;
    const T* x;

    __device__ __forceinline__ static constexpr uint32_t count() { return 1; }
    __device__ __forceinline__ const Term<T>& operator()(uint32_t) const { return term; }

    __device__ __forceinline__ void mask_operands(uint32_t, Stage<T, NarrowTile>& stage, uint64_t depth) const {
        if (dropout.threshold == 0) return;
        if constexpr (DROPPED == Dropped::A) {
            drop<A == Layout::ALONG, NarrowTile::THREADS>(stage.a, term.a, depth, term.depth, dropout, x);
        } else {
            drop<B == Layout::ALONG, NarrowTile::THREADS>(stage.b, term.b, depth, term.depth, dropout, x);
        }
    }
};

/** A matrix as an operand: where its lines begin and from where to where a stride leads. */
struct Lines {
    uint64_t address, stride;
};

/** `A B`, `(m, n)`, over the depth `k`. */
struct NarrowProduct {
    uint64_t m, n, k;
    Lines a, b;
};

/** This block's projection. */
__device__ __forceinline__ const LoraProjection& narrow_projection(const LoraParams& p) {
    return p.projections[blockIdx.x % p.count];
}

/** Computes this block's tile and slab of `product` for its projection's result, of elements `C`. */
template <typename T, typename C, Layout A, Layout B, Dropped DROPPED>
__device__ __forceinline__ void narrow_product(const LoraParams& p, const NarrowProduct& product) {
    const LoraProjection& projection = narrow_projection(p);
    auto& memory = shared_memory<TileMemory<T, NarrowTile>>();
    uint32_t index = blockIdx.x / p.count;
    uint64_t depth = blockIdx.y * p.slab_depth;
    // Projections of one launch need not have as many tiles or slabs.
    if (index >= TileOrigin<NarrowTile>::count(product.m, product.n) || (depth > 0 && depth >= product.k)) return;
    TileOrigin<NarrowTile> tile(index, product.m, product.n);
    auto operand = [&](const Lines& lines, uint64_t first, uint64_t count, bool along) {
        return Operand<T>(lines.address, lines.stride, first, count, along).from_depth(depth);
    };
    Operand<T> a = operand(product.a, tile.row, product.m, A == Layout::ALONG);
    Operand<T> b = operand(product.b, tile.column, product.n, B == Layout::ALONG);
    Term<T> term = {a, b, min(product.k - depth, p.slab_depth)};
    NarrowTerm<T, A, B, DROPPED> terms{{}, term, projection.dropout, global_pointer<const T>(p.x)};
    Accumulators<T, NarrowTile> sums;
    add_products(sums, memory.stages, terms);
    auto write = [&](const auto& c) {
        for_each_vector(sums, memory.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
            c.write(tile.row + row, tile.column + column, values);
        });
    };
    uint64_t rows = product.m, columns = product.n;
    if (projection.partials) {
        float* partials = global_pointer<float>(projection.partials) + blockIdx.y * rows * columns;
        write(Output<float, T>{partials, columns, rows, columns, nullptr, 1.0f, false});
    } else {
        C* result = global_pointer<C>(projection.result);
        write(Output<C, T>{result, columns, rows, columns, nullptr, projection.alpha, projection.add != 0});
    }
}
