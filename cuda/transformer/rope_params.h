/* Parameters of the rotary embedding. */
#pragma once
#include <stdint.h>

/** Threads of a block that rotates the heads of one token. */
static const uint32_t ROPE_THREADS = 128;

/** Rotation of channel pairs `j`, `j + rotary_dim / 2` of every head. `y` may be `x`. */
struct RopeParams {
    /** `[num_tokens, x_stride]`, the heads side by side from the start of a row. */
    uint64_t x;
    /** `[num_tokens, y_stride]`, written where there are heads. */
    uint64_t y;
    /** `[max_positions, rotary_dim / 2]` f32 */
    uint64_t cos;
    /** `[max_positions, rotary_dim / 2]` f32 */
    uint64_t sin;
    /** `[num_tokens]` u32, below `max_positions`. */
    uint64_t positions;
    /** Elements from a token of `x` to the next. */
    uint64_t x_stride;
    /** Elements from a token of `y` to the next. */
    uint64_t y_stride;
    /** Heads of a token. */
    uint32_t num_heads;
    /** Channels of a head. */
    uint32_t head_dim;
    /** Channels of a head that rotate. */
    uint32_t rotary_dim;
    /** 1 forward, -1 backward: the sign of the sines. */
    float direction;
};

static_assert(sizeof(RopeParams) == 72, "RopeParams is shared with Rust");
