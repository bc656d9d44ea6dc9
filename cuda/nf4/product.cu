// C = A W^T or A W for a quantized W, plus a bias or what C holds.
//
// The product of cuda/gemm with another way for tiles of W into shared memory: see nf4/operand.cuh. Sums are f32 and C is
// rounded once. Each tile of 128 rows of A dequantizes the columns of W that it needs again, which costs registers' and shared
// memory's time but none of global memory's: with many rows a dense copy of W is cheaper, and the launch makes one.
#include "gemm/output.cuh"
#include "gemm/product.cuh"
#include "nf4/operand.cuh"

namespace {

static_assert(SquareTile::M == NF4_TILE && SquareTile::N == NF4_TILE && SquareTile::THREADS == NF4_THREADS);
static_assert(NarrowTile::M == NF4_NARROW_TILE && NarrowTile::N == NF4_NARROW_TILE);
static_assert(NarrowTile::THREADS == NF4_NARROW_THREADS);

template <typename T, typename Tile>
struct Memory {
    TileMemory<T, Tile> tile;
    Nf4Codebook codebook;
};
static_assert(sizeof(Memory<float, SquareTile>) == NF4_SHARED_BYTES);
static_assert(sizeof(Memory<bf16, SquareTile>) == NF4_SHARED_BYTES);
static_assert(sizeof(Memory<float, NarrowTile>) == NF4_NARROW_SHARED_BYTES);
static_assert(sizeof(Memory<bf16, NarrowTile>) == NF4_NARROW_SHARED_BYTES);

template <typename T, Layout WEIGHT>
struct QuantizedTerm : PlainTerms {
    static constexpr Layout A = Layout::ALONG, B = WEIGHT;
    Term<T, WeightOperand<T>> term;

    __device__ __forceinline__ static constexpr uint32_t count() { return 1; }
    __device__ __forceinline__ const Term<T, WeightOperand<T>>& operator()(uint32_t) const { return term; }
};

template <typename T, typename Tile, Layout WEIGHT>
__device__ __forceinline__ void product(const Nf4ProductParams& p) {
    auto& memory = shared_memory<Memory<T, Tile>>();
    memory.codebook.template fill<Tile::THREADS>(p.codebook);
    __syncthreads();
    TileOrigin<Tile> tile(blockIdx.x, p.m, p.n);
    Operand<T> a(p.a, p.k, tile.row, p.m, true);
    constexpr bool ALONG = WEIGHT == Layout::ALONG;
    WeightOperand<T> b(p.weight, memory.codebook, ALONG ? p.k : p.n, tile.column, p.n, ALONG);
    Accumulators<T, Tile> sums;
    add_products(sums, memory.tile.stages, QuantizedTerm<T, WEIGHT>{{}, {a, b, p.k}});
    Output<T, T> c{global_pointer<T>(p.c), p.n, p.m, p.n, global_pointer<const T>(p.bias), 1.0f, p.add != 0};
    for_each_vector(sums, memory.tile.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
        c.write(tile.row + row, tile.column + column, values);
    });
}

template <typename T, typename Tile>
__device__ __forceinline__ void linear(const Nf4ProductParams& p) {
    product<T, Tile, Layout::ALONG>(p);
}

template <typename T, typename Tile>
__device__ __forceinline__ void grad_x(const Nf4ProductParams& p) {
    product<T, Tile, Layout::ACROSS>(p);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NF4_THREADS) nf4_linear_f32(const __grid_constant__ Nf4ProductParams p) { linear<float, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_THREADS, 2) nf4_linear_bf16(const __grid_constant__ Nf4ProductParams p) { linear<bf16, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_NARROW_THREADS, 2) nf4_linear_narrow_f32(const __grid_constant__ Nf4ProductParams p) { linear<float, NarrowTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_NARROW_THREADS, 2) nf4_linear_narrow_bf16(const __grid_constant__ Nf4ProductParams p) { linear<bf16, NarrowTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_THREADS) nf4_grad_x_f32(const __grid_constant__ Nf4ProductParams p) { grad_x<float, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_THREADS, 2) nf4_grad_x_bf16(const __grid_constant__ Nf4ProductParams p) { grad_x<bf16, SquareTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_NARROW_THREADS, 2) nf4_grad_x_narrow_f32(const __grid_constant__ Nf4ProductParams p) { grad_x<float, NarrowTile>(p); }
extern "C" __global__ void __launch_bounds__(NF4_NARROW_THREADS, 2) nf4_grad_x_narrow_bf16(const __grid_constant__ Nf4ProductParams p) { grad_x<bf16, NarrowTile>(p); }
