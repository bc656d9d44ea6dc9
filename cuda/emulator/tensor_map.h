// The host meaning of a copy by the tensor memory accelerator.
#pragma once
#include "emulator/keywords.h"

namespace emulator {

/** What `device::launch` writes for the emulated device. */
struct TiledMatrix {
    uint64_t address, rows, columns, stride, box_rows;
};

inline uint64_t shared_offset(const void* shared) {
    return static_cast<const uint8_t*>(shared) - static_cast<const uint8_t*>(tunesmith_emulator_shared_memory(0));
}

/** The 128-byte swizzle: 16-byte pieces trade places by the number of the 128-byte line, modulo 8. */
inline uint64_t swizzle_128(uint64_t offset) { return offset ^ (offset >> 7 & 7) << 4; }

inline void tensor_load(void* shared, const void* map, uint64_t row, uint64_t column, void* barrier) {
    const TiledMatrix& matrix = *static_cast<const TiledMatrix*>(map);
    uint64_t to = shared_offset(shared);
    if (to % 1024 != 0) tunesmith_emulator_fault("a box lands at an address that is no multiple of 1024");
    uint8_t* start = static_cast<uint8_t*>(tunesmith_emulator_shared_memory(0));
    for (uint64_t i = 0; i < matrix.box_rows; i++) {
        for (uint64_t piece = 0; piece < 8; piece++) {
            uint64_t r = row + i, c = column + 8 * piece;
            uint64_t valid = r < matrix.rows && c < matrix.columns ? min(matrix.columns - c, uint64_t(8)) : 0;
            uint64_t source = matrix.address + (valid ? 2 * (r * matrix.stride + c) : 0);
            tunesmith_emulator_bulk_copy(barrier, start + swizzle_128(to + 128 * i + 16 * piece),
                                         reinterpret_cast<const void*>(source), uint32_t(2 * valid), uint32_t(16 - 2 * valid));
        }
    }
}

}  // namespace emulator
