// Sums of products of f32: fused multiply-adds in the order of the depth, by the ordinary units.
//
// Tensor cores have no f32 operands. Three products of tf32 pieces would be faster, but drop the product of the low pieces
// and truncate their sums, so that no bound like the CPU's holds for them. f32 is the format for exactness here; for speed there
// is bf16.
#pragma once
#include "gemm/accumulators.cuh"

template <typename Tile>
struct Accumulators<float, Tile> {
    /** A thread owns groups of four neighbouring rows and columns. */
    static constexpr uint32_t THREADS_N = 16, THREADS_M = Tile::THREADS / THREADS_N;
    static constexpr uint32_t ROWS = Tile::M / THREADS_M, COLUMNS = Tile::N / THREADS_N;
    static constexpr uint32_t COUNT = ROWS * COLUMNS, RUN = 4;
    static constexpr uint32_t K = Tile::template K<float>;

    float sums[ROWS][COLUMNS] = {};

    /** Adds the product of a stage. */
    template <bool A_ALONG, bool B_ALONG>
    __device__ __forceinline__ void add(Stage<float, Tile>& stage) {
#pragma unroll
        for (uint32_t depth = 0; depth < K; depth += 4) add_four<A_ALONG, B_ALONG>(stage, depth, sums);
    }

    /** Adds the product of a stage where the mask says so. */
    template <bool A_ALONG, bool B_ALONG>
    __device__ __forceinline__ void add_masked(Stage<float, Tile>& stage, const SumMask<COUNT>& mask) {
        float products[ROWS][COLUMNS] = {};
        for (uint32_t depth = 0; depth < K; depth += 4) add_four<A_ALONG, B_ALONG>(stage, depth, products);
#pragma unroll
        for (uint32_t i = 0; i < ROWS; i++) {
#pragma unroll
            for (uint32_t j = 0; j < COLUMNS; j++) sums[i][j] = mask.add(COLUMNS * i + j, sums[i][j], products[i][j]);
        }
    }

    /** Every run of four sums. */
    template <typename Body>
    __device__ __forceinline__ void for_each_run(Body body) {
#pragma unroll
        for (uint32_t i = 0; i < ROWS; i++) {
#pragma unroll
            for (uint32_t j = 0; j < COLUMNS; j += RUN)
                body(COLUMNS * i + j, line<THREADS_M>(threadIdx.x / THREADS_N, i),
                     line<THREADS_N>(threadIdx.x % THREADS_N, j), &sums[i][j]);
        }
    }

   private:
    /** The line that `thread` of `THREADS` owns as its `i`th. */
    template <uint32_t THREADS>
    __device__ __forceinline__ static uint32_t line(uint32_t thread, uint32_t i) {
        return 4 * (THREADS * (i / 4) + thread) + i % 4;
    }

    /** Four depths of this thread's lines. */
    template <bool ALONG, uint32_t THREADS, uint32_t COUNT, uint32_t LINES>
    __device__ __forceinline__ static void load(float (&values)[COUNT][4], OperandTile<float, LINES, K>& tile,
                                                uint32_t thread, uint32_t depth) {
#pragma unroll
        for (uint32_t i = 0; i < COUNT; i += 4) {
#pragma unroll
            for (uint32_t j = 0; j < 4; j++) {
                if constexpr (ALONG) {
                    load_vector(tile.template chunk<true>(line<THREADS>(thread, i + j), depth), values[i + j]);
                } else {
                    float lines[4];
                    load_vector(tile.template chunk<false>(line<THREADS>(thread, i), depth + j), lines);
#pragma unroll
                    for (uint32_t l = 0; l < 4; l++) values[i + l][j] = lines[l];
                }
            }
        }
    }

    template <bool A_ALONG, bool B_ALONG>
    __device__ __forceinline__ static void add_four(Stage<float, Tile>& stage, uint32_t depth, float (&to)[ROWS][COLUMNS]) {
        float a[ROWS][4], b[COLUMNS][4];
        load<A_ALONG, THREADS_M>(a, stage.a, threadIdx.x / THREADS_N, depth);
        load<B_ALONG, THREADS_N>(b, stage.b, threadIdx.x % THREADS_N, depth);
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
#pragma unroll
            for (uint32_t i = 0; i < ROWS; i++) {
#pragma unroll
                for (uint32_t j = 0; j < COLUMNS; j++) to[i][j] = fmaf(a[i][k], b[j][k], to[i][j]);
            }
        }
    }
};
