// Barriers in shared memory at which threads and bulk copies arrive (sm_90).
//
// A barrier goes through phases, of parity 0, 1, 0, ... A phase is over when as many threads have arrived as the barrier
// counts and all bytes that they announced have landed. Waiting for the phase before the first, of parity 1, does not wait.
#pragma once
#include "common/device.cuh"

/** The barrier's state, which only these functions read. */
struct alignas(8) Mbarrier {
    uint64_t state;
};

/** Lets `count` threads arrive in each phase. Before another thread uses it: `mbarrier_init_fence`, then `__syncthreads`. */
__device__ __forceinline__ void mbarrier_init(Mbarrier& barrier, uint32_t count) {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_mbarrier_init(&barrier, count);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(count) : "memory");
#endif
}

/** Shows initialised barriers to the units that copy. */
__device__ __forceinline__ void mbarrier_init_fence() {
#ifndef TUNESMITH_EMULATOR
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/** Shows what this thread wrote to shared memory to the units that read tiles there. */
__device__ __forceinline__ void async_proxy_fence() {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_show_shared();
#else
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/** Arrives. */
__device__ __forceinline__ void mbarrier_arrive(Mbarrier& barrier) {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_mbarrier_arrive(&barrier, 0);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address) : "memory");
#endif
}

/** Arrives and announces that `bytes` are to land in this phase. */
__device__ __forceinline__ void mbarrier_arrive_expect(Mbarrier& barrier, uint32_t bytes) {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_mbarrier_arrive(&barrier, bytes);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes) : "memory");
#endif
}

/** Waits until the phase of this parity is over. */
__device__ __forceinline__ void mbarrier_wait(Mbarrier& barrier, uint32_t parity) {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_mbarrier_wait(&barrier, parity, __FILE__, __LINE__);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
    asm volatile(
        "{\n"
        ".reg .pred over;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
        "@!over bra again;\n"
        "}" ::"r"(address),
        "r"(parity)
        : "memory");
#endif
}
