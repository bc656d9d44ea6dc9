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

/** Threads of a block that multiplies on Hopper: one warpgroup. */
static const uint32_t HOPPER_PROBE_THREADS = 128;

/** Its shared memory: A (64 x 64), B (64 x 256) and a barrier. */
static const uint32_t HOPPER_PROBE_SHARED_BYTES = (64 + 256) * 64 * 2 + 1024;

/** A matrix for the tensor memory accelerator. */
struct alignas(64) ProbeTensorMap {
    /** Opaque. */
    uint64_t words[16];
};

/** Two bf16 matrices in, their product out. */
struct HopperProbeParams {
    /** `[64, 64]` */
    ProbeTensorMap a;
    /** `[256, 64]` or `[64, 256]`, as the kernel says. */
    ProbeTensorMap b;
    /** Address of `[64, 256]` f32, written. */
    uint64_t output;
    /** Up to a multiple of the alignment. */
    uint64_t padding[7];
};

static_assert(sizeof(HopperProbeParams) == 320, "HopperProbeParams is shared with Rust");
