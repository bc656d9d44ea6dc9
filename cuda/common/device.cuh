// What every kernel file starts from: CUDA's own words, or on the host their meaning in cuda/emulator.
#pragma once
#include <stdint.h>

#ifdef TUNESMITH_EMULATOR
#include "emulator/keywords.h"
#endif

/** Lanes of a warp. */
constexpr uint32_t WARP = 32;

/** Every lane, for the intrinsics that take a mask. */
constexpr uint32_t ALL_LANES = 0xffffffffu;

/** This thread's place in its warp. Blocks are one-dimensional. */
__device__ __forceinline__ uint32_t lane_id() { return threadIdx.x % WARP; }

/** This thread's warp in its block. */
__device__ __forceinline__ uint32_t warp_id() { return threadIdx.x / WARP; }

/** The device address in a parameter struct as a pointer. */
template <typename T>
__device__ __forceinline__ T* global_pointer(uint64_t address) {
    return reinterpret_cast<T*>(address);
}

/** The block's dynamic shared memory, laid out as `Layout`. A launch gives `sizeof(Layout)` bytes. */
template <typename Layout>
__device__ __forceinline__ Layout& shared_memory() {
#ifdef TUNESMITH_EMULATOR
    return *static_cast<Layout*>(tunesmith_emulator_shared_memory(sizeof(Layout)));
#else
    // A comment in the kernel's PTX, for scripts/kernel-report: how much a launch gives stands nowhere else in it.
    asm volatile("// shared memory: %0 bytes" ::"n"(static_cast<int>(sizeof(Layout))));
    extern __shared__ __align__(1024) unsigned char dynamic_shared_memory[];
    return *reinterpret_cast<Layout*>(dynamic_shared_memory);
#endif
}

/** Ends the launch if an address is not a multiple of `bytes`, as the hardware does. Free on the device. */
__device__ __forceinline__ void expect_aligned(const void* address, uint32_t bytes) {
#ifdef TUNESMITH_EMULATOR
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) tunesmith_emulator_fault("a misaligned address was used");
#else
    (void)address;
    (void)bytes;
#endif
}
