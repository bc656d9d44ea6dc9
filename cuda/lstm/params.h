/* Parameters of the kernels of a recurrence. */
#pragma once
#include <stdint.h>

/** Threads of a block. */
static const uint32_t LSTM_THREADS = 256;

/** Units of a state that a block of the forward takes: one for each warp. */
static const uint32_t LSTM_FORWARD_UNITS = LSTM_THREADS / 32;

/** Units that a block of the backward takes: one for each lane. */
static const uint32_t LSTM_BACKWARD_UNITS = 32;

/** Shared memory of that block: a part of each unit's sum for each warp. */
static const uint32_t LSTM_BACKWARD_SHARED_BYTES = LSTM_THREADS * 4;

/** No step. */
static const uint64_t LSTM_NONE = 0xffffffffffffffffu;

/** One step: `[i f g o] = input_gates_t + h_before W_hh^T`, `c_t = f c_before + i g`, `h_t = o tanh(c_t)`. */
struct LstmForwardParams {
    /** `[num_steps, 4 * hidden]` */
    uint64_t input_gates;
    /** `[4 * hidden, hidden]` */
    uint64_t weight_hh;
    /** `[num_steps, hidden]`, row `step` written. */
    uint64_t h;
    /** `[num_steps, 4 * hidden]`, row `step` written: after sigmoid and tanh. */
    uint64_t gates;
    /** `[num_steps, hidden]`, row `step` written. */
    uint64_t cells;
    /** Elements of a state. */
    uint64_t hidden;
    /** The step. */
    uint64_t step;
    /** The one before it, or `LSTM_NONE`. */
    uint64_t before;
};

static_assert(sizeof(LstmForwardParams) == 64, "LstmForwardParams is shared with Rust");

/** The gradient of the gates of one step. */
struct LstmBackwardParams {
    /** `[4 * hidden, hidden]` */
    uint64_t weight_hh;
    /** `[num_steps, 4 * hidden]`: after sigmoid and tanh. */
    uint64_t gates;
    /** `[num_steps, hidden]` */
    uint64_t cells;
    /** `[num_steps, hidden]` */
    uint64_t grad_h;
    /** `[num_steps, 4 * hidden]`, row `step` written, row `after` read. */
    uint64_t grad_gates;
    /** `[hidden]`: what the later steps say about the cell, replaced by what this one says about the cell before. */
    uint64_t later_cell;
    /** Elements of a state. */
    uint64_t hidden;
    /** The step. */
    uint64_t step;
    /** The one before it, or `LSTM_NONE`. */
    uint64_t before;
    /** The one after it, or `LSTM_NONE`. */
    uint64_t after;
};

static_assert(sizeof(LstmBackwardParams) == 80, "LstmBackwardParams is shared with Rust");
