/* Parameters of the (IA)^3 kernels. */
#pragma once
#include <stdint.h>

/** Threads of a block, in every kernel here. */
static const uint32_t IA3_THREADS = 128;

/** Channels that one block covers: a vector of four for each thread. */
static const uint32_t IA3_CHANNELS = 4 * IA3_THREADS;

/** Tokens that one block scales, with the factors in registers. */
static const uint32_t IA3_SCALE_TOKENS = 16;

/** Tokens whose products one block adds up: `ROWS` of the CPU implementation, so that the sums are the same. */
static const uint32_t IA3_SUM_TOKENS = 64;

/** `y[t, c] = x[t, c] ia3_l[c]`, of activations and of gradients. */
struct Ia3ScaleParams {
    /** `[num_tokens, features]` */
    uint64_t x;
    /** `[features]` f32 */
    uint64_t ia3_l;
    /** `[num_tokens, features]`, written. */
    uint64_t y;
    /** Tokens of all sequences. */
    uint64_t num_tokens;
    /** Channels. */
    uint64_t features;
};

static_assert(sizeof(Ia3ScaleParams) == 40, "Ia3ScaleParams is shared with Rust");

/** The sums over blocks of tokens, and the scaled gradient in the same pass if it is wanted. */
struct Ia3BackwardParams {
    /** `[num_tokens, features]` */
    uint64_t x;
    /** `[features]` f32 */
    uint64_t ia3_l;
    /** `[num_tokens, features]` */
    uint64_t grad_y;
    /** `[num_tokens, features]`, written; 0 if it is not wanted. */
    uint64_t grad_x;
    /** `[ceil(num_tokens / IA3_SUM_TOKENS), features]` f32, written. */
    uint64_t partials;
    /** Tokens of all sequences. */
    uint64_t num_tokens;
    /** Channels. */
    uint64_t features;
};

static_assert(sizeof(Ia3BackwardParams) == 56, "Ia3BackwardParams is shared with Rust");

/** `grad_ia3_l[c]` = the sum of `partials[.., c]`, in order. */
struct Ia3SumParams {
    /** `[count, features]` f32 */
    uint64_t partials;
    /** `[features]` f32, written. */
    uint64_t grad_ia3_l;
    /** Rows of `partials`. */
    uint64_t count;
    /** Channels. */
    uint64_t features;
};

static_assert(sizeof(Ia3SumParams) == 32, "Ia3SumParams is shared with Rust");
