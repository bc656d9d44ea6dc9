/* Parameters of the kernels of a weight of Kronecker products. */
#pragma once
#include <stdint.h>

/** Threads of a block. */
static const uint32_t PHM_THREADS = 256;

/** Shared memory of a block that sums: one f32 for each warp. */
static const uint32_t PHM_SHARED_BYTES = PHM_THREADS / 32 * 4;

/** `W = (sum_i A_i (x) L_i R_i)^T` with `M_i = L_i R_i`; all f32. A kernel reads what its formula names and writes one. */
struct PhmParams {
    /** `A`, `[n, n, n]` */
    uint64_t rule;
    /** `L`, `[n, p, rank]` */
    uint64_t left;
    /** `R`, `[n, rank, q]` */
    uint64_t right;
    /** The transposes of `M`, or those of their gradients, `[n, q, p]`. */
    uint64_t products;
    /** `W`, or its gradient, `[n * q, n * p]`. */
    uint64_t weight;
    /** The gradient of `A`, `L` or `R`. */
    uint64_t gradient;
    /** 1 to add to what `gradient` holds, 0 to replace it. */
    uint64_t add;
    /** Products. */
    uint32_t n;
    /** Rows of `L_i`. */
    uint32_t p;
    /** Columns of `R_i`. */
    uint32_t q;
    /** Columns of `L_i`. */
    uint32_t rank;
};

static_assert(sizeof(PhmParams) == 72, "PhmParams is shared with Rust");
