// C = alpha A B, plus a bias or what C holds, with A and B as stored or transposed; with a factor for each column, also the
// result before it.
//
// bf16 operands go through tensor cores, f32 operands through fused multiply-adds; sums are f32 and C is rounded once. Where C
// has too few tiles for a GPU, each block adds up one slab of the depth, and `gemm_sum` adds the slabs in order: the result
// depends on the sizes only.
#include "gemm/output.cuh"
#include "gemm/params.h"
#include "gemm/product.cuh"

namespace {

static_assert(SquareTile::M == GEMM_TILE && SquareTile::N == GEMM_TILE && SquareTile::THREADS == GEMM_THREADS);
static_assert(NarrowTile::M == GEMM_NARROW_TILE && NarrowTile::N == GEMM_NARROW_TILE);
static_assert(NarrowTile::THREADS == GEMM_NARROW_THREADS);
static_assert(sizeof(TileMemory<float, SquareTile>) == GEMM_SHARED_BYTES);
static_assert(sizeof(TileMemory<bf16, SquareTile>) == GEMM_SHARED_BYTES);
static_assert(sizeof(TileMemory<float, NarrowTile>) == GEMM_NARROW_SHARED_BYTES);
static_assert(sizeof(TileMemory<bf16, NarrowTile>) == GEMM_NARROW_SHARED_BYTES);

/** The one product, over the depths of one slab. */
template <typename T>
struct SlabTerm : PlainTerms {
    static constexpr Layout A = Layout::EITHER, B = Layout::EITHER;
    Term<T> term;

    __device__ __forceinline__ static constexpr uint32_t count() { return 1; }
    __device__ __forceinline__ const Term<T>& operator()(uint32_t) const { return term; }
};

template <typename T, typename Tile>
__device__ __forceinline__ void gemm(const GemmParams& p) {
    auto& memory = shared_memory<TileMemory<T, Tile>>();
    TileOrigin<Tile> tile(blockIdx.x, p.m, p.n);
    uint64_t depth = blockIdx.y * p.slab_depth;
    Operand<T> a(p.a, p.a_stride, tile.row, p.m, !p.a_transposed), b(p.b, p.b_stride, tile.column, p.n, p.b_transposed);
    SlabTerm<T> terms{{}, {a.from_depth(depth), b.from_depth(depth), min(p.k - depth, p.slab_depth)}};
    Accumulators<T, Tile> sums;
    add_products(sums, memory.stages, terms);
    auto write = [&](const auto& c) {
        for_each_vector(sums, memory.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
            c.write(tile.row + row, tile.column + column, values);
        });
    };
    const T* bias = global_pointer<const T>(p.bias);
    const float* scale = global_pointer<const float>(p.scale);
    if (p.c_wide) {
        float* c = global_pointer<float>(p.c) + blockIdx.y * p.m * p.n;
        write(Output<float, T>{c, p.c_stride, p.m, p.n, bias, p.alpha, p.add != 0, scale, global_pointer<float>(p.unscaled)});
    } else {
        T* c = global_pointer<T>(p.c);
        write(Output<T, T>{c, p.c_stride, p.m, p.n, bias, p.alpha, p.add != 0, scale, global_pointer<T>(p.unscaled)});
    }
}

template <typename C, typename T>
__device__ __forceinline__ void sum(const GemmSumParams& p) {
    Output<C, T> c{global_pointer<C>(p.c), p.c_stride, p.m, p.n, global_pointer<const T>(p.bias), p.alpha, p.add != 0,
                   global_pointer<const float>(p.scale), global_pointer<C>(p.unscaled)};
    uint64_t vectors_of_row = (p.n + VECTOR - 1) / VECTOR;
    uint64_t index = uint64_t(GEMM_SUM_THREADS) * blockIdx.x + threadIdx.x;
    uint64_t row = index / vectors_of_row, column = index % vectors_of_row * VECTOR;
    if (row >= p.m) return;
    const float* partials = global_pointer<const float>(p.partials) + row * p.n;
    bool vectors = p.n % VECTOR == 0 && vector_aligned(partials);
    float values[VECTOR] = {}, partial[VECTOR];
#pragma unroll 4
    for (uint64_t slab = 0; slab < p.slabs; slab++) {
        load_up_to(partials + slab * p.m * p.n, column, p.n, vectors, partial);
        for (uint32_t i = 0; i < VECTOR; i++) values[i] += partial[i];
    }
    c.write(row, column, values);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(GEMM_THREADS) gemm_f32(const __grid_constant__ GemmParams p) { gemm<float, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_THREADS) gemm_bf16(const __grid_constant__ GemmParams p) { gemm<bf16, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_NARROW_THREADS) gemm_narrow_f32(const __grid_constant__ GemmParams p) { gemm<float, NarrowTile>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_NARROW_THREADS) gemm_narrow_bf16(const __grid_constant__ GemmParams p) { gemm<bf16, NarrowTile>(p); }

// One thread for four neighbours of C.
extern "C" __global__ void __launch_bounds__(GEMM_SUM_THREADS) gemm_sum_f32(const __grid_constant__ GemmSumParams p) { sum<float, float>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_SUM_THREADS) gemm_sum_bf16(const __grid_constant__ GemmSumParams p) {
    p.c_wide ? sum<float, bf16>(p) : sum<bf16, bf16>(p);
}
