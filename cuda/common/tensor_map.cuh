// Copies by the tensor memory accelerator (sm_90): one thread asks for a box of a matrix.
#pragma once
#include "common/mbarrier.cuh"

#ifdef TUNESMITH_EMULATOR
#include "emulator/tensor_map.h"
#endif

/** Columns of a box of bf16: the 128 bytes within which its 16-byte pieces trade places. */
constexpr uint32_t BOX_COLUMNS = 64;

/** Starts copying the box whose first element is (`row`, `column`) of the matrix that `map` describes
    (`device::launch::TiledMatrix`) to `shared`, a multiple of 1024. Elements beyond the matrix are zero. Piece `i` of row `r`
    lands at piece `i ^ r % 8`. The bytes of the whole box count at `barrier`. */
__device__ __forceinline__ void tensor_load(void* shared, const void* map, uint64_t row, uint64_t column,
                                            Mbarrier& barrier) {
#ifdef TUNESMITH_EMULATOR
    expect_aligned(map, 64);
    emulator::tensor_load(shared, map, row, column, &barrier);
#else
    uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
    uint32_t counted_by = static_cast<uint32_t>(__cvta_generic_to_shared(&barrier));
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
        "l"(map), "r"(uint32_t(column)), "r"(uint32_t(row)), "r"(counted_by)
        : "memory");
#endif
}
