/* Parameters of the dense products. */
#pragma once
#include <stdint.h>

/** Rows and columns of C that a block computes. */
static const uint32_t GEMM_TILE = 128;

/** Threads of that block. */
static const uint32_t GEMM_THREADS = 256;

/** Its shared memory: the tile of C, which is more than the stages of A and B. */
static const uint32_t GEMM_SHARED_BYTES = GEMM_TILE * (GEMM_TILE + 8) * 4;

/** Rows and columns of C that a block computes if C has few of them. */
static const uint32_t GEMM_NARROW_TILE = 64;

/** Threads of that block. */
static const uint32_t GEMM_NARROW_THREADS = 128;

/** Its shared memory: four stages of 128 bytes of every row of A and every column of B. */
static const uint32_t GEMM_NARROW_SHARED_BYTES = 4 * 2 * GEMM_NARROW_TILE * 128;

/** A part of the depth that one block adds up is a multiple of this. */
static const uint32_t GEMM_SLAB_UNIT = 64;

/** Threads of a block that adds up partial products. */
static const uint32_t GEMM_SUM_THREADS = 256;

/** Elements of C that one such block writes: a vector of four for each thread. */
static const uint32_t GEMM_SUM_ELEMENTS = 4 * GEMM_SUM_THREADS;

/** Rows of C that a block of `gemm_wgmma` computes at a time. */
static const uint32_t GEMM_WGMMA_TILE_M = 128;

/** Columns of C that it computes at a time. */
static const uint32_t GEMM_WGMMA_TILE_N = 256;

/** Depth of a stage: the columns of a box. */
static const uint32_t GEMM_WGMMA_TILE_K = 64;

/** Threads of that block: a warpgroup that copies and two that multiply. */
static const uint32_t GEMM_WGMMA_THREADS = 384;

/** Its shared memory: four stages and their barriers. */
static const uint32_t GEMM_WGMMA_SHARED_BYTES = 4 * (GEMM_WGMMA_TILE_M + GEMM_WGMMA_TILE_N) * GEMM_WGMMA_TILE_K * 2 + 1024;

/** Results of one launch at most. */
static const uint32_t GEMM_WGMMA_MAX_SUMS = 3;

/** Products of one launch at most. */
static const uint32_t GEMM_WGMMA_MAX_TERMS = 6;

/** `C = alpha A B`, plus a bias or what C holds; or the partial products of slabs of the depth. */
struct GemmParams {
    /** `[m, k]` */
    uint64_t a;
    /** `[k, n]` */
    uint64_t b;
    /** `[m, n]`, written; with several slabs `[slabs, m, n]` f32. */
    uint64_t c;
    /** `[n]`, of the type of A; 0 for none. */
    uint64_t bias;
    /** `[n]` f32, the last factor of each column; 0 for none. */
    uint64_t scale;
    /** As `c`, written: the result without `scale`; 0 if it is not wanted. */
    uint64_t unscaled;
    /** Elements from row to row of A as stored. */
    uint64_t a_stride;
    /** Elements from row to row of B as stored. */
    uint64_t b_stride;
    /** Elements from row to row of C. */
    uint64_t c_stride;
    /** Rows of A. */
    uint64_t m;
    /** Columns of B. */
    uint64_t n;
    /** Columns of A, rows of B. */
    uint64_t k;
    /** Depth that one block adds up: `k` in one slab. */
    uint64_t slab_depth;
    /** 1 to add to what C holds. */
    uint64_t add;
    /** Factor of the product. */
    float alpha;
    /** 1 if A is stored `[k, m]`. */
    uint32_t a_transposed;
    /** 1 if B is stored `[n, k]`. */
    uint32_t b_transposed;
    /** 1 if C is f32 whatever A and B are. */
    uint32_t c_wide;
};

static_assert(sizeof(GemmParams) == 128, "GemmParams is shared with Rust");

/** `C = alpha` times the sum of the slabs' products, in order, plus a bias or what C holds. */
struct GemmSumParams {
    /** `[slabs, m, n]` f32 */
    uint64_t partials;
    /** `[m, n]`, written. */
    uint64_t c;
    /** `[n]`, of the type of A; 0 for none. */
    uint64_t bias;
    /** `[n]` f32, the last factor of each column; 0 for none. */
    uint64_t scale;
    /** As `c`, written: the result without `scale`; 0 if it is not wanted. */
    uint64_t unscaled;
    /** Elements from row to row of C. */
    uint64_t c_stride;
    /** Rows of C. */
    uint64_t m;
    /** Columns of C. */
    uint64_t n;
    /** Parts of the depth. */
    uint64_t slabs;
    /** Factor of the product. */
    float alpha;
    /** 1 if C is f32 whatever A and B are. */
    uint32_t c_wide;
    /** 1 to add to what C holds. */
    uint64_t add;
};

static_assert(sizeof(GemmSumParams) == 88, "GemmSumParams is shared with Rust");

/** A matrix for the tensor memory accelerator: `device::launch::TensorMap`. */
struct alignas(64) GemmTensorMap {
    /** Opaque. */
    uint64_t words[16];
};

/** One result of `gemm_wgmma`. */
struct GemmWgmmaSum {
    /** `[m, n]`, written. */
    uint64_t c;
    /** `[n]`, or 0. */
    uint64_t bias;
    /** `[n]` f32, the last factor of each column; 0 for none. */
    uint64_t scale;
    /** As `c`, written: the result without `scale`; 0 if it is not wanted. */
    uint64_t unscaled;
    /** Columns of C. */
    uint64_t n;
    /** Elements from row to row of C. */
    uint64_t c_stride;
};

/** `C_i = alpha sum_t A_it B_it`, plus a bias or what C holds, for a few results with as many rows; or the partial products of
    slabs of the depth of one. */
struct GemmWgmmaParams {
    /** `[m, k]` or `[k, m]`, as the kernel says, of the terms of the first result, then of the next. */
    GemmTensorMap a[GEMM_WGMMA_MAX_TERMS];
    /** `[n, k]` or `[k, n]`, as the kernel says. */
    GemmTensorMap b[GEMM_WGMMA_MAX_TERMS];
    /** Columns of A. */
    uint64_t k[GEMM_WGMMA_MAX_TERMS];
    /** The results. */
    GemmWgmmaSum sums[GEMM_WGMMA_MAX_SUMS];
    /** Rows of each C. */
    uint64_t m;
    /** Factor of the products. */
    float alpha;
    /** Results. */
    uint32_t sum_count;
    /** Products of each result. */
    uint32_t term_count;
    /** 1 to add to what each C holds. */
    uint32_t add;
    /** Parts of the depth, of stages over all terms. */
    uint32_t slabs;
    /** Stages of each part. */
    uint32_t slab_stages;
    /** `[slabs, m, n]` f32, written instead of the only C; 0 to write C. */
    uint64_t partials;
    /** Up to a multiple of the alignment. */
    uint64_t padding[3];
};

static_assert(sizeof(GemmWgmmaParams) == 1792, "GemmWgmmaParams is shared with Rust");
