/* Parameters of the NF4 kernels. */
#pragma once
#include <stdint.h>

/** Threads of a block that quantizes. */
static const uint32_t NF4_QUANTIZE_THREADS = 256;

/** Elements that it quantizes, 16 for each thread: the largest NF4 block. */
static const uint32_t NF4_QUANTIZE_ELEMENTS = 16 * NF4_QUANTIZE_THREADS;

/** Its shared memory: one value for each warp. */
static const uint32_t NF4_QUANTIZE_SHARED_BYTES = NF4_QUANTIZE_THREADS / 32 * 4;

/** Values that one thread adds up in the mean of `absmax`. */
static const uint32_t NF4_SUM_VALUES = 256;

/** Threads of a block that adds up. */
static const uint32_t NF4_SUM_THREADS = 64;

/** Values of `absmax` in a block of the second quantization: the threads of a block that quantizes them. */
static const uint32_t NF4_NESTED_THREADS = 256;

/** Its shared memory: one value for each warp. */
static const uint32_t NF4_NESTED_SHARED_BYTES = NF4_NESTED_THREADS / 32 * 4;

/** Shared memory of the sixteen values that codes stand for, a copy for each bank. */
static const uint32_t NF4_CODEBOOK_BYTES = 16 * 32 * 4;

/** Threads of a block that dequantizes. */
static const uint32_t NF4_DEQUANTIZE_THREADS = 256;

/** Elements that it dequantizes. */
static const uint32_t NF4_DEQUANTIZE_ELEMENTS = 64 * NF4_DEQUANTIZE_THREADS;

/** Rows and columns of a product that a block computes. */
static const uint32_t NF4_TILE = 128;

/** Threads of that block. */
static const uint32_t NF4_THREADS = 256;

/** Its shared memory: that of a dense product, and the codebook. */
static const uint32_t NF4_SHARED_BYTES = NF4_TILE * (NF4_TILE + 8) * 4 + NF4_CODEBOOK_BYTES;

/** Rows and columns that a block computes of a product with few rows. */
static const uint32_t NF4_NARROW_TILE = 64;

/** Threads of that block. */
static const uint32_t NF4_NARROW_THREADS = 128;

/** Its shared memory. */
static const uint32_t NF4_NARROW_SHARED_BYTES = 4 * 2 * NF4_NARROW_TILE * 128 + NF4_CODEBOOK_BYTES;

/** Tokens of a product that is computed without tiles, at most. */
static const uint32_t NF4_MATVEC_TOKENS = 8;

/** Threads of a block that computes it. */
static const uint32_t NF4_MATVEC_THREADS = 128;

/** Rows of the weight that such a block reads, two for each warp. */
static const uint32_t NF4_MATVEC_ROWS = 2 * NF4_MATVEC_THREADS / 32;

/** A quantized tensor: `codebook[code] absmax` of the element's block, in f32. With `nested_absmax`, `absmax` is a code itself
    and stands for `map[code] nested_absmax + offset`. */
struct Nf4Weight {
    /** `[(num_elements + 1) / 2]` u8, the even element in the high half; 0 for none. */
    uint64_t packed;
    /** `[num_blocks]` f32, or u8 if `nested_absmax` is there. */
    uint64_t absmax;
    /** `[ceil(num_blocks / nested block size)]` f32, or 0. */
    uint64_t nested_absmax;
    /** `[256]` f32 */
    uint64_t map;
    /** One f32. */
    uint64_t offset;
    /** Logarithm to base 2 of the elements of a block. */
    uint32_t block_shift;
    /** Logarithm to base 2 of the blocks of a nested block. */
    uint32_t nested_shift;
    /** 1 if values are rounded to bf16 wherever they are used. */
    uint32_t rounded;
    /** Not used: without it the struct would end in padding. */
    uint32_t padding;
};

static_assert(sizeof(Nf4Weight) == 56, "Nf4Weight is shared with Rust");

/** Codes and largest magnitudes of `x`. */
struct Nf4QuantizeParams {
    /** `[num_elements]` */
    uint64_t x;
    /** `[(num_elements + 1) / 2]` u8, written. */
    uint64_t packed;
    /** `[num_blocks]` f32, written. */
    uint64_t absmax;
    /** Elements. */
    uint64_t num_elements;
    /** Elements of a block: a power of two from 32 to `NF4_QUANTIZE_ELEMENTS`. */
    uint32_t block_size;
    /** What is divided by where a block's largest magnitude is smaller. */
    float smallest;
    /** The code of a value is the number of these that are below it. */
    float thresholds[15];
    /** Not used: without it the struct would end in padding. */
    uint32_t padding;
};

static_assert(sizeof(Nf4QuantizeParams) == 104, "Nf4QuantizeParams is shared with Rust");

/** Sums of `NF4_SUM_VALUES` values each, and of the last sum the mean. */
struct Nf4SumParams {
    /** `[len]` f32 or f64 */
    uint64_t values;
    /** `[ceil(len / NF4_SUM_VALUES)]` f64, written. */
    uint64_t sums;
    /** One f32, written if `mean_of` is not 0. */
    uint64_t mean;
    /** Values. */
    uint64_t len;
    /** What the sum is divided by for the mean, if there is one sum; 0 otherwise. */
    uint64_t mean_of;
};

static_assert(sizeof(Nf4SumParams) == 40, "Nf4SumParams is shared with Rust");

/** The second quantization, of `absmax - offset`. */
struct Nf4NestedParams {
    /** `[len]` f32 */
    uint64_t absmax;
    /** One f32. */
    uint64_t offset;
    /** `[256]` f32, ascending. */
    uint64_t map;
    /** `[len]` u8, written. */
    uint64_t codes;
    /** `[ceil(len / NF4_NESTED_THREADS)]` f32, written. */
    uint64_t nested_absmax;
    /** Values. */
    uint64_t len;
};

static_assert(sizeof(Nf4NestedParams) == 48, "Nf4NestedParams is shared with Rust");

/** The elements from `first` on. */
struct Nf4DequantizeParams {
    /** The tensor. */
    Nf4Weight weight;
    /** `[len]`, written. */
    uint64_t out;
    /** The first element wanted. */
    uint64_t first;
    /** Elements wanted. */
    uint64_t len;
    /** What codes stand for. */
    float codebook[16];
};

static_assert(sizeof(Nf4DequantizeParams) == 144, "Nf4DequantizeParams is shared with Rust");

/** `C = A W^T` (W `[n, k]`) or `A W` (W `[k, n]`), as the kernel says, plus a bias or what C holds. */
struct Nf4ProductParams {
    /** `W` */
    Nf4Weight weight;
    /** `[m, k]` */
    uint64_t a;
    /** `[m, n]`, written. */
    uint64_t c;
    /** `[n]`, or 0. */
    uint64_t bias;
    /** Rows of A and C. */
    uint64_t m;
    /** Columns of C. */
    uint64_t n;
    /** Columns of A. */
    uint64_t k;
    /** What codes stand for. */
    float codebook[16];
    /** 1 to add to what C holds. */
    uint64_t add;
};

static_assert(sizeof(Nf4ProductParams) == 176, "Nf4ProductParams is shared with Rust");

/** `y = x W^T + s B^T + bias` for a few tokens. */
struct Nf4MatvecParams {
    /** `W`, `[out_features, in_features]` */
    Nf4Weight weight;
    /** `[num_tokens, in_features]` */
    uint64_t x;
    /** `[num_tokens, rank]` */
    uint64_t s;
    /** `[out_features, rank]` */
    uint64_t lora_b;
    /** `[out_features]`, or 0. */
    uint64_t bias;
    /** `[num_tokens, out_features]`, written. */
    uint64_t y;
    /** Rows of `x` and `y`, at most `NF4_MATVEC_TOKENS`. */
    uint64_t num_tokens;
    /** Columns of `x`. */
    uint64_t in_features;
    /** Columns of `y`. */
    uint64_t out_features;
    /** Columns of `s`; 0 without it. */
    uint64_t rank;
    /** What codes stand for. */
    float codebook[16];
};

static_assert(sizeof(Nf4MatvecParams) == 192, "Nf4MatvecParams is shared with Rust");
