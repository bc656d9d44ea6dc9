/* Parameters of the kernels that test the emulator and the primitives of cuda/common. */
#pragma once
#include <stdint.h>

/** Threads of every block. */
static const uint32_t PROBE_THREADS = 64;

/** Shared memory of every block. */
static const uint32_t PROBE_SHARED_BYTES = 1024;

/** One array in, one array out. */
struct ProbeParams {
    /** Address of the input, f32 or bf16 as the kernel says. */
    uint64_t input;
    /** Address of `[len]` f32, written. */
    uint64_t output;
    /** Elements. */
    uint64_t len;
};

static_assert(sizeof(ProbeParams) == 24, "ProbeParams is shared with Rust");
