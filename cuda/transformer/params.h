/* Parameters of the kernels around a block's products. */
#pragma once
#include <stdint.h>

/** Threads of a block that normalises one row. */
static const uint32_t RMS_NORM_THREADS = 256;

/** Shared memory of that block: one f32 for each warp. */
static const uint32_t RMS_NORM_SHARED_BYTES = RMS_NORM_THREADS / 32 * 4;

/** Threads of a block that sums columns. */
static const uint32_t RMS_NORM_COLUMN_THREADS = 128;

/** Columns that one such block sums: a vector of four for each thread. */
static const uint32_t RMS_NORM_COLUMNS = 4 * RMS_NORM_COLUMN_THREADS;

/** Rows whose terms one such block adds up. */
static const uint32_t RMS_NORM_SUM_ROWS = 64;

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
    /** `[ceil(rows / RMS_NORM_SUM_ROWS), hidden]` f32, written. */
    uint64_t partials;
    /** Rows. */
    uint64_t rows;
    /** Elements of a row. */
    uint64_t hidden;
};

static_assert(sizeof(RmsNormWeightParams) == 48, "RmsNormWeightParams is shared with Rust");

/** `sums[c]` = the sum of `partials[.., c]`, in order. */
struct RmsNormSumParams {
    /** `[count, hidden]` f32 */
    uint64_t partials;
    /** `[hidden]` f32, written. */
    uint64_t sums;
    /** Rows of `partials`. */
    uint64_t count;
    /** Columns. */
    uint64_t hidden;
    /** 1 to add to what `sums` holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(RmsNormSumParams) == 40, "RmsNormSumParams is shared with Rust");

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
