/* Parameters of the AdamW kernels. */
#pragma once
#include <stdint.h>

/** Threads of a block, in every kernel here. */
static const uint32_t ADAMW_THREADS = 256;

/** Elements that one block of the step updates: a vector of four for each thread. */
static const uint32_t ADAMW_STEP_ELEMENTS = 4 * ADAMW_THREADS;

/** Gradients whose squares one block adds up. The number of partial sums depends on nothing else but their number. */
static const uint32_t ADAMW_NORM_ELEMENTS = 64 * ADAMW_THREADS;

/** Shared memory of the two reductions: one f64 for each warp. */
static const uint32_t ADAMW_NORM_SHARED_BYTES = ADAMW_THREADS / 32 * 8;

/** What a step multiplies by, as the CPU computes it: in f64, rounded once. */
struct AdamWRates {
    /** `1 - lr * weight_decay` */
    float keep;
    /** `1 - beta1` */
    float one_minus_beta1;
    /** `beta2` */
    float beta2;
    /** `1 - beta2` */
    float one_minus_beta2;
    /** `sqrt(1 - beta2^step)` */
    float sqrt_bias_correction2;
    /** `epsilon` */
    float epsilon;
    /** `lr / (1 - beta1^step)` */
    float step_size;
};

static_assert(sizeof(AdamWRates) == 28, "AdamWRates is shared with Rust");

/** One step over the parameters of one group. */
struct AdamWStepParams {
    /** `[len]` f32 */
    uint64_t gradients;
    /** `[len]` f32, updated. */
    uint64_t parameters;
    /** `[len]` f32, updated. */
    uint64_t exp_avg;
    /** `[len]` f32, updated. */
    uint64_t exp_avg_sq;
    /** `[len]` bf16, written with the rounded parameters; read by no kernel that writes none. */
    uint64_t shadow;
    /** One f32: the factor of every gradient, that is, the clip coefficient. With NaN nothing is changed. */
    uint64_t grad_scale;
    /** Parameters of the group. */
    uint64_t len;
    /** Of the group. */
    AdamWRates rates;
    /** Not used: without it the struct would end in padding. */
    uint32_t padding;
};

static_assert(sizeof(AdamWStepParams) == 88, "AdamWStepParams is shared with Rust");

/** Elements of a block of 8-bit codes, which one block of threads updates. */
static const uint32_t ADAMW_CODE_BLOCK = ADAMW_THREADS;

/** Shared memory of that block: both maps, and one f32 for each warp. */
static const uint32_t ADAMW_8BIT_SHARED_BYTES = 2 * 256 * 4 + ADAMW_THREADS / 32 * 4;

/** One step over one tensor whose moments are 8-bit codes, in blocks with one scale each. */
struct AdamWStep8bitParams {
    /** `[len]` f32 */
    uint64_t gradients;
    /** `[len]` f32, updated. */
    uint64_t parameters;
    /** `[len]` u8, updated. */
    uint64_t exp_avg;
    /** `[ceil(len / ADAMW_CODE_BLOCK)]` f32, updated. */
    uint64_t exp_avg_absmax;
    /** `[len]` u8, updated. */
    uint64_t exp_avg_sq;
    /** `[ceil(len / ADAMW_CODE_BLOCK)]` f32, updated. */
    uint64_t exp_avg_sq_absmax;
    /** `[256]` f32: what codes of the first moment stand for. */
    uint64_t signed_map;
    /** `[256]` f32: what codes of the second moment stand for. */
    uint64_t unsigned_map;
    /** `[len]` bf16, written with the rounded parameters; read by no kernel that writes none. */
    uint64_t shadow;
    /** One f32: the factor of every gradient, that is, the clip coefficient. With NaN nothing is changed. */
    uint64_t grad_scale;
    /** Parameters of the tensor. */
    uint64_t len;
    /** Of the tensor. */
    AdamWRates rates;
    /** Not used: without it the struct would end in padding. */
    uint32_t padding;
};

static_assert(sizeof(AdamWStep8bitParams) == 120, "AdamWStep8bitParams is shared with Rust");

/** First stage of the gradient norm: the sum of squares of each `ADAMW_NORM_ELEMENTS` gradients. */
struct AdamWSumOfSquaresParams {
    /** `[len]` f32 */
    uint64_t gradients;
    /** `[ceil(len / ADAMW_NORM_ELEMENTS)]` f64, written. */
    uint64_t partials;
    /** Gradients. */
    uint64_t len;
};

static_assert(sizeof(AdamWSumOfSquaresParams) == 24, "AdamWSumOfSquaresParams is shared with Rust");

/** What is known of the steps so far, without asking the host. */
struct AdamWOutcome {
    /** The norm of the latest step that was taken, or of the first that failed. */
    double norm;
    /** The sum of its losses. */
    double loss;
    /** Steps since the first of which a loss or the norm was no number, it included; 0 if there was none. */
    uint64_t failed;
};

static_assert(sizeof(AdamWOutcome) == 24, "AdamWOutcome is shared with Rust");

/** Second stage: the norm, the factor that clips it, and whether the step is to be taken. */
struct AdamWClipParams {
    /** `[count]` f64 */
    uint64_t partials;
    /** `[loss_count]` f32 */
    uint64_t losses;
    /** One AdamWOutcome, updated. */
    uint64_t outcome;
    /** One f32, written: `min(max_norm / (norm + 1e-6), 1)`, or NaN from the first step on that failed. */
    uint64_t grad_scale;
    /** Partial sums. */
    uint64_t count;
    /** Losses. */
    uint64_t loss_count;
    /** The largest norm that is left as it is. */
    float max_norm;
    /** Not used: without it the struct would end in padding. */
    uint32_t padding;
};

static_assert(sizeof(AdamWClipParams) == 56, "AdamWClipParams is shared with Rust");
