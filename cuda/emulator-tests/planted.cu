// Kernels with one bug each, beside what they should say. The emulator must catch every one.
#include "common/async_copy.cuh"
#include "common/vector.cuh"
#include "emulator-tests/params.h"

namespace {

struct Shared {
    alignas(16) float values[PROBE_SHARED_BYTES / sizeof(float)];
};

/** The value that another warp's thread stands for. */
__device__ __forceinline__ uint32_t neighbour() { return (threadIdx.x + WARP) % PROBE_THREADS; }

}  // namespace

// Correct: the twin of the first two bugs.
extern "C" __global__ void planted_none(const __grid_constant__ ProbeParams p) {
    Shared& shared = shared_memory<Shared>();
    shared.values[threadIdx.x] = float(threadIdx.x);
    __syncthreads();
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[neighbour()];
}

// A barrier is missing between the write and the read of another thread's value.
extern "C" __global__ void planted_missing_barrier(const __grid_constant__ ProbeParams p) {
    Shared& shared = shared_memory<Shared>();
    shared.values[threadIdx.x] = float(threadIdx.x);
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[neighbour()];
}

// The value was never written.
extern "C" __global__ void planted_uninitialised(const __grid_constant__ ProbeParams p) {
    Shared& shared = shared_memory<Shared>();
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[threadIdx.x];
}

// The copy is not waited for; the barrier does not do that.
extern "C" __global__ void planted_missing_wait(const __grid_constant__ ProbeParams p) {
    Shared& shared = shared_memory<Shared>();
    async_copy_16(shared.values + 4 * threadIdx.x, global_pointer<const float>(p.input) + 4 * threadIdx.x, 16);
    async_copy_commit();
    __syncthreads();
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[threadIdx.x];
}

// The wait leaves one group under way, which is the one that is read.
extern "C" __global__ void planted_wait_for_too_few(const __grid_constant__ ProbeParams p) {
    Shared& shared = shared_memory<Shared>();
    async_copy_16(shared.values + 4 * threadIdx.x, global_pointer<const float>(p.input) + 4 * threadIdx.x, 16);
    async_copy_commit();
    async_copy_wait<1>();
    __syncthreads();
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[threadIdx.x];
}

// One element behind the end.
extern "C" __global__ void planted_write_out_of_bounds(const __grid_constant__ ProbeParams p) {
    if (threadIdx.x <= p.len) global_pointer<float>(p.output)[threadIdx.x] = 1.0f;
}

// One element before the start.
extern "C" __global__ void planted_write_before_start(const __grid_constant__ ProbeParams p) {
    if (threadIdx.x < p.len) global_pointer<float>(p.output)[int(threadIdx.x) - 1] = 1.0f;
}

// The last thread reads one element behind the end.
extern "C" __global__ void planted_read_out_of_bounds(const __grid_constant__ ProbeParams p) {
    if (threadIdx.x < p.len)
        global_pointer<float>(p.output)[threadIdx.x] = global_pointer<const float>(p.input)[threadIdx.x + 1];
}

// The two warps wait at different barriers.
extern "C" __global__ void planted_divergent_barrier(const __grid_constant__ ProbeParams p) {
    if (warp_id() == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    global_pointer<float>(p.output)[threadIdx.x] = 1.0f;
}

// A thread without work leaves before the others' barrier.
extern "C" __global__ void planted_early_return(const __grid_constant__ ProbeParams p) {
    if (threadIdx.x >= p.len) return;
    __syncthreads();
    global_pointer<float>(p.output)[threadIdx.x] = 1.0f;
}

// Half of a warp exchanges with the other half, which does not take part.
extern "C" __global__ void planted_divergent_shuffle(const __grid_constant__ ProbeParams p) {
    float value = float(threadIdx.x);
    if (lane_id() < WARP / 2) value = __shfl_xor_sync(ALL_LANES, value, 1);
    global_pointer<float>(p.output)[threadIdx.x] = value;
}

// The kernel lays out twice the shared memory that the launch gives.
extern "C" __global__ void planted_shared_too_small(const __grid_constant__ ProbeParams p) {
    struct Larger {
        float values[2 * PROBE_SHARED_BYTES / sizeof(float)];
    };
    Larger& shared = shared_memory<Larger>();
    shared.values[threadIdx.x] = 1.0f;
    global_pointer<float>(p.output)[threadIdx.x] = shared.values[threadIdx.x];
}

// A write behind the end of shared memory.
extern "C" __global__ void planted_shared_out_of_bounds(const __grid_constant__ ProbeParams p) {
    float* values = shared_memory<Shared>().values;
    values[PROBE_SHARED_BYTES / sizeof(float) + threadIdx.x] = 1.0f;
    global_pointer<float>(p.output)[threadIdx.x] = 1.0f;
}

// A vector read at an address that is no multiple of its size.
extern "C" __global__ void planted_misaligned(const __grid_constant__ ProbeParams p) {
    float values[VECTOR];
    load_vector(global_pointer<const float>(p.input) + 1, values);
    global_pointer<float>(p.output)[threadIdx.x] = values[0];
}
