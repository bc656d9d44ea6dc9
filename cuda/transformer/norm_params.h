/* Parameters of the norms and of the sums of columns in their backward pass. */
#pragma once
#include <stdint.h>

/** Threads of a block that normalises one row. */
static const uint32_t NORM_THREADS = 256;

/** Shared memory of that block: one f32 for each warp. */
static const uint32_t NORM_SHARED_BYTES = NORM_THREADS / 32 * 4;

/** Threads of a block that sums columns. */
static const uint32_t COLUMN_SUM_THREADS = 128;

/** Columns that one such block sums: a vector of four for each thread. */
static const uint32_t COLUMN_SUM_COLUMNS = 4 * COLUMN_SUM_THREADS;

/** Rows whose terms one such block adds up. */
static const uint32_t COLUMN_SUM_ROWS = 64;

/** `sums[c]` = the sum of `partials[.., c]`, in order. */
struct ColumnSumParams {
    /** `[count, columns]` f32 */
    uint64_t partials;
    /** `[columns]` f32, written. */
    uint64_t sums;
    /** Rows of `partials`. */
    uint64_t count;
    /** Columns. */
    uint64_t columns;
    /** 1 to add to what `sums` holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(ColumnSumParams) == 40, "ColumnSumParams is shared with Rust");

/** `y = x * rstd * w` */
struct RmsNormForwardParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[hidden]`, of the type of `x`. */
    uint64_t weight;
    /** `[rows, hidden]`, written. */
    uint64_t y;
    /** `[rows]` f32, written. */
    uint64_t rstd;
    /** Elements of a row. */
    uint64_t hidden;
    /** Added to the mean square. */
    float eps;
    /** Added to the weight: 1 or 0. */
    float offset;
};

static_assert(sizeof(RmsNormForwardParams) == 48, "RmsNormForwardParams is shared with Rust");

/** The gradient of `x`. */
struct RmsNormBackwardParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[hidden]`, of the type of `x`. */
    uint64_t weight;
    /** `[rows]` f32 */
    uint64_t rstd;
    /** `[rows, hidden]` */
    uint64_t dy;
    /** `[rows, hidden]`, written. */
    uint64_t dx;
    /** Elements of a row. */
    uint64_t hidden;
    /** Added to the weight: 1 or 0. */
    float offset;
    /** 1 to add to what `dx` holds, 0 to replace it. */
    uint32_t add;
};

static_assert(sizeof(RmsNormBackwardParams) == 56, "RmsNormBackwardParams is shared with Rust");

/** The terms of the weight's gradient, summed over blocks of rows. */
struct RmsNormWeightParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[rows]` f32 */
    uint64_t rstd;
    /** `[rows, hidden]` */
    uint64_t dy;
    /** `[ceil(rows / COLUMN_SUM_ROWS), hidden]` f32, written. */
    uint64_t partials;
    /** Rows. */
    uint64_t rows;
    /** Elements of a row. */
    uint64_t hidden;
};

static_assert(sizeof(RmsNormWeightParams) == 48, "RmsNormWeightParams is shared with Rust");

/** `y = (x - mean) * rstd * w + b` */
struct LayerNormForwardParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[hidden]`, of the type of `x`. */
    uint64_t weight;
    /** `[hidden]`, of the type of `x`; 0 for none. */
    uint64_t bias;
    /** `[rows, hidden]`, written. */
    uint64_t y;
    /** `[rows, 2]` f32, written: mean and rstd. */
    uint64_t statistics;
    /** Elements of a row. */
    uint64_t hidden;
    /** Added to the variance. */
    float eps;
    /** Nothing. */
    uint32_t padding;
};

static_assert(sizeof(LayerNormForwardParams) == 56, "LayerNormForwardParams is shared with Rust");

/** The gradient of `x`. */
struct LayerNormBackwardParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[hidden]`, of the type of `x`. */
    uint64_t weight;
    /** `[rows, 2]` f32 */
    uint64_t statistics;
    /** `[rows, hidden]` */
    uint64_t dy;
    /** `[rows, hidden]`, written. */
    uint64_t dx;
    /** Elements of a row. */
    uint64_t hidden;
    /** 1 to add to what `dx` holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(LayerNormBackwardParams) == 56, "LayerNormBackwardParams is shared with Rust");

/** The terms of the gradients of weight and bias, summed over blocks of rows. */
struct LayerNormWeightParams {
    /** `[rows, hidden]` */
    uint64_t x;
    /** `[rows, 2]` f32 */
    uint64_t statistics;
    /** `[rows, hidden]` */
    uint64_t dy;
    /** `[ceil(rows / COLUMN_SUM_ROWS), hidden]` f32, written; 0 if not wanted. */
    uint64_t weight_partials;
    /** As `weight_partials`, of the bias. */
    uint64_t bias_partials;
    /** Rows. */
    uint64_t rows;
    /** Elements of a row. */
    uint64_t hidden;
};

static_assert(sizeof(LayerNormWeightParams) == 56, "LayerNormWeightParams is shared with Rust");
