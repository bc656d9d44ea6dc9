// dv_j = sum_i p_ij do_i and dk_j = softmax_scale sum_i ds_ij q_i, with p and ds as in grad_q.cu.
//
// A thread block takes a tile of keys of one head, 16 for each warp, and goes through the queries that see them: scores lie
// transposed, so that p and ds multiply the queries from the registers they were computed in. The sequences' own keys meet
// all their queries in one block. Prefix keys are seen by every query of the batch: a block takes a chunk of these and writes
// its sum, and a second kernel adds the chunks in order. For heads of 256 channels, whose sums for keys and for values do not
// fit into the registers together, blocks along z compute one or the other.
// Source: Dao 2023, "FlashAttention-2", algorithm 2.
#include "prefix-attention/bias.cuh"
#include "prefix-attention/scores.cuh"

namespace {

/** Queries on the way through a block: rows `row..end` of one tile after another. */
struct Queries {
    /** The sequence of the rows. */
    AttentionTile tile;
    uint32_t row, end;
    /** Tiles to come: `next..last` of all tiles. */
    uint32_t next, last;

    /** Those of its own sequence that see a key of `keys`. */
    __device__ __forceinline__ static Queries that_see(const AttentionInputs& p, const AttentionTile& tile, const Keys& keys) {
        int64_t first = 0, end = tile.q_len;
        if (p.causal) {
            // Query `i` stands at the position of key `i + shift`.
            int64_t shift = int64_t(tile.kv_len) - tile.q_len;
            first = min(max(int64_t(keys.start) - shift, first), end);
            end = min(max(int64_t(keys.end) - 1 + p.window - shift, first), end);
        }
        return {tile, uint32_t(first) * p.group, uint32_t(end) * p.group, 0, 0};
    }

    /** Those of the chunk `chunk` of all tiles. */
    __device__ __forceinline__ static Queries of_chunk(const AttentionGradKvParams& params, uint32_t chunk) {
        uint32_t tiles = uint32_t(params.chunk_tiles), first = chunk * tiles;
        Queries queries = {{}, 0, 0, first, min(first + tiles, params.num_q_tiles)};
        queries.advance(params, 0);
        return queries;
    }

    __device__ __forceinline__ bool done() const { return row >= end; }

    /** Goes on by `rows` rows, or to the next tile. */
    __device__ __forceinline__ void advance(const AttentionGradKvParams& params, uint32_t rows) {
        row += rows;
        if (!done() || next == last) return;
        tile = global_pointer<const AttentionTile>(params.q_tiles)[next++];
        row = tile.first;
        end = min(row + ATTENTION_ROWS, tile.q_len * params.inputs.group);
    }
};

/** `KEYS` and `VALUES` say which sums the block computes. */
template <typename T, uint32_t D, bool KEYS, bool VALUES>
__device__ __forceinline__ void grad_kv(const AttentionGradKvParams& params) {
    constexpr uint32_t ROWS = ATTENTION_ROWS, QUERIES = QUERY_COLUMNS<T, D>;
    struct Shared {
        TileRow<T, D> k[ROWS], v[ROWS], q[QUERIES], grad_o[QUERIES];
        QueryStatistics statistics[QUERIES];
        Keys visible[QUERIES];
        const float* bias[QUERIES];
        // Not in registers, which the sums fill.
        Queries queries;
    };
    Shared& shared = shared_memory<Shared>();
    const AttentionInputs& p = params.inputs;
    uint32_t kv_head = blockIdx.y, warp_row = 16 * warp_id();

    // The keys of this block and the queries that it meets.
    bool prefix = blockIdx.x >= params.num_key_tiles;
    uint32_t prefix_tiles = (p.prefix_len + ROWS - 1) / ROWS, chunk = 0;
    Queries& queries = shared.queries;
    HeadRows<T> k, v;
    Keys keys;
    if (prefix) {
        uint32_t index = blockIdx.x - params.num_key_tiles;
        chunk = index / prefix_tiles;
        k = key_rows<T>(p, p.prefix_k, 0, kv_head);
        v = key_rows<T>(p, p.prefix_v, 0, kv_head);
        keys = {index % prefix_tiles * ROWS, min(index % prefix_tiles * ROWS + ROWS, p.prefix_len)};
        if (threadIdx.x == 0) queries = Queries::of_chunk(params, chunk);
    } else {
        const AttentionTile tile = global_pointer<const AttentionTile>(params.key_tiles)[blockIdx.x];
        k = key_rows<T>(p, p.k, tile.kv_start, kv_head);
        v = key_rows<T>(p, p.v, tile.kv_start, kv_head);
        keys = {tile.first, min(tile.first + ROWS, tile.kv_len)};
        if (threadIdx.x == 0) queries = Queries::that_see(p, tile, keys);
    }
    __syncthreads();

    auto load_q = [&] {
        if (queries.done()) return;
        HeadRows<T> rows = query_rows<T>(p, p.q, queries.tile.q_start, kv_head);
        load_tile(shared.q, rows, queries.row, queries.end - queries.row);
    };
    auto load_grad_o = [&] {
        if (queries.done()) return;
        HeadRows<T> rows = query_rows<T>(p, contiguous_queries(p, params.grad_o), queries.tile.q_start, kv_head);
        load_tile(shared.grad_o, rows, queries.row, queries.end - queries.row);
        if (threadIdx.x < QUERIES) {
            // Rows behind the last one see nothing.
            uint32_t row = min(queries.row + threadIdx.x, queries.end - 1);
            bool inside = queries.row + threadIdx.x < queries.end;
            uint64_t head = uint64_t(kv_head) * p.group + row % p.group;
            uint64_t index = head * p.num_q_tokens + queries.tile.q_start + row / p.group;
            shared.statistics[threadIdx.x] = QueryStatistics::read(params.softmax_lse, params.delta, index);
            if (MAY_HAVE_BIAS<D, 1>) shared.bias[threadIdx.x] = bias_of_row(p, queries.tile, kv_head, prefix, row);
            shared.visible[threadIdx.x] = !inside ? Keys{0, 0} : prefix ? keys : visible_to(p, queries.tile, row);
        }
    };
    load_tile(shared.k, k, keys.start, keys.end - keys.start);
    if (KEYS) load_tile(shared.v, v, keys.start, keys.end - keys.start);
    load_grad_o();
    async_copy_commit();
    load_q();
    async_copy_commit();

    Scoring scoring(p);
    float sum_k[1][D / 8][4] = {}, sum_v[1][D / 8][4] = {};
    for (bool loaded = !queries.done(); loaded; loaded = !queries.done()) {
        // The gradients of the results are there.
        async_copy_wait<1>();
        __syncthreads();
        // From the next barrier on, those that come next.
        if (threadIdx.x == 0) queries.advance(params, QUERIES);
        float gradients[1][QUERIES / 8][4] = {}, scores[1][QUERIES / 8][4] = {};
        if (KEYS) add_scores<1, QUERIES, D>(gradients, shared.v + warp_row, shared.grad_o);
        // The queries are there.
        async_copy_wait<0>();
        __syncthreads();
        add_scores<1, QUERIES, D>(scores, shared.k + warp_row, shared.q);
        scoring.score(scores);
#pragma unroll
        for (uint32_t n = 0; n < QUERIES / 8; n++) {
#pragma unroll
            for (uint32_t c = 0; c < 2; c++) {
                uint32_t query = 8 * n + 2 * (lane_id() % 4) + c;
                QueryStatistics statistics = shared.statistics[query];
                Keys visible = shared.visible[query];
#pragma unroll
                for (uint32_t half = 0; half < 2; half++) {
                    uint32_t key = keys.start + warp_row + lane_id() / 4 + 8 * half;
                    if (MAY_HAVE_BIAS<D, 1> && p.bias && visible.contains(key))
                        scores[0][n][2 * half + c] += *(shared.bias[query] - uint64_t(key) * p.group);
                    differentiate(scoring, statistics, visible.contains(key), scores[0][n][2 * half + c],
                                  gradients[0][n][2 * half + c]);
                }
            }
        }
        if (VALUES) add_weighted_rows<1, QUERIES, D>(sum_v, scores, shared.grad_o);
        // No warp reads the gradients of the results any more.
        __syncthreads();
        load_grad_o();
        async_copy_commit();
        if (KEYS) add_weighted_rows<1, QUERIES, D>(sum_k, gradients, shared.q);
        // No warp reads the queries any more.
        __syncthreads();
        load_q();
        async_copy_commit();
    }

    uint64_t width = uint64_t(p.num_kv_heads) * p.head_dim;
    auto store = [&](const float (&sum)[1][D / 8][4], float factor, auto* to) {
        store_rows<1, D>(sum, factor, p.head_dim, [&](uint32_t row) {
            row += keys.start + warp_row;
            return row < keys.end ? to + row * width + kv_head * uint64_t(p.head_dim) : nullptr;
        });
    };
    if (prefix) {
        float* partial_k = global_pointer<float>(params.prefix_partials) + 2 * uint64_t(chunk) * p.prefix_len * width;
        if (KEYS) store(sum_k, p.softmax_scale, partial_k);
        if (VALUES) store(sum_v, 1.0f, partial_k + p.prefix_len * width);
    } else {
        uint64_t start = global_pointer<const AttentionTile>(params.key_tiles)[blockIdx.x].kv_start * width;
        if (KEYS) store(sum_k, p.softmax_scale, global_pointer<T>(params.grad_k) + start);
        if (VALUES) store(sum_v, 1.0f, global_pointer<T>(params.grad_v) + start);
    }
}

template <typename T>
__device__ __forceinline__ void grad_k_or_v(const AttentionGradKvParams& params) {
    if (blockIdx.z == 0) {
        grad_kv<T, 256, true, false>(params);
    } else {
        grad_kv<T, 256, false, true>(params);
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d64_f32(const __grid_constant__ AttentionGradKvParams p) { grad_kv<float, 64, true, true>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d128_f32(const __grid_constant__ AttentionGradKvParams p) { grad_kv<float, 128, true, true>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d256_f32(const __grid_constant__ AttentionGradKvParams p) { grad_k_or_v<float>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d64_bf16(const __grid_constant__ AttentionGradKvParams p) { grad_kv<bf16, 64, true, true>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d128_bf16(const __grid_constant__ AttentionGradKvParams p) { grad_kv<bf16, 128, true, true>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_kv_d256_bf16(const __grid_constant__ AttentionGradKvParams p) { grad_k_or_v<bf16>(p); }

// One thread for each element.
extern "C" __global__ void __launch_bounds__(ATTENTION_ELEMENT_THREADS) attention_sum_prefix_f32(const __grid_constant__ AttentionSumParams p) {
    const float* partials = global_pointer<const float>(p.partials);
    uint64_t i = uint64_t(ATTENTION_ELEMENT_THREADS) * blockIdx.x + threadIdx.x;
    if (i >= p.len) return;
    float grad_k = 0.0f, grad_v = 0.0f;
#pragma unroll 4
    for (uint64_t part = 0; part < p.count; part++) {
        grad_k += partials[2 * part * p.len + i];
        grad_v += partials[(2 * part + 1) * p.len + i];
    }
    global_pointer<float>(p.grad_k)[i] = grad_k;
    global_pointer<float>(p.grad_v)[i] = grad_v;
}
