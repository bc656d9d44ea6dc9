// The forward on Hopper, for bf16 heads of 64 or 128 channels whose scores have neither bound nor bias: what `forward.cu`
// computes, 128 keys at a time.
//
// Blocks stay for the whole launch and take one tile of 128 stacked query rows after the other, those with the most keys
// first. One thread asks the tensor memory accelerator for keys and values, two blocks of keys ahead and on into the next
// tile; two warpgroups take 64 rows each. A warpgroup starts the scores of the next keys, then the weighted sum of the last
// values, and computes the softmax of the former while the tensor cores are busy with the latter. Probabilities stay in
// registers. Boxes reach beyond a sequence's end, into its neighbour: keys there are hidden, and values overwritten with zeroes.
//
// Proved on the emulator and inspected as machine code. It has not run on a GPU yet, let alone been timed.
// Source: Shah et al. 2024, "FlashAttention-3", algorithm 2.
#include "common/quad.cuh"
#include "common/tensor_map.cuh"
#include "common/wgmma_narrow.cuh"
#include "prefix-attention/softmax.cuh"

namespace {

constexpr uint32_t KEYS = ATTENTION_WGMMA_KEYS, STAGES = 2, CONSUMERS = 2;
/** Rows of a warpgroup. */
constexpr uint32_t ROWS = ATTENTION_TALL_ROWS / CONSUMERS;
/** Warps that multiply. */
constexpr uint32_t CONSUMER_WARPS = 4 * CONSUMERS;

/** Rows of up to `D` channels as boxes of 64 channels, swizzled. */
template <uint32_t LINES, uint32_t D>
struct alignas(1024) Boxes {
    bf16 box[D / BOX_COLUMNS][LINES * BOX_COLUMNS];
};

template <uint32_t D>
struct Memory {
    Boxes<ROWS, D> q[CONSUMERS];
    Boxes<KEYS, D> k[STAGES], v[STAGES];
    Mbarrier k_full[STAGES], k_empty[STAGES], v_full[STAGES], v_empty[STAGES], q_phase[CONSUMERS], tail[CONSUMERS];
};
static_assert(sizeof(Memory<64>) <= 64 * ATTENTION_WGMMA_CHANNEL_BYTES + ATTENTION_WGMMA_BARRIER_BYTES, "the launch gives what a block uses");
static_assert(sizeof(Memory<128>) <= 128 * ATTENTION_WGMMA_CHANNEL_BYTES + ATTENTION_WGMMA_BARRIER_BYTES, "the launch gives what a block uses");

/** Calls `body(tile, kv_head)` for each tile and head that this block computes. */
template <typename Body>
__device__ __forceinline__ void for_each_tile(const AttentionWgmmaParams& p, Body body) {
    uint32_t heads = p.forward.inputs.num_kv_heads;
    for (uint64_t i = blockIdx.x; i < p.num_tiles * heads; i += gridDim.x)
        body(global_pointer<const AttentionTile>(p.forward.tiles)[i / heads], uint32_t(i % heads));
}

/** A place in the ring of key blocks, and in that of value blocks, with the number of times that it was gone round. */
struct RingPlace {
    uint32_t step = 0;

    __device__ __forceinline__ uint32_t stage() const { return step % STAGES; }
    __device__ __forceinline__ uint32_t parity() const { return step / STAGES % 2; }
};

template <uint32_t D>
__device__ __forceinline__ void load_boxes(Boxes<KEYS, D>& to, const AttentionTensorMap& map, uint32_t row, uint64_t column,
                                           Mbarrier& full, Mbarrier& empty, const RingPlace& place) {
    mbarrier_wait(empty, place.parity() ^ 1);
    mbarrier_arrive_expect(full, sizeof(to));
    for (uint32_t i = 0; i < D / BOX_COLUMNS; i++) tensor_load(to.box[i], &map, row, column + i * BOX_COLUMNS, full);
}

template <uint32_t D>
__device__ __forceinline__ void copy(const AttentionWgmmaParams& p, Memory<D>& memory) {
    RingPlace place;
    for_each_tile(p, [&](const AttentionTile& tile, uint32_t kv_head) {
        KeyBlocks<bf16, KEYS> blocks(p.forward.inputs, tile, ATTENTION_TALL_ROWS, kv_head);
        for (uint32_t i = 0; i < blocks.count; i++, place.step++) {
            uint32_t stage = place.stage(), channel = kv_head * D;
            bool prefix = blocks.is_prefix(i);
            uint32_t row = blocks.keys(i).start + (prefix ? 0 : tile.kv_start);
            load_boxes<D>(memory.k[stage], prefix ? p.prefix_k : p.k, row, p.columns[prefix ? 2 : 0] + channel,
                          memory.k_full[stage], memory.k_empty[stage], place);
            load_boxes<D>(memory.v[stage], prefix ? p.prefix_v : p.v, row, p.columns[prefix ? 3 : 1] + channel,
                          memory.v_full[stage], memory.v_empty[stage], place);
        }
    });
}

/** One warpgroup's 64 rows. */
template <uint32_t D>
struct Consumer {
    const AttentionInputs& p;
    Memory<D>& memory;
    uint32_t index;
    RingPlace keys, values;
    /** Phases of `tail` so far. */
    uint32_t tails = 0;

    __device__ __forceinline__ void arrive(Mbarrier& barrier) const {
        if (lane_id() == 0) mbarrier_arrive(barrier);
    }

    /** Row of the warpgroup that this warp's begin with. */
    __device__ __forceinline__ static uint32_t warp_row() { return 16 * (warp_id() % 4); }

    /** Copies the rows from `first` on, zeroes beyond `count`. The accelerator knows no rows of stacked heads. */
    __device__ __forceinline__ void load_queries(const HeadRows<bf16>& from, uint32_t first, uint32_t count) {
        constexpr uint32_t PIECES = D / 8;
        Mbarrier& phase = memory.q_phase[index];
        // Lanes may have parted where the last tile met the edges; a warp multiplies as one.
        __syncwarp();
        // The rows before are read: no warp has products of them under way.
        arrive(phase);
        mbarrier_wait(phase, 0);
#pragma unroll 4
        for (uint32_t i = lane_id(); i < 16 * PIECES; i += 32) {
            uint32_t row = warp_row() + i / PIECES, piece = i % PIECES;
            bf16* line = memory.q[index].box[piece / 8] + row * BOX_COLUMNS;
            const bf16* source = from.row(first + row) + 8 * piece;
            QuadWords words = {};
            if (row < count) {
                expect_aligned(source, 16);
                words = *reinterpret_cast<const QuadWords*>(source);
            }
            *reinterpret_cast<QuadWords*>(line + (piece ^ row) % 8 * 8) = words;
        }
        async_proxy_fence();
        __syncwarp();
        arrive(phase);
        mbarrier_wait(phase, 1);
    }

    /** Starts the scores of the next keys. */
    __device__ __forceinline__ void start_scores(float (&scores)[KEYS / 8][4]) {
        mbarrier_wait(memory.k_full[keys.stage()], keys.parity());
        wgmma_fence();
#pragma unroll
        for (uint32_t channel = 0; channel < D; channel += 16) {
            uint32_t box = channel / BOX_COLUMNS, bytes = channel % BOX_COLUMNS * sizeof(bf16);
            uint64_t a = wgmma_advance(wgmma_descriptor(memory.q[index].box[box], 0), bytes);
            uint64_t b = wgmma_advance(wgmma_descriptor(memory.k[keys.stage()].box[box], 0), bytes);
            if (channel == 0) wgmma_m64n128k16<false>(scores, a, b);
            else wgmma_m64n128k16<true>(scores, a, b);
        }
        wgmma_commit();
    }

    /** After the scores: gives the keys back. */
    __device__ __forceinline__ void release_keys() {
        arrive(memory.k_empty[keys.stage()]);
        keys.step++;
    }

    /** Overwrites the values from line `count` on, which are a neighbour's: 0 times what is not finite is not 0. Both
        warpgroups do it, each before it reads them. */
    __device__ __forceinline__ void clear_tail(uint32_t count) {
        constexpr uint32_t PIECES = D / 8;
        for (uint32_t i = count * PIECES + threadIdx.x % WARPGROUP; i < KEYS * PIECES; i += WARPGROUP) {
            uint32_t line = i / PIECES, piece = i % PIECES;
            bf16* start = memory.v[values.stage()].box[piece / 8] + line * BOX_COLUMNS;
            *reinterpret_cast<QuadWords*>(start + piece % 8 * 8) = {};
        }
        async_proxy_fence();
        __syncwarp();
        arrive(memory.tail[index]);
        mbarrier_wait(memory.tail[index], tails++ % 2);
    }

    /** Starts `o += p v` over the first `count` values. */
    __device__ __forceinline__ void start_sum(float (&o)[D / 8][4], const uint32_t (&probabilities)[KEYS / 16][4], uint32_t count) {
        mbarrier_wait(memory.v_full[values.stage()], values.parity());
        if (count < KEYS) clear_tail(count);
        wgmma_fence();
        uint64_t b = wgmma_descriptor(memory.v[values.stage()].box, KEYS * BOX_COLUMNS * sizeof(bf16));
#pragma unroll
        for (uint32_t key = 0; key < KEYS; key += 16)
            wgmma_weighted(o, probabilities[key / 16], wgmma_advance(b, key * BOX_COLUMNS * sizeof(bf16)));
        wgmma_commit();
    }

    /** After the sum: gives the values back. */
    __device__ __forceinline__ void release_values() {
        arrive(memory.v_empty[values.stage()]);
        values.step++;
    }

    /** Makes products the scores of the rows that this lane holds, `lane_row` and eight further, by the mask. */
    __device__ __forceinline__ void mask(float (&scores)[1][KEYS / 8][4], const AttentionTile& tile, const Keys& block, bool prefix,
                                         const Keys& common, uint32_t lane_row) const {
        if (block.end - block.start == KEYS && (prefix || common.cover(block))) return;
        Keys visible[1][2];
        for (uint32_t half = 0; half < 2; half++) visible[0][half] = prefix ? block : visible_to(p, tile, lane_row + 8 * half);
        hide(scores, visible, block.start);
    }
};

/** Rounds probabilities to the left operand of a product: the sums' columns are the operand's depths. */
__device__ __forceinline__ void round(uint32_t (&words)[KEYS / 16][4], const float (&p)[KEYS / 8][4]) {
#pragma unroll
    for (uint32_t i = 0; i < KEYS / 4; i++) {
        const float* pair = &p[i / 2][i % 2 * 2];
        words[i / 4][i % 4] = round_to_bf16x2(pair[0], pair[1]).bits;
    }
}

/** Rounds and writes one row of a thread's sums, 32 channels at a time: eight neighbours for each lane of a quad. */
template <uint32_t D>
__device__ __forceinline__ void write_row(bf16* row, bool there, const float (&o)[D / 8][4], uint32_t half) {
#pragma unroll
    for (uint32_t first = 0; first < D; first += 32) {
        uint32_t words[4];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            words[i] = round_to_bf16x2(o[first / 8 + i][2 * half], o[first / 8 + i][2 * half + 1]).bits;
        transpose_quad(words);
        bf16* to = row + first + 8 * (lane_id() % 4);
        if (there) *reinterpret_cast<QuadWords*>(to) = {{words[0], words[1], words[2], words[3]}};
    }
}

template <uint32_t D>
__device__ __forceinline__ void attend(const AttentionWgmmaParams& params, Memory<D>& memory) {
    const AttentionInputs& p = params.forward.inputs;
    Consumer<D> consumer = {p, memory, threadIdx.x / WARPGROUP - 1, {}, {}, 0};
    Scoring scoring(p);
    for_each_tile(params, [&](const AttentionTile& tile, uint32_t kv_head) {
        KeyBlocks<bf16, KEYS> blocks(p, tile, ATTENTION_TALL_ROWS, kv_head);
        uint32_t first = tile.first + ROWS * consumer.index, end = tile.q_len * p.group;
        uint32_t lane_row = first + consumer.warp_row() + lane_id() / 4;
        consumer.load_queries(query_rows<bf16>(p, p.q, tile.q_start, kv_head), first, first < end ? end - first : 0);

        // What every row of the tile sees.
        uint32_t last = min(tile.first + ATTENTION_TALL_ROWS, end) - 1;
        Keys common = {visible_to(p, tile, last).start, visible_to(p, tile, tile.first).end};
        Softmax<1> softmax;
        float scores[1][KEYS / 8][4], o[1][D / 8][4] = {};
        uint32_t probabilities[KEYS / 16][4];
        auto count = [&](uint32_t i) {
            Keys block = blocks.keys(i);
            return block.end - block.start;
        };
        auto absorb = [&](uint32_t i) {
            consumer.release_keys();
            scoring.scale(scores);
            consumer.mask(scores, tile, blocks.keys(i), blocks.is_prefix(i), common, lane_row);
            return softmax.absorb(scores);
        };
        if (blocks.count > 0) {
            consumer.start_scores(scores[0]);
            wgmma_wait<0>();
            absorb(0);
            round(probabilities, scores[0]);
        }
        for (uint32_t i = 1; i < blocks.count; i++) {
            consumer.start_scores(scores[0]);
            consumer.start_sum(o[0], probabilities, count(i - 1));
            wgmma_wait<1>();
            Rescaling<1> rescaling = absorb(i);
            wgmma_wait<0>();
            consumer.release_values();
            rescaling.apply(o);
            round(probabilities, scores[0]);
        }
        if (blocks.count > 0) {
            consumer.start_sum(o[0], probabilities, count(blocks.count - 1));
            wgmma_wait<0>();
            consumer.release_values();
        }

        HeadRows<bf16> results = query_rows<bf16>(p, contiguous_queries(p, params.forward.o), tile.q_start, kv_head);
        float* softmax_lse = global_pointer<float>(params.forward.softmax_lse);
#pragma unroll
        for (uint32_t half = 0; half < 2; half++) {
            uint32_t row = lane_row + 8 * half;
            float lse = softmax.finish(o, 0, half);
            if (row < end && lane_id() % 4 == 0) softmax_lse[lse_index(p, tile, kv_head, row)] = lse;
            write_row<D>(const_cast<bf16*>(results.row(row)), row < end, o[0], half);
        }
    });
}

template <uint32_t D>
__device__ __forceinline__ void forward(const AttentionWgmmaParams& p) {
    Memory<D>& memory = shared_memory<Memory<D>>();
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i < STAGES; i++) {
            mbarrier_init(memory.k_full[i], 1);
            mbarrier_init(memory.v_full[i], 1);
            mbarrier_init(memory.k_empty[i], CONSUMER_WARPS);
            mbarrier_init(memory.v_empty[i], CONSUMER_WARPS);
        }
        for (uint32_t i = 0; i < CONSUMERS; i++) {
            mbarrier_init(memory.q_phase[i], CONSUMER_WARPS / CONSUMERS);
            mbarrier_init(memory.tail[i], CONSUMER_WARPS / CONSUMERS);
        }
        mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < WARPGROUP) {
        release_registers<24>();
        if (threadIdx.x == 0) copy<D>(p, memory);
    } else {
        claim_registers<240>();
        attend<D>(p, memory);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ATTENTION_WGMMA_THREADS, 1) attention_forward_wgmma_d64_bf16(const __grid_constant__ AttentionWgmmaParams p) { forward<64>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_WGMMA_THREADS, 1) attention_forward_wgmma_d128_bf16(const __grid_constant__ AttentionWgmmaParams p) { forward<128>(p); }
