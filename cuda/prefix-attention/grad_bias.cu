// dbias_x = sum ds_ij over the pairs whose positions differ by x, with ds as in grad_q.cu, and dtable_b = sum dbias_x over the
// differences of bucket b.
//
// A thread block takes tiles of stacked query rows of one key/value head and computes their ds block of keys by block of keys.
// Positions differ alike along a diagonal: a block of ds goes to shared memory, where each thread adds diagonals in order. The
// sums of a thread block are its own, so that none is shared, and a second kernel adds them for each bucket and head, in f64:
// they may be thousands of either sign. Nothing overlaps; only who trains a bias asks for its gradient.
#include "common/reduce.cuh"
#include "prefix-attention/bias.cuh"
#include "prefix-attention/scores.cuh"

namespace {

template <typename T, uint32_t D>
__device__ __forceinline__ void grad_bias(const AttentionGradBiasParams& params) {
    constexpr uint32_t ROWS = ATTENTION_ROWS, KEYS = KEY_COLUMNS<T, D>;
    struct Shared {
        TileRow<T, D> q[ROWS], grad_o[ROWS], k[KEYS], v[KEYS];
        // An odd row length: the elements of neighbouring diagonals lie in different banks.
        float gradients[ROWS][KEYS + 1];
    };
    Shared& shared = shared_memory<Shared>();
    const AttentionInputs& p = params.inputs;
    uint32_t kv_head = blockIdx.y, warp_row = 16 * warp_id(), lane_row = warp_row + lane_id() / 4;
    float* sums = global_pointer<float>(params.partials) + (uint64_t(blockIdx.x) * p.num_kv_heads + kv_head) * p.bias_len;
    Scoring scoring(p);
    for (uint64_t index = blockIdx.x; index < params.num_tiles; index += gridDim.x) {
        const AttentionTile tile = global_pointer<const AttentionTile>(params.tiles)[index];
        KeyBlocks<T, KEYS> blocks(p, tile, ROWS, kv_head);
        // Nothing is on its way to shared memory from a tile that sees no key.
        if (blocks.count == 0) continue;
        uint32_t end = min(tile.first + ROWS, tile.q_len * p.group), rows = end - tile.first;
        load_tile(shared.q, query_rows<T>(p, p.q, tile.q_start, kv_head), tile.first, rows);
        HeadRows<T> grad_o = query_rows<T>(p, contiguous_queries(p, params.grad_o), tile.q_start, kv_head);
        load_tile(shared.grad_o, grad_o, tile.first, rows);
        QueryStatistics queries[2];
        for (uint32_t half = 0; half < 2; half++) {
            // Rows behind the last one are in no sum; they compute with the last one's numbers.
            uint32_t row = min(tile.first + lane_row + 8 * half, end - 1);
            uint64_t head = uint64_t(kv_head) * p.group + row % p.group;
            uint64_t query = head * p.num_q_tokens + tile.q_start + row / p.group;
            queries[half] = QueryStatistics::read(params.softmax_lse, params.delta, query);
        }
        for (uint32_t i = 0; i < blocks.count; i++) {
            KeyBlock<T> block = blocks[i];
            load_keys(shared.k, block.k, block.keys);
            load_keys(shared.v, block.v, block.keys);
            async_copy_commit();
            async_copy_wait<0>();
            __syncthreads();
            float gradients[1][KEYS / 8][4] = {}, scores[1][KEYS / 8][4] = {};
            add_scores<1, KEYS, D>(gradients, shared.grad_o + warp_row, shared.v);
            add_scores<1, KEYS, D>(scores, shared.q + warp_row, shared.k);
            scoring.score(scores);
            add_bias(scores, p, tile, kv_head, block.prefix, tile.first + lane_row, end - 1, block.keys);
            for (uint32_t half = 0; half < 2; half++) {
                uint32_t row = lane_row + 8 * half;
                Keys visible = block.prefix ? block.keys : visible_to(p, tile, tile.first + row);
#pragma unroll
                for (uint32_t n = 0; n < KEYS / 8; n++) {
#pragma unroll
                    for (uint32_t c = 0; c < 2; c++) {
                        uint32_t key = 8 * n + 2 * (lane_id() % 4) + c;
                        float& gradient = gradients[0][n][2 * half + c];
                        differentiate(scoring, queries[half], visible.contains(block.keys.start + key),
                                      scores[0][n][2 * half + c], gradient);
                        shared.gradients[row][key] = gradient;
                    }
                }
            }
            __syncthreads();
            // Row r and key j of this block are element r - j group from where the first row and the first key are.
            int64_t keys = block.keys.end - block.keys.start, group = p.group;
            const float* of_key_0 = bias_of_row(p, tile, kv_head, block.prefix, tile.first);
            const float* of_head = global_pointer<const float>(p.bias) + kv_head * p.bias_len;
            int64_t first = of_key_0 - of_head - block.keys.start * group;
            for (int64_t i = threadIdx.x; i < rows + (keys - 1) * group; i += ATTENTION_THREADS) {
                int64_t element = i - (keys - 1) * group;
                int64_t key = element < 0 ? (-element + group - 1) / group : 0;
                float sum = 0.0f;
                for (int64_t row = element + key * group; key < keys && row < rows; key++, row += group)
                    sum += shared.gradients[row][key];
                sums[first + element] += sum;
            }
            // The next block of keys overwrites this one, and other threads add to its diagonals.
            __syncthreads();
        }
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_bias_d64_f32(const __grid_constant__ AttentionGradBiasParams p) { grad_bias<float, 64>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_bias_d128_f32(const __grid_constant__ AttentionGradBiasParams p) { grad_bias<float, 128>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_bias_d64_bf16(const __grid_constant__ AttentionGradBiasParams p) { grad_bias<bf16, 64>(p); }
extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS, 1) attention_grad_bias_d128_bf16(const __grid_constant__ AttentionGradBiasParams p) { grad_bias<bf16, 128>(p); }

// One block for each bucket and head: each thread adds its elements in order, and the threads are added in order.
extern "C" __global__ void __launch_bounds__(ATTENTION_ELEMENT_THREADS) attention_sum_bias_f32(const __grid_constant__ AttentionSumBiasParams p) {
    using Reduction = BlockReduction<double, ATTENTION_ELEMENT_THREADS>;
    static_assert(sizeof(Reduction) == ATTENTION_SUM_SHARED_BYTES, "the launch gives what the reduction uses");
    uint64_t bucket = blockIdx.x, head = blockIdx.y, kv_head = head / p.group;
    const uint64_t* range = global_pointer<const uint64_t>(p.buckets) + 2 * bucket;
    uint64_t first = range[0], count = range[1] - first;
    const float* partials = global_pointer<const float>(p.partials) + kv_head * p.len + head % p.group;
    double sum = 0.0;
    for (uint64_t i = threadIdx.x; i < p.count * count; i += ATTENTION_ELEMENT_THREADS)
        sum += double(partials[i / count * p.num_kv_heads * p.len + (first + i % count) * p.group]);
    sum = block_sum(shared_memory<Reduction>(), sum);
    if (threadIdx.x == 0) global_pointer<float>(p.grad)[bucket * p.num_kv_heads * p.group + head] = float(sum);
}
