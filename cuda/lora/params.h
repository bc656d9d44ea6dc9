/* Parameters of the LoRA kernels. */
#pragma once
#include <stdint.h>

#include "nf4/params.h"

/** Projections that one launch computes at most: q, k and v. */
static const uint32_t LORA_MAX_PROJECTIONS = 3;

/** Rows and columns of `y` and of the gradient of `x` that a block computes. */
static const uint32_t LORA_TILE = 128;

/** Threads of that block. */
static const uint32_t LORA_THREADS = 256;

/** Its shared memory. */
static const uint32_t LORA_SHARED_BYTES = LORA_TILE * (LORA_TILE + 8) * 4;

/** The same with a quantized weight. */
static const uint32_t LORA_NF4_SHARED_BYTES = LORA_SHARED_BYTES + NF4_CODEBOOK_BYTES;

/** Rows and columns that a block computes of a product with a side as short as the rank. */
static const uint32_t LORA_NARROW_TILE = 64;

/** Threads of that block. */
static const uint32_t LORA_NARROW_THREADS = 128;

/** Its shared memory. */
static const uint32_t LORA_NARROW_SHARED_BYTES = 4 * 2 * LORA_NARROW_TILE * 128;

/** Which elements of `x` an adapter drops: those whose random word, shifted right by 8, is below `threshold`. */
struct LoraDropout {
    /** Of the Philox stream. */
    uint32_t key[2];
    /** Third word of the counter. */
    uint32_t step;
    /** Fourth word of the counter. */
    uint32_t site;
    /** `probability 2^24`, rounded up; 0 drops nothing. */
    uint32_t threshold;
    /** `1 / (1 - probability)` */
    float scale;
};

static_assert(sizeof(LoraDropout) == 24, "LoraDropout is shared with Rust");

/** Threads of a block that drops elements, four each. */
static const uint32_t DROPOUT_THREADS = 256;

/** `y = mask / (1 - p) * x`, or that added to `y`. */
struct DropoutParams {
    /** `[len]` */
    uint64_t x;
    /** `[len]`, written. */
    uint64_t y;
    /** Elements. */
    uint64_t len;
    /** Which elements. */
    LoraDropout dropout;
    /** 1 to add to what `y` holds, 0 to replace it. */
    uint64_t add;
};

static_assert(sizeof(DropoutParams) == 56, "DropoutParams is shared with Rust");

/** Threads of a block that finishes norms, one for each output. */
static const uint32_t DORA_THREADS = 128;

/** Columns that one such block takes of a weight whose outputs are columns; for outputs in rows it takes one row. */
static const uint32_t DORA_COLUMNS = DORA_THREADS;

/** Its shared memory: an f64 for each warp. */
static const uint32_t DORA_SHARED_BYTES = DORA_THREADS / 32 * 8;

/** `squares[o] = |W[o]|^2` */
struct DoraSquaresParams {
    /** `[outputs, inputs]`; of the kernel for columns `[inputs, outputs]`. */
    uint64_t weight;
    /** `[outputs]` f64, written. */
    uint64_t squares;
    /** Elements of an output. */
    uint64_t inputs;
    /** Outputs. */
    uint64_t outputs;
};

static_assert(sizeof(DoraSquaresParams) == 32, "DoraSquaresParams is shared with Rust");

/** `norm[o] = |W[o] + scaling (B A)[o]|` from products with the low rank. */
struct DoraNormParams {
    /** `|W[o]|^2`, `[outputs]` f64 */
    uint64_t squares;
    /** `B`, `[outputs, rank]` f32 */
    uint64_t lora_b;
    /** `A W^T`, `[rank, outputs]` f32 */
    uint64_t aw;
    /** `B (A A^T)`, `[outputs, rank]` f32 */
    uint64_t bg;
    /** `[outputs]` f32, written. */
    uint64_t norm;
    /** Outputs. */
    uint64_t outputs;
    /** Rows of `A`. */
    uint64_t rank;
    /** Factor of the adapter. */
    double scaling;
};

static_assert(sizeof(DoraNormParams) == 64, "DoraNormParams is shared with Rust");

/** Threads of the block that compares a Gram matrix with the identity. */
static const uint32_t ORTHOGONALITY_THREADS = 256;

/** Its shared memory: an f64 for each warp. */
static const uint32_t ORTHOGONALITY_SHARED_BYTES = ORTHOGONALITY_THREADS / 32 * 8;

/** `norm = |G - I|_F`, and `G = (G - I) / norm`. */
struct OrthogonalityParams {
    /** `G`, `[rank, rank]` f32, replaced. */
    uint64_t gram;
    /** `[1]` f32, written. */
    uint64_t norm;
    /** Rows and columns. */
    uint64_t rank;
};

static_assert(sizeof(OrthogonalityParams) == 24, "OrthogonalityParams is shared with Rust");

/** One projection: `y = x W^T + bias + scaling (drop(x) A^T B^T + lora_bias)`. */
struct LoraProjection {
    /** `W`, `[out_features, in_features]`; 0 if it is quantized. */
    uint64_t weight;
    /** `[out_features]`, or 0. */
    uint64_t bias;
    /** `A`, `[rank, in_features]` */
    uint64_t lora_a;
    /** `B`, `[out_features, rank]` */
    uint64_t lora_b;
    /** `[out_features]`, or 0. */
    uint64_t lora_bias;
    /** `scaling drop(x) A^T`, `[num_tokens, rank]`, written by the forward pass. */
    uint64_t s;
    /** `[num_tokens, out_features]`, written by the forward pass; in the backward pass its gradient. */
    uint64_t y;
    /** `[num_tokens, rank]`, `scaling dY B`, written by the backward pass. */
    uint64_t grad_s;
    /** What a narrow product is written to: `s`, `grad_s`, or the f32 gradient of `A` or `B`. */
    uint64_t result;
    /** Instead `[slabs, rows, columns]` f32, if the product is summed in several slabs; 0 otherwise. */
    uint64_t partials;
    /** Columns of `y`. */
    uint64_t out_features;
    /** Rows of `A`. */
    uint64_t rank;
    /** `W` in NF4, which only the kernels of that name read. */
    Nf4Weight quantized;
    /** Of the adapter's input. */
    LoraDropout dropout;
    /** Factor of the adapter. */
    float scaling;
    /** 1 if `W` is stored `[in_features, out_features]`. */
    uint32_t weight_transposed;
    /** Factor of `result`. */
    float alpha;
    /** 1 to add to what `result` holds. */
    uint32_t add;
};

static_assert(sizeof(LoraProjection) == 192, "LoraProjection is shared with Rust");

/** Projections of one input. */
struct LoraParams {
    /** The first `count` are computed. */
    LoraProjection projections[LORA_MAX_PROJECTIONS];
    /** `[num_tokens, in_features]` */
    uint64_t x;
    /** `[num_tokens, in_features]`, written by the kernel of that name. */
    uint64_t grad_x;
    /** Rows of `x` and `y`. */
    uint64_t num_tokens;
    /** Columns of `x`. */
    uint64_t in_features;
    /** Depth that one block of a narrow product sums. */
    uint64_t slab_depth;
    /** What the codes of quantized weights stand for. */
    float codebook[16];
    /** Projections. */
    uint32_t count;
    /** 1 to add to what `grad_x` holds. */
    uint32_t add;
};

static_assert(sizeof(LoraParams) == 688, "LoraParams is shared with Rust");
