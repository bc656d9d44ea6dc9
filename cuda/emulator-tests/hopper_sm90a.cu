// Products by wgmma of boxes that the tensor memory accelerator brought, right and with a bug each.
#include "common/tensor_map.cuh"
#include "common/wgmma.cuh"
#include "emulator-tests/params.h"

namespace {

enum class Bug { NONE, NONE_OF_WRITES, NOT_SHOWN, BOX_NOT_WAITED_FOR, PRODUCT_NOT_WAITED_FOR, TILE_OVERWRITTEN, NOBODY_ARRIVES };

struct Memory {
    alignas(1024) bf16 a[64 * 64];
    alignas(1024) bf16 b[256 * 64];
    Mbarrier full, again;
};
static_assert(sizeof(Memory) == HOPPER_PROBE_SHARED_BYTES, "the launch gives what a block uses");

// output (64, 256) = A B by one warpgroup, with the columns of B along or across the depth; with `NONE_OF_WRITES` the threads make
// A zero before.
template <bool B_ALONG, Bug BUG>
__device__ __forceinline__ void product(const HopperProbeParams& p) {
    Memory& memory = shared_memory<Memory>();
    if (threadIdx.x == 0) {
        mbarrier_init(memory.full, 1);
        mbarrier_init(memory.again, 1);
        mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x == 0 && BUG != Bug::NOBODY_ARRIVES) {
        mbarrier_arrive_expect(memory.full, sizeof memory.a + sizeof memory.b);
        tensor_load(memory.a, &p.a, 0, 0, memory.full);
        for (uint32_t column = 0; column < (B_ALONG ? 1 : 256); column += 64)
            tensor_load(memory.b + 64 * column, &p.b, 0, column, memory.full);
    }
    if (BUG != Bug::BOX_NOT_WAITED_FOR) mbarrier_wait(memory.full, 0);
    if (BUG == Bug::NONE_OF_WRITES || BUG == Bug::NOT_SHOWN) {
        for (uint32_t i = threadIdx.x; i < 64 * 64; i += HOPPER_PROBE_THREADS) memory.a[i] = {0};
        if (BUG != Bug::NOT_SHOWN) async_proxy_fence();
        __syncthreads();
    }
    float d[WGMMA_SUMS] = {};
    uint64_t a = wgmma_descriptor(memory.a, 0), b = wgmma_descriptor(memory.b, 64 * 64 * sizeof(bf16));
    wgmma_fence();
#pragma unroll
    for (uint32_t k = 0; k < 64; k += 16)
        wgmma_m64n256k16<true, B_ALONG>(d, wgmma_advance(a, 2 * k), wgmma_advance(b, (B_ALONG ? 1 : 64) * 2 * k));
    wgmma_commit();
    if (threadIdx.x == 0 && BUG == Bug::TILE_OVERWRITTEN) {
        mbarrier_arrive_expect(memory.again, sizeof memory.a);
        tensor_load(memory.a, &p.a, 0, 0, memory.again);
    }
    if (BUG != Bug::PRODUCT_NOT_WAITED_FOR) wgmma_wait<0>();
    float* output = global_pointer<float>(p.output);
    uint32_t row = 16 * warp_id() + lane_id() / 4, column = 2 * (lane_id() % 4);
    for (uint32_t i = 0; i < WGMMA_SUMS; i++) output[(row + i % 4 / 2 * 8) * 256 + i / 4 * 8 + column + i % 2] = d[i];
}

}  // namespace

extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) hopper_product_along(const __grid_constant__ HopperProbeParams p) { product<true, Bug::NONE>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) hopper_product_across(const __grid_constant__ HopperProbeParams p) { product<false, Bug::NONE>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) hopper_product_of_zeros(const __grid_constant__ HopperProbeParams p) { product<true, Bug::NONE_OF_WRITES>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) planted_not_shown(const __grid_constant__ HopperProbeParams p) { product<true, Bug::NOT_SHOWN>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) planted_box_not_waited_for(const __grid_constant__ HopperProbeParams p) { product<true, Bug::BOX_NOT_WAITED_FOR>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) planted_product_not_waited_for(const __grid_constant__ HopperProbeParams p) { product<true, Bug::PRODUCT_NOT_WAITED_FOR>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) planted_tile_overwritten(const __grid_constant__ HopperProbeParams p) { product<true, Bug::TILE_OVERWRITTEN>(p); }
extern "C" __global__ void __launch_bounds__(HOPPER_PROBE_THREADS) planted_nobody_arrives(const __grid_constant__ HopperProbeParams p) { product<true, Bug::NOBODY_ARRIVES>(p); }
