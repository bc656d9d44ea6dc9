// y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias), in two launches for all projections of x.
//
// `lora_project` reads x once for s = scaling drop(x) A^T, which is rounded to the type of x and kept for the backward pass.
// `lora_forward` multiplies [s, x] with [B, W]^T: the low-rank product is the first step or two of the depth of the large one
// (K-extension), so it costs no pass over y. Sums are f32; y is rounded once.
#include "gemm/output.cuh"
#include "lora/narrow.cuh"

namespace {

static_assert(SquareTile::M == LORA_TILE && SquareTile::N == LORA_TILE && SquareTile::THREADS == LORA_THREADS);
static_assert(sizeof(TileMemory<float, SquareTile>) == LORA_SHARED_BYTES);
static_assert(sizeof(TileMemory<bf16, SquareTile>) == LORA_SHARED_BYTES);

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

/** s B^T, then x W^T. */
template <typename T>
struct ForwardTerms : PlainTerms {
    static constexpr Layout A = Layout::ALONG, B = Layout::EITHER;
    const LoraParams& p;
    const LoraProjection& projection;
    uint64_t row, column;

    __device__ __forceinline__ static constexpr uint32_t count() { return 2; }
    __device__ __forceinline__ Term<T> operator()(uint32_t term) const {
        const LoraProjection& q = projection;
        if (term == 0) {
            Operand<T> s(q.s, q.rank, row, p.num_tokens, true), lora_b(q.lora_b, q.rank, column, q.out_features, true);
            return {s, lora_b, q.rank};
        }
        uint64_t stride = q.weight_transposed ? q.out_features : p.in_features;
        Operand<T> x(p.x, p.in_features, row, p.num_tokens, true);
        Operand<T> weight(q.weight, stride, column, q.out_features, !q.weight_transposed);
        return {x, weight, p.in_features};
    }
};

template <typename T>
__device__ __forceinline__ void forward(const LoraParams& p) {
    auto& memory = shared_memory<TileMemory<T, SquareTile>>();
    // The tiles of one projection follow those of the last.
    uint32_t index = blockIdx.x, which = 0;
    auto tiles = [&] { return TileOrigin<SquareTile>::count(p.num_tokens, p.projections[which].out_features); };
    for (; index >= tiles(); which++) index -= tiles();
    const LoraProjection& projection = p.projections[which];
    TileOrigin<SquareTile> tile(index, p.num_tokens, projection.out_features);
    Accumulators<T, SquareTile> sums;
    add_products(sums, memory.stages, ForwardTerms<T>{{}, p, projection, tile.row, tile.column});
    uint64_t columns = projection.out_features;
    const T* bias = global_pointer<const T>(projection.bias);
    Output<T, T> y{global_pointer<T>(projection.y), columns, p.num_tokens, columns, bias, 1.0f, false};
    const T* lora_bias = global_pointer<const T>(projection.lora_bias);
    for_each_vector(sums, memory.result, [&](uint32_t row, uint32_t column, float (&values)[VECTOR]) {
        if (lora_bias) {
            float addend[VECTOR];
            load_up_to(lora_bias, tile.column + column, columns, vector_aligned(lora_bias), addend);
            for (uint32_t i = 0; i < VECTOR; i++) values[i] += projection.scaling * addend[i];
        }
        y.write(tile.row + row, tile.column + column, values);
    });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_project_f32(const __grid_constant__ LoraParams p) { project<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_NARROW_THREADS, 2) lora_project_bf16(const __grid_constant__ LoraParams p) { project<bf16>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_f32(const __grid_constant__ LoraParams p) { forward<float>(p); }
extern "C" __global__ void __launch_bounds__(LORA_THREADS) lora_forward_bf16(const __grid_constant__ LoraParams p) { forward<bf16>(p); }
