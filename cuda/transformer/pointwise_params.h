/* Parameters of functions of single elements. */
#pragma once
#include <stdint.h>

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
