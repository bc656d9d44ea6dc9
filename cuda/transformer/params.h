/* Parameters of the kernels around a block's products. */
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

/** Threads of a block of a function of single elements. */
static const uint32_t POINTWISE_THREADS = 256;

/** Elements that one such block takes: a vector of four for each thread. */
static const uint32_t POINTWISE_ELEMENTS = 4 * POINTWISE_THREADS;

/** `y = act(x)`, or `y = cap * tanh(x / cap)`; backward `y *= act'(x)`, in place. */
struct PointwiseParams {
    /** `[len]` */
    uint64_t x;
    /** `[len]`, written; backward the gradient of the result, turned into that of `x`. */
    uint64_t y;
    /** Elements. */
    uint64_t len;
    /** One of `ACTIVATION_*`; a soft cap ignores it. */
    uint32_t activation;
    /** The soft cap; an activation ignores it. */
    float cap;
};

static_assert(sizeof(PointwiseParams) == 32, "PointwiseParams is shared with Rust");

/** `y = a + b`, or `y = a / b`. `y` may be `a`. */
struct BinaryParams {
    /** `[len]` */
    uint64_t a;
    /** `[len]` */
    uint64_t b;
    /** `[len]`, written. */
    uint64_t y;
    /** Elements. */
    uint64_t len;
};

static_assert(sizeof(BinaryParams) == 32, "BinaryParams is shared with Rust");

/** `y = factor * x`, or that added to `y`. `y` may be `x`. */
struct ScaleParams {
    /** `[len]` */
    uint64_t x;
    /** `[len]`, written. */
    uint64_t y;
    /** `[1]` f32 that multiplies the factor; 0 for none. */
    uint64_t multiplier;
    /** Elements. */
    uint64_t len;
    /** Of every element. */
    float factor;
    /** 1 to add to what `y` holds, 0 to replace it. */
    uint32_t add;
};

static_assert(sizeof(ScaleParams) == 40, "ScaleParams is shared with Rust");

/** Threads of a block that copies one row. */
static const uint32_t ROWS_THREADS = 128;

/** No row: nothing is left out. */
static const uint32_t ROWS_NONE = 0xffffffffu;

/** `y[i] = factor * x[rows[i]]`; transposed `x[rows[i]] += factor * y[i]`. */
struct RowsParams {
    /** `[.., width]`, read; written by the transposed map. */
    uint64_t x;
    /** `[count]` u32, rows of `x`. */
    uint64_t rows;
    /** `[count, width]`, written; read by the transposed map. */
    uint64_t y;
    /** Elements of `rows`. */
    uint64_t count;
    /** Elements of a row. */
    uint64_t width;
    /** Of every element. */
    float factor;
    /** The row that the transposed map leaves as it is, or `ROWS_NONE`. */
    uint32_t kept;
};

static_assert(sizeof(RowsParams) == 48, "RowsParams is shared with Rust");

/** `count` blocks of `len` columns, `stride` from one to the next, gathered side by side; transposed, put or added back. */
struct ColumnsParams {
    /** `[rows, columns]`, read; written or added to by the transposed map. */
    uint64_t x;
    /** `[rows, count * len]`, written; read by the transposed map. */
    uint64_t y;
    /** Columns of `x`. */
    uint64_t columns;
    /** The first column of the first block. */
    uint64_t start;
    /** Columns of a block. */
    uint64_t len;
    /** Columns from a block to the next. */
    uint64_t stride;
    /** Blocks. */
    uint64_t count;
};

static_assert(sizeof(ColumnsParams) == 56, "ColumnsParams is shared with Rust");

/** `y[r] = x[r] + factor * row`. `y` may be `x`. */
struct BroadcastParams {
    /** `[rows, columns]`; 0 for zeros. */
    uint64_t x;
    /** `[columns]` */
    uint64_t row;
    /** `[rows, columns]`, written. */
    uint64_t y;
    /** Elements of a row. */
    uint64_t columns;
    /** Of every element of `row`. */
    float factor;
    /** Nothing. */
    uint32_t padding;
};

static_assert(sizeof(BroadcastParams) == 40, "BroadcastParams is shared with Rust");

/** The same rows before every sequence of a packed batch: `y[s] = [prompt; x[s]]`; the gradients of both parts. */
struct PrependParams {
    /** `[prompt_rows, width]`; in the backward its gradient, written. */
    uint64_t prompt;
    /** `[num_tokens, width]`; in the backward its gradient, written. */
    uint64_t x;
    /** `[num_tokens + num_sequences * prompt_rows, width]`, written; in the backward its gradient, read. */
    uint64_t y;
    /** `[num_sequences + 1]` u32: the starts of the sequences in `x`, then its rows. */
    uint64_t cu_seqlens;
    /** Sequences. */
    uint64_t num_sequences;
    /** Rows before every sequence. */
    uint64_t prompt_rows;
    /** Elements of a row. */
    uint64_t width;
    /** 1 to add to what a gradient holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(PrependParams) == 64, "PrependParams is shared with Rust");

/** `y[s]` = the mean of the rows of sequence `s` of `x`; backward the gradient of `x`. */
struct MeanRowsParams {
    /** `[num_rows, width]`; in the backward its gradient, written. */
    uint64_t x;
    /** `[num_sequences, width]`, written; in the backward its gradient, read. */
    uint64_t y;
    /** `[num_sequences + 1]` u32: the starts of the sequences in `x`, then its rows. */
    uint64_t cu_seqlens;
    /** Sequences. */
    uint64_t num_sequences;
    /** Elements of a row. */
    uint64_t width;
    /** 1 to add to what the gradient holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(MeanRowsParams) == 48, "MeanRowsParams is shared with Rust");

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

/** Threads of a block that takes one row of a gated activation. */
static const uint32_t GATED_THREADS = 256;

/** `x * sigmoid(x)` */
static const uint32_t ACTIVATION_SILU = 0;
/** `x * Phi(x)` */
static const uint32_t ACTIVATION_GELU = 1;
/** `x * sigmoid(2 sqrt(2/pi) (x + 0.044715 x^3))` */
static const uint32_t ACTIVATION_GELU_TANH = 2;
/** `x * sigmoid(1.702 x)` */
static const uint32_t ACTIVATION_QUICK_GELU = 3;
/** `max(x, 0)` */
static const uint32_t ACTIVATION_RELU = 4;
/** `tanh(x)` */
static const uint32_t ACTIVATION_TANH = 5;

/** `y = act(gate) * up` */
struct GatedForwardParams {
    /** `[rows, features]`, `stride` elements from row to row. */
    uint64_t gate;
    /** As `gate`. */
    uint64_t up;
    /** `[rows, features]`, written. */
    uint64_t y;
    /** Columns of a row. */
    uint64_t features;
    /** Elements from a row of `gate` and of `up` to the next: `features`, or twice that where they lie side by side. */
    uint64_t stride;
    /** One of `ACTIVATION_*`. */
    uint64_t activation;
};

static_assert(sizeof(GatedForwardParams) == 48, "GatedForwardParams is shared with Rust");

/** `dgate = dy * up * act'(gate)`, `dup = dy * act(gate)` */
struct GatedBackwardParams {
    /** `[rows, features]`, `stride` elements from row to row. */
    uint64_t gate;
    /** As `gate`. */
    uint64_t up;
    /** `[rows, features]` */
    uint64_t dy;
    /** `[rows, features]`, written, `gradient_stride` elements from row to row. */
    uint64_t dgate;
    /** As `dgate`. */
    uint64_t dup;
    /** Columns of a row. */
    uint64_t features;
    /** Elements from a row of `gate` and of `up` to the next. */
    uint64_t stride;
    /** Elements from a row of `dgate` and of `dup` to the next. */
    uint64_t gradient_stride;
    /** One of `ACTIVATION_*`. */
    uint64_t activation;
};

static_assert(sizeof(GatedBackwardParams) == 72, "GatedBackwardParams is shared with Rust");

/** Threads of a block that rotates the heads of one token. */
static const uint32_t ROPE_THREADS = 128;

/** Rotation of channel pairs `j`, `j + rotary_dim / 2` of every head. `y` may be `x`. */
struct RopeParams {
    /** `[num_tokens, x_stride]`, the heads side by side from the start of a row. */
    uint64_t x;
    /** `[num_tokens, y_stride]`, written where there are heads. */
    uint64_t y;
    /** `[max_positions, rotary_dim / 2]` f32 */
    uint64_t cos;
    /** `[max_positions, rotary_dim / 2]` f32 */
    uint64_t sin;
    /** `[num_tokens]` u32, below `max_positions`. */
    uint64_t positions;
    /** Elements from a token of `x` to the next. */
    uint64_t x_stride;
    /** Elements from a token of `y` to the next. */
    uint64_t y_stride;
    /** Heads of a token. */
    uint32_t num_heads;
    /** Channels of a head. */
    uint32_t head_dim;
    /** Channels of a head that rotate. */
    uint32_t rotary_dim;
    /** 1 forward, -1 backward: the sign of the sines. */
    float direction;
};

static_assert(sizeof(RopeParams) == 72, "RopeParams is shared with Rust");
