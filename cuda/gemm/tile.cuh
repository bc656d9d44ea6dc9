// Tiles: the part of C that a block computes, and the parts of A and B in shared memory that it is computed from.
//
// An operand is seen as lines, rows of A or columns of B, along the depth of the product. In memory either a line is
// contiguous ("along") or the elements of one depth are ("across"), and a tile in shared memory keeps that order, so that
// copies move 16 contiguous bytes whatever the layout is.
#pragma once
#include "common/vector.cuh"

/** Rows whose chunks eight lanes read together are one apart for ldmatrix, and four where a thread owns four neighbours. */
template <typename T>
constexpr uint32_t ROW_STEP = 1;
template <>
constexpr uint32_t ROW_STEP<float> = 4;

/** Where chunk `chunk` of row `row` lies among rows of `CHUNKS`. Shared memory delivers a line of eight chunks at once: the
    chunks of one line trade places by an exclusive or, so that eight lanes that read one chunk of eight rows, each `STEP`
    behind the last, find them in eight different places. */
template <uint32_t CHUNKS, uint32_t STEP>
__device__ __forceinline__ uint32_t swizzled(uint32_t row, uint32_t chunk) {
    constexpr uint32_t PERIOD = STEP * CHUNKS < 8 ? 8 : STEP * CHUNKS;
    uint32_t slot = row * CHUNKS + chunk;
    return slot ^ slot / PERIOD % 8;
}

/** `LINES` lines of an operand, `DEPTH` elements of each. */
template <typename T, uint32_t LINES, uint32_t DEPTH>
struct OperandTile {
    alignas(128) T elements[LINES * DEPTH];

    /** The chunk that begins with depth `depth` of line `line`. */
    template <bool ALONG>
    __device__ __forceinline__ T* chunk(uint32_t line, uint32_t depth) {
        uint32_t row = ALONG ? line : depth, column = ALONG ? depth : line;
        constexpr uint32_t CHUNKS = (ALONG ? DEPTH : LINES) / CHUNK<T>;
        return elements + CHUNK<T> * swizzled<CHUNKS, ROW_STEP<T>>(row, column / CHUNK<T>);
    }
};

/** Sizes of a block's work: `M` x `N` of C from stages of `DEPTH_BYTES` of each line, by `WARPS_M` x `WARPS_N` warps. */
template <uint32_t M_, uint32_t N_, uint32_t DEPTH_BYTES, uint32_t WARPS_M_, uint32_t WARPS_N_>
struct TileShape {
    static constexpr uint32_t M = M_, N = N_, WARPS_M = WARPS_M_, WARPS_N = WARPS_N_;
    static constexpr uint32_t THREADS = WARP * WARPS_M * WARPS_N;
    /** Three copies are under way while one stage is multiplied. */
    static constexpr uint32_t STAGES = 4;
    template <typename T>
    static constexpr uint32_t K = DEPTH_BYTES / sizeof(T);
};

/** For products with many rows and columns: two blocks of eight warps fit a multiprocessor. */
using SquareTile = TileShape<128, 128, 64, 2, 4>;

/** For products bound by reading one long operand: small blocks, of which more run beside each other. */
using NarrowTile = TileShape<64, 64, 128, 2, 2>;

/** One step of the depth. */
template <typename T, typename Tile>
struct Stage {
    OperandTile<T, Tile::M, Tile::template K<T>> a;
    OperandTile<T, Tile::N, Tile::template K<T>> b;
};

/** The tile of C on its way out. The padding puts the eight rows that a warp writes at once into different banks. */
template <typename Tile>
struct ResultTile {
    alignas(16) float values[Tile::M][Tile::N + 8];
};

/** Shared memory of a product: stages, and after the last one the result. */
template <typename T, typename Tile>
union TileMemory {
    Stage<T, Tile> stages[Tile::STAGES];
    ResultTile<Tile> result;
};

/** First row and column of the tile `index` of C. Tiles are taken in groups of eight rows of tiles, column by column, so that
    blocks that run together share rows of A and columns of B in the L2 cache. */
template <typename Tile>
struct TileOrigin {
    uint64_t row, column;

    /** Tiles of C. */
    __device__ __forceinline__ static uint32_t count(uint64_t m, uint64_t n) {
        return uint32_t((m + Tile::M - 1) / Tile::M * ((n + Tile::N - 1) / Tile::N));
    }

    __device__ __forceinline__ TileOrigin(uint32_t index, uint64_t m, uint64_t n) {
        constexpr uint32_t GROUP = 8;
        uint32_t rows = uint32_t((m + Tile::M - 1) / Tile::M), columns = uint32_t((n + Tile::N - 1) / Tile::N);
        uint32_t first = index / (GROUP * columns) * GROUP, within = index % (GROUP * columns);
        uint32_t height = min(rows - first, GROUP);
        row = uint64_t(first + within % height) * Tile::M;
        column = uint64_t(within / height) * Tile::N;
    }
};
