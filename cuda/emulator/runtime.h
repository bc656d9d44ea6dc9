// What the emulated executor (crates/device/src/launch/emulated) gives to a kernel that runs on the host. Each CUDA thread
// is a coroutine; a call that waits suspends it until the threads it waits for have come.
#pragma once
#include <stdint.h>

struct tunesmith_dim3 {
    uint32_t x, y, z;
};

struct tunesmith_position {
    tunesmith_dim3 thread, block, block_dim, grid_dim;
};

extern "C" {

/** Where the running thread stands in its launch. */
const tunesmith_position* tunesmith_emulator_position();

/** Waits for all threads of the block. A fault if one of them waits elsewhere or has returned. */
void tunesmith_emulator_sync_threads(const char* file, uint32_t line);

/** Waits for all lanes of the warp and returns their values, `bytes` each, from lane 0 to lane 31. They stay until the
    lane's next call. */
const void* tunesmith_emulator_warp_gather(const void* value, uint32_t bytes, const char* file, uint32_t line);

/** The block's dynamic shared memory, of which the kernel uses `bytes`. Every byte that was not written is 0xff: NaN. */
void* tunesmith_emulator_shared_memory(uint64_t bytes);

/** Starts a copy into shared memory, of which `zero_bytes` at the end are zeroes. It lands when it is waited for; until
    then the destination holds NaN. */
void tunesmith_emulator_async_copy(void* shared, const void* global, uint32_t bytes, uint32_t zero_bytes);

/** Closes the group of the copies started since the last one. */
void tunesmith_emulator_async_commit();

/** Lands the copies of all groups but the latest `pending`. */
void tunesmith_emulator_async_wait(uint32_t pending);

/** Makes eight bytes of shared memory a barrier at which `count` threads arrive in each phase. */
void tunesmith_emulator_mbarrier_init(void* barrier, uint32_t count);

/** Arrives, and announces `bytes` of copies that end the phase with the threads. */
void tunesmith_emulator_mbarrier_arrive(void* barrier, uint32_t bytes);

/** Waits until the phase of this parity is over. Copies that the barrier counts land now. */
void tunesmith_emulator_mbarrier_wait(void* barrier, uint32_t parity, const char* file, uint32_t line);

/** Starts a copy that `barrier` counts, of which `zero_bytes` at the end are zeroes. Until it has landed the destination holds
    NaN. */
void tunesmith_emulator_bulk_copy(void* barrier, void* shared, const void* global, uint32_t bytes, uint32_t zero_bytes);

/** Shared memory as the units see it that copy and multiply beside the threads: what they copied there, and what was shown to them.
    The rest is NaN. */
void* tunesmith_emulator_seen_memory();

/** Shows those units what threads have written to shared memory. */
void tunesmith_emulator_show_shared();

/** Keeps a piece of work of this thread until it is waited for. */
void tunesmith_emulator_defer(const uint64_t (*work)[4]);

/** Closes the group of the pieces kept since the last one. */
void tunesmith_emulator_defer_commit();

/** The next piece of all groups but the latest `pending`; false if there is none. */
bool tunesmith_emulator_deferred(uint32_t pending, uint64_t (*work)[4]);

/** Ends the launch with a message. Does not return. */
[[noreturn]] void tunesmith_emulator_fault(const char* message);

}
