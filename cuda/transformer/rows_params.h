/* Parameters of what moves rows and columns. */
#pragma once
#include <stdint.h>

/** Threads of a block that copies one row. */
static const uint32_t ROWS_THREADS = 128;

/** No row: nothing is left out. */
static const uint32_t ROWS_NONE = 0xffffffffu;

/** `y[i] = factor * x[rows[i]]` */
struct GatherRowsParams {
    /** `[.., width]` */
    uint64_t x;
    /** `[count]` u32, rows of `x`. */
    uint64_t rows;
    /** `[count, width]`, written. */
    uint64_t y;
    /** Elements of a row. */
    uint64_t width;
    /** Of every element. */
    float factor;
    /** Nothing. */
    uint32_t padding;
};

static_assert(sizeof(GatherRowsParams) == 40, "GatherRowsParams is shared with Rust");

/** `x[rows[i]] += factor * y[i]`, one segment of `order` for each row that is named. */
struct ScatterRowsParams {
    /** `[.., width]`, added to. */
    uint64_t x;
    /** `[count]` u32, rows of `x`. */
    uint64_t rows;
    /** `[count]` u32: places in `rows`, those that name one row side by side and in their order. */
    uint64_t order;
    /** `[segments + 1]` u32: where each segment of `order` starts, then where the last one ends. */
    uint64_t starts;
    /** `[count, width]` */
    uint64_t y;
    /** Elements of a row. */
    uint64_t width;
    /** Of every element. */
    float factor;
    /** The row that is left as it is, or `ROWS_NONE`. */
    uint32_t kept;
};

static_assert(sizeof(ScatterRowsParams) == 56, "ScatterRowsParams is shared with Rust");

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
