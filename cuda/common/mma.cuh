// Tensor cores: bf16 tiles from shared memory into registers, and their product accumulated in f32 (sm_80 and up).
//
// With `group = lane / 4` and `pair = lane % 4`, a lane holds of D (16 x 8) = A (16 x 16) B (16 x 8):
//   A: rows group, group + 8;  columns 2 pair, 2 pair + 1, and those + 8      a[0] (g, 2p)  a[1] (g + 8, 2p)  a[2], a[3] + 8
//   B: rows 2 pair, 2 pair + 1, and those + 8;  column group                  b[0] (2p, g)  b[1] (2p + 8, g)
//   D: rows group, group + 8;  columns 2 pair, 2 pair + 1                     d[0], d[1] (g, 2p..)  d[2], d[3] (g + 8, 2p..)
// Source: PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type".
#pragma once
#include "common/bf16.cuh"

#ifdef TUNESMITH_EMULATOR
#include "emulator/mma.h"
#endif

/** Loads four 8 x 8 matrices of bf16. Lane `8 i + r` gives the address of row `r` of matrix `i`, a multiple of 16; register
    `i` then holds elements `2 pair` and `2 pair + 1` of row `group` of matrix `i`. */
__device__ __forceinline__ void load_matrix_x4(uint32_t (&registers)[4], const void* row) {
#ifdef TUNESMITH_EMULATOR
    emulator::load_matrix_x4(registers, row, false);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
#endif
}

/** As `load_matrix_x4`, each matrix transposed: register `i` holds rows `2 pair`, `2 pair + 1` of column `group`. */
__device__ __forceinline__ void load_matrix_x4_transposed(uint32_t (&registers)[4], const void* row) {
#ifdef TUNESMITH_EMULATOR
    emulator::load_matrix_x4(registers, row, true);
#else
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(address)
                 : "memory");
#endif
}

/** `d += a b` for one 16 x 8 x 16 tile of bf16, accumulated in f32. */
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef TUNESMITH_EMULATOR
    emulator::mma_m16n8k16(d, a, b);
#else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
