// C = alpha sum A B in bf16 on Hopper, for several terms and several results in one launch.
//
// Blocks stay for the whole launch and take one tile of 128 x 256 after the other. Within a block, one thread of the first
// warpgroup asks the tensor memory accelerator for stages of 64 depths, up to four ahead and on into the next tile; two
// warpgroups multiply, 64 rows each, with one group of products under way while the stage before it is given back. Further
// terms, as LoRA's low-rank product, are further stages, filled up with zeroes: a branch that skips those would stand between
// the products of a stage. Sums are f32 and rounded once.
//
// Where one result has fewer tiles than there are blocks, its stages are shared out too (split-K): each block writes its part of
// a tile as it is, in f32, and `gemm_sum` adds these in order. So the result depends on the sizes only.
//
// Proved on the emulator and inspected as machine code. It has not run on a GPU yet, let alone been timed.
#include "common/quad.cuh"
#include "common/tensor_map.cuh"
#include "common/vector.cuh"
#include "common/wgmma.cuh"
#include "gemm/params.h"
#include "gemm/tile.cuh"

namespace {

struct WgmmaTile {
    static constexpr uint32_t M = GEMM_WGMMA_TILE_M, N = GEMM_WGMMA_TILE_N, K = GEMM_WGMMA_TILE_K, STAGES = 4;
};
static_assert(WgmmaTile::K == BOX_COLUMNS, "a stage is one box deep");

struct Memory {
    struct alignas(1024) Stage {
        bf16 a[WgmmaTile::M * WgmmaTile::K];
        bf16 b[WgmmaTile::N * WgmmaTile::K];
    } stages[WgmmaTile::STAGES];
    Mbarrier full[WgmmaTile::STAGES], empty[WgmmaTile::STAGES];
};
static_assert(sizeof(Memory) == GEMM_WGMMA_SHARED_BYTES, "the launch gives what a block uses");

/** Warps that multiply. */
constexpr uint32_t CONSUMER_WARPS = 8;

/** What a block computes at a time: a slab of the stages of a tile of a result. */
struct Piece {
    uint32_t sum, slab;
    TileOrigin<WgmmaTile> tile;
};

/** Calls `body(piece)` for each piece that this block computes. */
template <typename Body>
__device__ __forceinline__ void for_each_piece(const GemmWgmmaParams& p, Body body) {
    uint32_t index = blockIdx.x;
    for (uint32_t sum = 0; sum < p.sum_count; sum++) {
        uint64_t n = p.sums[sum].n;
        uint32_t tiles = TileOrigin<WgmmaTile>::count(p.m, n);
        for (; index < tiles * p.slabs; index += gridDim.x)
            body(Piece{sum, index / tiles, TileOrigin<WgmmaTile>(index % tiles, p.m, n)});
        index -= tiles * p.slabs;
    }
}

/** Calls `body(term, depth)` for each stage of a piece. */
template <typename Body>
__device__ __forceinline__ void for_each_stage(const GemmWgmmaParams& p, const Piece& piece, Body body) {
    uint32_t skipped = piece.slab * p.slab_stages, left = p.slab_stages;
    for (uint32_t term = piece.sum * p.term_count; term < (piece.sum + 1) * p.term_count; term++) {
        uint32_t stages = uint32_t((p.k[term] + WgmmaTile::K - 1) / WgmmaTile::K), stage = min(skipped, stages);
        skipped -= stage;
        for (; stage < stages && left > 0; stage++, left--) body(term, uint64_t(WgmmaTile::K) * stage);
    }
}

/** A place in the ring of stages, with the number of times that the ring was gone round. */
struct RingPlace {
    uint32_t step = 0;

    __device__ __forceinline__ uint32_t stage() const { return step % WgmmaTile::STAGES; }
    __device__ __forceinline__ uint32_t parity() const { return step / WgmmaTile::STAGES % 2; }
};

/** Copies 64 depths of `LINES` rows of A or columns of B from `line` on: along the depth in one box, across it in boxes of 64. */
template <bool ALONG, uint32_t LINES>
__device__ __forceinline__ void copy_lines(bf16* to, const void* map, uint64_t line, uint64_t depth, Mbarrier& full) {
    if constexpr (ALONG) {
        tensor_load(to, map, line, depth, full);
    } else {
        for (uint32_t first = 0; first < LINES; first += BOX_COLUMNS)
            tensor_load(to + first * WgmmaTile::K, map, depth, line + first, full);
    }
}

template <bool A_ALONG, bool B_ALONG>
__device__ __forceinline__ void copy(const GemmWgmmaParams& p, Memory& memory) {
    RingPlace place;
    for_each_piece(p, [&](const Piece& piece) {
        for_each_stage(p, piece, [&](uint32_t term, uint64_t depth) {
            Memory::Stage& stage = memory.stages[place.stage()];
            Mbarrier& full = memory.full[place.stage()];
            mbarrier_wait(memory.empty[place.stage()], place.parity() ^ 1);
            mbarrier_arrive_expect(full, sizeof(Memory::Stage));
            copy_lines<A_ALONG, WgmmaTile::M>(stage.a, &p.a[term], piece.tile.row, depth, full);
            copy_lines<B_ALONG, WgmmaTile::N>(stage.b, &p.b[term], piece.tile.column, depth, full);
            place.step++;
        });
    });
}

/** A row of a result, or of it before its columns were scaled. Columns fit 32 bits, as the accelerator's sizes do. */
struct RowOutput {
    bf16* to;           // (columns)
    uint32_t columns;   // none of a row that is not there
    bool vectors;

    __device__ __forceinline__ RowOutput(uint64_t address, const GemmWgmmaSum& sum, uint64_t row, uint64_t rows)
        : to(global_pointer<bf16>(address) + row * sum.c_stride),
          columns(row < rows ? uint32_t(sum.n) : 0),
          vectors(address % 16 == 0 && sum.c_stride % 8 == 0) {}

    /** Rounds and writes 32 columns from `column` on, of which the lanes of a quad hold pairs of each eight; they are exchanged
        for eight neighbours each. All lanes take part. */
    __device__ __forceinline__ void store(uint32_t column, const float (&values)[4][2]) const {
        uint32_t words[4];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) words[i] = round_to_bf16x2(values[i][0], values[i][1]).bits;
        transpose_quad(words);
        uint32_t at = column + 8 * (lane_id() % 4);
        if (vectors && at + 8 <= columns) {
            *reinterpret_cast<QuadWords*>(to + at) = {{words[0], words[1], words[2], words[3]}};
        } else {
            for (uint32_t i = 0; i < 8; i++) {
                if (at + i < columns) to[at + i] = {uint16_t(words[i / 2] >> 16 * (i % 2))};
            }
        }
    }
};

/** Calls `body(value, column)` for a thread's values of 32 columns from `column` on, as far as there are `columns`. */
template <typename Body>
__device__ __forceinline__ void for_each_column(float (&values)[4][2], uint32_t column, uint32_t columns, Body body) {
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t at = column + 8 * (i / 2) + 2 * (lane_id() % 4) + i % 2;
        if (at < columns) body(values[i / 2][i % 2], at);
    }
}

/** Finishes and writes one row of a thread's sums, 32 columns at a time. */
template <uint32_t SECOND>
__device__ __forceinline__ void write_row(const GemmWgmmaParams& p, const GemmWgmmaSum& sum, uint64_t row, uint32_t column,
                                          const float (&d)[WGMMA_SUMS]) {
    RowOutput c(sum.c, sum, row, p.m);
    const bf16* bias = global_pointer<const bf16>(sum.bias);
    const float* scale = global_pointer<const float>(sum.scale);
#pragma unroll
    for (uint32_t first = 0; first < WgmmaTile::N; first += 32) {
        uint32_t from = column + first;
        float values[4][2];
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) values[i / 2][i % 2] = p.alpha * d[first / 2 + 4 * (i / 2) + SECOND + i % 2];
        if (bias) for_each_column(values, from, c.columns, [&](float& value, uint32_t at) { value += to_float(bias[at]); });
        if (p.add) for_each_column(values, from, c.columns, [&](float& value, uint32_t at) { value += to_float(c.to[at]); });
        if (scale) {
            if (sum.unscaled) RowOutput(sum.unscaled, sum, row, p.m).store(from, values);
            for_each_column(values, from, c.columns, [&](float& value, uint32_t at) { value *= scale[at]; });
        }
        c.store(from, values);
    }
}

/** Writes one row of a thread's sums as they are: two neighbours at a time, 32 bytes for each quad. */
template <uint32_t SECOND>
__device__ __forceinline__ void write_partial_row(const GemmWgmmaParams& p, uint32_t slab, uint64_t row, uint32_t column,
                                                  const float (&d)[WGMMA_SUMS]) {
    struct alignas(8) Pair {
        float values[2];
    };
    if (row >= p.m) return;
    uint32_t n = uint32_t(p.sums[0].n);
    float* to = global_pointer<float>(p.partials) + (slab * p.m + row) * n;
#pragma unroll
    for (uint32_t i = 0; i < WgmmaTile::N / 8; i++) {
        uint32_t at = column + 8 * i + 2 * (lane_id() % 4);
        float first = d[4 * i + SECOND], second = d[4 * i + SECOND + 1];
        if (n % 2 == 0 && at < n) {
            *reinterpret_cast<Pair*>(to + at) = {{first, second}};
        } else {
            if (at < n) to[at] = first;
            if (at + 1 < n) to[at + 1] = second;
        }
    }
}

template <bool A_ALONG, bool B_ALONG>
__device__ __forceinline__ void multiply(const GemmWgmmaParams& p, Memory& memory) {
    uint32_t consumer = threadIdx.x / WARPGROUP - 1;
    bool arrives = lane_id() == 0;
    RingPlace place;
    for_each_piece(p, [&](const Piece& piece) {
        // Lanes may have parted where the last tile met the edges; a warp multiplies as one.
        __syncwarp();
        float d[WGMMA_SUMS] = {};
        uint32_t first = place.step;
        for_each_stage(p, piece, [&](uint32_t, uint64_t) {
            Memory::Stage& stage = memory.stages[place.stage()];
            mbarrier_wait(memory.full[place.stage()], place.parity());
            uint64_t a = wgmma_descriptor(stage.a + consumer * 64 * WgmmaTile::K, 0);
            uint64_t b = wgmma_descriptor(stage.b, BOX_COLUMNS * WgmmaTile::K * sizeof(bf16));
            wgmma_fence();
#pragma unroll
            for (uint32_t k = 0; k < WgmmaTile::K; k += 16)
                wgmma_m64n256k16<A_ALONG, B_ALONG>(d, wgmma_advance(a, (A_ALONG ? 1 : 64) * 2 * k),
                                                   wgmma_advance(b, (B_ALONG ? 1 : 64) * 2 * k));
            wgmma_commit();
            wgmma_wait<1>();
            if (arrives && place.step > first) mbarrier_arrive(memory.empty[(place.step - 1) % WgmmaTile::STAGES]);
            place.step++;
        });
        wgmma_wait<0>();
        if (arrives && place.step > first) mbarrier_arrive(memory.empty[(place.step - 1) % WgmmaTile::STAGES]);
        uint64_t row = piece.tile.row + 64 * consumer + 16 * (warp_id() % 4) + lane_id() / 4;
        uint32_t column = uint32_t(piece.tile.column);
        if (p.partials) {
            write_partial_row<0>(p, piece.slab, row, column, d);
            write_partial_row<2>(p, piece.slab, row + 8, column, d);
        } else {
            write_row<0>(p, p.sums[piece.sum], row, column, d);
            write_row<2>(p, p.sums[piece.sum], row + 8, column, d);
        }
    });
}

template <bool A_ALONG, bool B_ALONG>
__device__ __forceinline__ void gemm_wgmma(const GemmWgmmaParams& p) {
    Memory& memory = shared_memory<Memory>();
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i < WgmmaTile::STAGES; i++) {
            mbarrier_init(memory.full[i], 1);
            mbarrier_init(memory.empty[i], CONSUMER_WARPS);
        }
        mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        release_registers<40>();
        if (threadIdx.x == 0) copy<A_ALONG, B_ALONG>(p, memory);
    } else {
        claim_registers<232>();
        multiply<A_ALONG, B_ALONG>(p, memory);
    }
}

}  // namespace

// A stored [m, k] with B stored [n, k] or [k, n], and A stored [k, m] with B stored [k, n].
extern "C" __global__ void __launch_bounds__(GEMM_WGMMA_THREADS, 1) gemm_wgmma_nt_bf16(const __grid_constant__ GemmWgmmaParams p) { gemm_wgmma<true, true>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_WGMMA_THREADS, 1) gemm_wgmma_nn_bf16(const __grid_constant__ GemmWgmmaParams p) { gemm_wgmma<true, false>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_WGMMA_THREADS, 1) gemm_wgmma_tn_bf16(const __grid_constant__ GemmWgmmaParams p) { gemm_wgmma<false, false>(p); }
