/* Parameters of the activations. */
#pragma once
#include <stdint.h>

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

/** `y = act(gate) * up`, times `scale` */
struct GatedForwardParams {
    /** `[rows, features]`, `stride` elements from row to row. */
    uint64_t gate;
    /** As `gate`. */
    uint64_t up;
    /** `[rows, features]`, written. */
    uint64_t y;
    /** `[features]` f32, another factor of `y`; 0 for none. */
    uint64_t scale;
    /** Columns of a row. */
    uint64_t features;
    /** Elements from a row of `gate` and of `up` to the next: `features`, or twice that where they lie side by side. */
    uint64_t stride;
    /** One of `ACTIVATION_*`. */
    uint64_t activation;
};

static_assert(sizeof(GatedForwardParams) == 56, "GatedForwardParams is shared with Rust");

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

/** `dgate = dy * scale * up * act'(gate)`, `dup = dy * scale * act(gate)`, and sums of `dy * act(gate) * up`. */
struct GatedScaledBackwardParams {
    /** `[rows, features]`, `stride` elements from row to row. */
    uint64_t gate;
    /** As `gate`. */
    uint64_t up;
    /** `[features]` f32 */
    uint64_t scale;
    /** `[rows, features]` */
    uint64_t dy;
    /** `[rows, features]`, written, `gradient_stride` elements from row to row. */
    uint64_t dgate;
    /** As `dgate`. */
    uint64_t dup;
    /** `[ceil(rows / COLUMN_SUM_ROWS), features]` f32, written. */
    uint64_t partials;
    /** Rows. */
    uint64_t rows;
    /** Columns of a row. */
    uint64_t features;
    /** Elements from a row of `gate` and of `up` to the next. */
    uint64_t stride;
    /** Elements from a row of `dgate` and of `dup` to the next. */
    uint64_t gradient_stride;
    /** One of `ACTIVATION_*`. */
    uint64_t activation;
};

static_assert(sizeof(GatedScaledBackwardParams) == 96, "GatedScaledBackwardParams is shared with Rust");
