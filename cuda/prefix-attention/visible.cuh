// Which keys the rows of a tile see, and which blocks of keys it meets.
#pragma once
#include "prefix-attention/rows.cuh"

/** Consecutive keys, `start` up to before `end`. */
struct Keys {
    uint32_t start, end;

    __device__ __forceinline__ bool contains(uint32_t key) const { return start <= key && key < end; }

    /** Whether all of `other` are among them. */
    __device__ __forceinline__ bool cover(const Keys& other) const { return start <= other.start && other.end <= end; }
};

/** Keys of its own sequence that row `row` of a sequence sees. Both ends ascend with the row. */
__device__ __forceinline__ Keys visible_to(const AttentionInputs& p, const AttentionTile& tile, uint32_t row) {
    if (!p.causal) return {0, tile.kv_len};
    // Positions up to and including its own, counted from the last token; none if the query stands before all keys.
    int64_t after = int64_t(tile.kv_len) - tile.q_len + row / p.group + 1;
    uint32_t end = uint32_t(min(max(after, int64_t(0)), int64_t(tile.kv_len)));
    return {end - min(end, p.window), end};
}

/** Consecutive keys of the prefix or of a sequence, with their values. */
template <typename T>
struct KeyBlock {
    HeadRows<T> k, v;
    /** Of the source that `k` and `v` begin with. */
    Keys keys;
    /** Whether every query sees them. */
    bool prefix;
};

/** The blocks of `KEYS` keys that some rows meet: the prefix, then what the mask leaves of their own sequence. Blocks begin
    at multiples of `KEYS`, whatever the rows: so a result depends on nothing but its own sequence. */
template <typename T, uint32_t KEYS>
struct KeyBlocks {
    const AttentionInputs& p;
    uint32_t kv_start, kv_head;
    /** Those of their own sequence that some row sees, from a multiple of `KEYS` on. */
    Keys own;
    uint32_t prefix_count, count;

    /** For the rows `first..first + rows` of a sequence. */
    __device__ __forceinline__ KeyBlocks(const AttentionInputs& p, const AttentionTile& tile, uint32_t rows, uint32_t kv_head)
        : p(p), kv_start(tile.kv_start), kv_head(kv_head) {
        uint32_t last = min(tile.first + rows, tile.q_len * p.group) - 1;
        own = {visible_to(p, tile, tile.first).start, visible_to(p, tile, last).end};
        own.start -= own.start % KEYS;
        prefix_count = (p.prefix_len + KEYS - 1) / KEYS;
        count = prefix_count + (own.end - own.start + KEYS - 1) / KEYS;
    }

    /** Whether block `i` is of the prefix. */
    __device__ __forceinline__ bool is_prefix(uint32_t i) const { return i < prefix_count; }

    /** The keys of block `i`, of the prefix or of the sequence. */
    __device__ __forceinline__ Keys keys(uint32_t i) const {
        bool prefix = is_prefix(i);
        uint32_t first = prefix ? i * KEYS : own.start + (i - prefix_count) * KEYS;
        return {first, min(prefix ? p.prefix_len : own.end, first + KEYS)};
    }

    // Pointers are made here each time: kept, they would take registers from the sums.
    __device__ __forceinline__ KeyBlock<T> operator[](uint32_t i) const {
        bool prefix = is_prefix(i);
        uint32_t token = prefix ? 0 : kv_start;
        return {key_rows<T>(p, prefix ? p.prefix_k : p.k, token, kv_head), key_rows<T>(p, prefix ? p.prefix_v : p.v, token, kv_head),
                keys(i), prefix};
    }
};

/** Starts copying the keys of a block, or its values. */
template <typename T, uint32_t D, uint32_t KEYS>
__device__ __forceinline__ void load_keys(TileRow<T, D> (&tile)[KEYS], const HeadRows<T>& rows, const Keys& keys) {
    load_tile(tile, rows, keys.start, keys.end - keys.start);
}
