/* Parameters of sums over everything and of the cross-entropy. */
#pragma once
#include <stdint.h>

/** Threads of the block that sums all elements. */
static const uint32_t SUM_THREADS = 512;

/** Shared memory of that block: an f64 for each warp. */
static const uint32_t SUM_SHARED_BYTES = SUM_THREADS / 32 * 8;

/** `sum = x . other`, or the sum of the squares of `x - other`. */
struct SumParams {
    /** `[len]` */
    uint64_t x;
    /** `[len]` f32: weights or targets. */
    uint64_t other;
    /** `[len]` f32, written: `x - other`; a product ignores it. */
    uint64_t differences;
    /** `[1]` f32, written. */
    uint64_t sum;
    /** Elements. */
    uint64_t len;
};

static_assert(sizeof(SumParams) == 40, "SumParams is shared with Rust");

/** Threads of a block that takes one row of logits. */
static const uint32_t CROSS_ENTROPY_THREADS = 512;

/** Shared memory of that block: an f64, an f32 and a u32 for each warp. */
static const uint32_t CROSS_ENTROPY_SHARED_BYTES = CROSS_ENTROPY_THREADS / 32 * 16;

/** The label of a row that does not count. */
static const int32_t CROSS_ENTROPY_IGNORED = -100;

/** `loss = logsumexp(l) - l[label]` of each row, where `l` are the logits, soft-capped if there is a cap. */
struct CrossEntropyParams {
    /** `[rows, vocab]`; replaced by their gradient if that is wanted. */
    uint64_t logits;
    /** `[rows]` i64, below `vocab` or `CROSS_ENTROPY_IGNORED`. */
    uint64_t labels;
    /** `[rows]` f64, written: 0 where a row does not count. */
    uint64_t losses;
    /** `[rows]` u32, written: 1 where the label is the first of the largest logits. */
    uint64_t correct;
    /** Columns. */
    uint64_t vocab;
    /** Of every gradient. */
    float scale;
    /** The soft cap; 0 for none. */
    float cap;
    /** Whether the gradient is wanted. */
    uint64_t gradient;
};

static_assert(sizeof(CrossEntropyParams) == 56, "CrossEntropyParams is shared with Rust");

/** Sums over the rows. */
struct CrossEntropySumParams {
    /** `[rows]` f64 */
    uint64_t losses;
    /** `[rows]` u32 */
    uint64_t correct;
    /** `[rows]` i64 */
    uint64_t labels;
    /** `[3]` f64, added to: losses, rows that count, correct ones. */
    uint64_t sums;
    /** Rows. */
    uint64_t rows;
};

static_assert(sizeof(CrossEntropySumParams) == 40, "CrossEntropySumParams is shared with Rust");

/** The first of the sums as an f32. */
struct CrossEntropyLossParams {
    /** `[3]` f64 */
    uint64_t sums;
    /** `[1]` f32, written. */
    uint64_t loss;
};

static_assert(sizeof(CrossEntropyLossParams) == 16, "CrossEntropyLossParams is shared with Rust");
