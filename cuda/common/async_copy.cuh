// Copies from global to shared memory that run beside the computation (sm_80 and up).
#pragma once
#include "common/device.cuh"

/** Starts copying 16 bytes to `shared`, both addresses multiples of 16: the first `valid_bytes` from `global`, zeroes after
    them. With none valid, `global` is not read. The bytes may be read after `async_copy_wait` and a barrier. */
__device__ __forceinline__ void async_copy_16(void* shared, const void* global, uint32_t valid_bytes) {
#ifdef TUNESMITH_EMULATOR
    expect_aligned(shared, 16);
    if (valid_bytes > 0) expect_aligned(global, 16);
    tunesmith_emulator_async_copy(shared, global, valid_bytes, 16 - valid_bytes);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid_bytes) : "memory");
#endif
}

/** Closes the group of the copies that this thread started since the last one. */
__device__ __forceinline__ void async_copy_commit() {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/** Waits until at most the latest `PENDING` groups of this thread are under way. Other threads' copies need a barrier. */
template <uint32_t PENDING>
__device__ __forceinline__ void async_copy_wait() {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_async_wait(PENDING);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}
