// C = alpha sum A B in bf16 on Hopper, for several terms and several results in one launch.
//
// Blocks stay for the whole launch and take one tile of 128 x 256 after the other. Within a block, one thread of the first
// warpgroup asks the tensor memory accelerator for stages of 64 depths, up to four ahead and on into the next tile; two
// warpgroups multiply, 64 rows each, with one group of products under way while the stage before it is given back. Further
// terms, as LoRA's low-rank product, are further stages, filled up with zeroes: a branch that skips those would stand between
// the products of a stage. Sums are f32 and rounded once.
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

/** Calls `body(sum, tile)` for each tile that this block computes. */
template <typename Body>
__device__ __forceinline__ void for_each_tile(const GemmWgmmaParams& p, Body body) {
    uint32_t index = blockIdx.x;
    for (uint32_t sum = 0; sum < p.sum_count; sum++) {
        uint32_t tiles = TileOrigin<WgmmaTile>::count(p.m, p.sums[sum].n);
        for (; index < tiles; index += gridDim.x) body(sum, TileOrigin<WgmmaTile>(index, p.m, p.sums[sum].n));
        index -= tiles;
    }
}

/** Calls `body(term, depth)` for each stage of a tile of result `sum`. */
template <typename Body>
__device__ __forceinline__ void for_each_stage(const GemmWgmmaParams& p, uint32_t sum, Body body) {
    for (uint32_t term = sum * p.term_count; term < (sum + 1) * p.term_count; term++) {
        for (uint64_t depth = 0; depth < p.k[term]; depth += WgmmaTile::K) body(term, depth);
    }
}

/** A place in the ring of stages, with the number of times that the ring was gone round. */
struct RingPlace {
    uint32_t step = 0;

    __device__ __forceinline__ uint32_t stage() const { return step % WgmmaTile::STAGES; }
    __device__ __forceinline__ uint32_t parity() const { return step / WgmmaTile::STAGES % 2; }
};

template <bool B_ALONG>
__device__ __forceinline__ void copy(const GemmWgmmaParams& p, Memory& memory) {
    RingPlace place;
    for_each_tile(p, [&](uint32_t sum, const TileOrigin<WgmmaTile>& tile) {
        for_each_stage(p, sum, [&](uint32_t term, uint64_t depth) {
            Memory::Stage& stage = memory.stages[place.stage()];
            Mbarrier& full = memory.full[place.stage()];
            mbarrier_wait(memory.empty[place.stage()], place.parity() ^ 1);
            mbarrier_arrive_expect(full, sizeof(Memory::Stage));
            tensor_load(stage.a, &p.a[term], tile.row, depth, full);
            if constexpr (B_ALONG) {
                tensor_load(stage.b, &p.b[term], tile.column, depth, full);
            } else {
                for (uint32_t column = 0; column < WgmmaTile::N; column += BOX_COLUMNS)
                    tensor_load(stage.b + column * WgmmaTile::K, &p.b[term], depth, tile.column + column, full);
            }
            place.step++;
        });
    });
}

/** Rounds and writes one row of a thread's sums, 32 columns at a time: eight neighbours for each lane of a quad. */
template <uint32_t SECOND>
__device__ __forceinline__ void write_row(const GemmWgmmaParams& p, const GemmWgmmaSum& sum, uint64_t row, uint64_t column,
                                          const float (&d)[WGMMA_SUMS]) {
    bf16* c = global_pointer<bf16>(sum.c) + row * sum.c_stride;
    const bf16* bias = global_pointer<const bf16>(sum.bias);
    bool vectors = reinterpret_cast<uintptr_t>(global_pointer<bf16>(sum.c)) % 16 == 0 && sum.c_stride % 8 == 0;
    uint32_t pair = lane_id() % 4;
#pragma unroll
    for (uint32_t first = 0; first < WgmmaTile::N; first += 32) {
        uint32_t words[4];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            float values[2];
#pragma unroll
            for (uint32_t j = 0; j < 2; j++) {
                uint64_t at = column + first + 8 * i + 2 * pair + j;
                bool there = row < p.m && at < sum.n;
                values[j] = p.alpha * d[first / 2 + 4 * i + SECOND + j];
                if (bias && there) values[j] += to_float(bias[at]);
                if (p.add && there) values[j] += to_float(c[at]);
            }
            words[i] = round_to_bf16x2(values[0], values[1]).bits;
        }
        transpose_quad(words);
        uint64_t at = column + first + 8 * pair;
        if (row >= p.m) continue;
        if (vectors && at + 8 <= sum.n) {
            *reinterpret_cast<QuadWords*>(c + at) = {{words[0], words[1], words[2], words[3]}};
        } else {
            for (uint32_t i = 0; i < 8; i++) {
                if (at + i < sum.n) c[at + i] = {uint16_t(words[i / 2] >> 16 * (i % 2))};
            }
        }
    }
}

template <bool B_ALONG>
__device__ __forceinline__ void multiply(const GemmWgmmaParams& p, Memory& memory) {
    uint32_t consumer = threadIdx.x / WARPGROUP - 1;
    bool arrives = lane_id() == 0;
    RingPlace place;
    for_each_tile(p, [&](uint32_t sum, const TileOrigin<WgmmaTile>& tile) {
        float d[WGMMA_SUMS] = {};
        uint32_t first = place.step;
        for_each_stage(p, sum, [&](uint32_t, uint64_t) {
            Memory::Stage& stage = memory.stages[place.stage()];
            mbarrier_wait(memory.full[place.stage()], place.parity());
            uint64_t a = wgmma_descriptor(stage.a + consumer * 64 * WgmmaTile::K, 0);
            uint64_t b = wgmma_descriptor(stage.b, BOX_COLUMNS * WgmmaTile::K * sizeof(bf16));
            wgmma_fence();
#pragma unroll
            for (uint32_t k = 0; k < WgmmaTile::K; k += 16)
                wgmma_m64n256k16<B_ALONG>(d, wgmma_advance(a, 2 * k), wgmma_advance(b, (B_ALONG ? 1 : 64) * 2 * k));
            wgmma_commit();
            wgmma_wait<1>();
            if (arrives && place.step > first) mbarrier_arrive(memory.empty[(place.step - 1) % WgmmaTile::STAGES]);
            place.step++;
        });
        wgmma_wait<0>();
        if (arrives && place.step > first) mbarrier_arrive(memory.empty[(place.step - 1) % WgmmaTile::STAGES]);
        uint64_t row = tile.row + 64 * consumer + 16 * (warp_id() % 4) + lane_id() / 4;
        write_row<0>(p, p.sums[sum], row, tile.column, d);
        write_row<2>(p, p.sums[sum], row + 8, tile.column, d);
    });
}

template <bool B_ALONG>
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
        if (threadIdx.x == 0) copy<B_ALONG>(p, memory);
    } else {
        claim_registers<232>();
        multiply<B_ALONG>(p, memory);
    }
}

}  // namespace

// B stored [n, k] and [k, n].
extern "C" __global__ void __launch_bounds__(GEMM_WGMMA_THREADS, 1) gemm_wgmma_nt_bf16(const __grid_constant__ GemmWgmmaParams p) { gemm_wgmma<true>(p); }
extern "C" __global__ void __launch_bounds__(GEMM_WGMMA_THREADS, 1) gemm_wgmma_nn_bf16(const __grid_constant__ GemmWgmmaParams p) { gemm_wgmma<false>(p); }
