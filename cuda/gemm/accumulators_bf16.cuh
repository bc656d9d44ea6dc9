// Sums of products of bf16: tensor cores, f32 sums.
#pragma once
#include "common/mma.cuh"
#include "gemm/accumulators.cuh"

template <typename Tile>
struct Accumulators<bf16, Tile> {
    static constexpr uint32_t ROWS = Tile::M / Tile::WARPS_M, COLUMNS = Tile::N / Tile::WARPS_N;  // of a warp
    static constexpr uint32_t TILES_M = ROWS / 16, TILES_N = COLUMNS / 8;
    static constexpr uint32_t COUNT = 4 * TILES_M * TILES_N, RUN = 2;
    static constexpr uint32_t K = Tile::template K<bf16>;

    float sums[TILES_M][TILES_N][4] = {};

    /** Adds the product of a stage. */
    template <bool A_ALONG, bool B_ALONG>
    __device__ __forceinline__ void add(Stage<bf16, Tile>& stage) {
        multiply<A_ALONG, B_ALONG>(stage, [&](uint32_t i, uint32_t j, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
            mma_m16n8k16(sums[i][j], a, b);
        });
    }

    /** Adds the product of a stage where the mask says so. */
    template <bool A_ALONG, bool B_ALONG>
    __device__ __forceinline__ void add_masked(Stage<bf16, Tile>& stage, const SumMask<COUNT>& mask) {
        multiply<A_ALONG, B_ALONG>(stage, [&](uint32_t i, uint32_t j, const uint32_t (&a)[4], const uint32_t (&b)[2]) {
            float product[4] = {};
            mma_m16n8k16(product, a, b);
#pragma unroll
            for (uint32_t e = 0; e < 4; e++) sums[i][j][e] = mask.add(4 * (TILES_N * i + j) + e, sums[i][j][e], product[e]);
        });
    }

    /** Every run of two sums. */
    template <typename Body>
    __device__ __forceinline__ void for_each_run(Body body) {
        uint32_t row = first_row() + lane_id() / 4, column = first_column() + lane_id() % 4 * 2;
#pragma unroll
        for (uint32_t i = 0; i < TILES_M; i++) {
#pragma unroll
            for (uint32_t j = 0; j < TILES_N; j++) {
                body(4 * (TILES_N * i + j), row + 16 * i, column + 8 * j, &sums[i][j][0]);
                body(4 * (TILES_N * i + j) + 2, row + 16 * i + 8, column + 8 * j, &sums[i][j][2]);
            }
        }
    }

   private:
    __device__ __forceinline__ static uint32_t first_row() { return warp_id() / Tile::WARPS_N * ROWS; }
    __device__ __forceinline__ static uint32_t first_column() { return warp_id() % Tile::WARPS_N * COLUMNS; }

    /** Loads 16 lines by 16 depths as four 8 x 8 matrices. A lane is told of which half of lines and of depths its row is. */
    template <bool ALONG, uint32_t LINES>
    __device__ __forceinline__ static void load(uint32_t (&registers)[4], OperandTile<bf16, LINES, K>& tile, uint32_t line,
                                                uint32_t depth, uint32_t line_half, uint32_t depth_half) {
        uint32_t row = lane_id() % 8;
        line += 8 * line_half + (ALONG ? row : 0);
        depth += 8 * depth_half + (ALONG ? 0 : row);
        if constexpr (ALONG) {
            load_matrix_x4(registers, tile.template chunk<true>(line, depth));
        } else {
            load_matrix_x4_transposed(registers, tile.template chunk<false>(line, depth));
        }
    }

    /** Calls `body(i, j, a, b)` for each product of fragments. */
    template <bool A_ALONG, bool B_ALONG, typename Body>
    __device__ __forceinline__ static void multiply(Stage<bf16, Tile>& stage, Body body) {
        uint32_t low = lane_id() / 8 % 2, high = lane_id() / 16;
#pragma unroll
        for (uint32_t depth = 0; depth < K; depth += 16) {
            uint32_t a[TILES_M][4], b[TILES_N / 2][4];
#pragma unroll
            for (uint32_t i = 0; i < TILES_M; i++)
                load<A_ALONG>(a[i], stage.a, first_row() + 16 * i, depth, low, high);
#pragma unroll
            for (uint32_t j = 0; j < TILES_N / 2; j++)
                load<B_ALONG>(b[j], stage.b, first_column() + 16 * j, depth, high, low);
#pragma unroll
            for (uint32_t i = 0; i < TILES_M; i++) {
#pragma unroll
                for (uint32_t j = 0; j < TILES_N; j++) {
                    uint32_t fragment[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    body(i, j, a[i], fragment);
                }
            }
        }
    }
};
