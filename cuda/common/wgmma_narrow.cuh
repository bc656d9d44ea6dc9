// Products of 64 rows with 64 or 128 columns by a warpgroup, as attention needs them: tiles, descriptors and the order of sums
// are those of `wgmma.cuh`, with the sums of 8 columns together: `d[j]` is `d[4 j]` up to `d[4 j + 3]` there.
//
// A left operand in registers lies as the sums do: of rows `group` and `group + 8` of the warp's 16, depths `2 pair` and the
// next in words 0 and 1, those eight further in words 2 and 3. Words and sums may not be touched until they are waited for.
// Source: PTX ISA, "Register fragments for wgmma.mma_async.m64nNk16".
#pragma once
#include "common/wgmma.cuh"

#define WGMMA_SUMS_OF(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])

/** Starts `d = a bT`, or with `ADD` `d += a bT`, for A (64 x 16) and B (128 x 16), both in shared memory along the depth. */
template <bool ADD>
__device__ __forceinline__ void wgmma_m64n128k16(float (&d)[16][4], uint64_t a, uint64_t b) {
#ifdef TUNESMITH_EMULATOR
    emulator::wgmma_start(&d[0][0], a, b, {.columns = 128, .b_along = true, .a_in_registers = false, .add = ADD});
#else
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
        "}, %64, %65, add, 1, 1, 0, 0;\n"
        "}"
        : WGMMA_SUMS_OF(0), WGMMA_SUMS_OF(1), WGMMA_SUMS_OF(2), WGMMA_SUMS_OF(3),
          WGMMA_SUMS_OF(4), WGMMA_SUMS_OF(5), WGMMA_SUMS_OF(6), WGMMA_SUMS_OF(7),
          WGMMA_SUMS_OF(8), WGMMA_SUMS_OF(9), WGMMA_SUMS_OF(10), WGMMA_SUMS_OF(11),
          WGMMA_SUMS_OF(12), WGMMA_SUMS_OF(13), WGMMA_SUMS_OF(14), WGMMA_SUMS_OF(15)
        : "l"(a), "l"(b), "n"(ADD));
#endif
}

/** Starts `d += a b` for A (64 x 16) in registers and B (16 x 128) across the depth. */
__device__ __forceinline__ void wgmma_weighted(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
#ifdef TUNESMITH_EMULATOR
    emulator::wgmma_start(&d[0][0], reinterpret_cast<uint64_t>(&a), b, {.columns = 128, .b_along = false, .a_in_registers = true, .add = true});
#else
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, 1, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
        "}, {%64, %65, %66, %67}, %68, add, 1, 1, 1;\n"
        "}"
        : WGMMA_SUMS_OF(0), WGMMA_SUMS_OF(1), WGMMA_SUMS_OF(2), WGMMA_SUMS_OF(3),
          WGMMA_SUMS_OF(4), WGMMA_SUMS_OF(5), WGMMA_SUMS_OF(6), WGMMA_SUMS_OF(7),
          WGMMA_SUMS_OF(8), WGMMA_SUMS_OF(9), WGMMA_SUMS_OF(10), WGMMA_SUMS_OF(11),
          WGMMA_SUMS_OF(12), WGMMA_SUMS_OF(13), WGMMA_SUMS_OF(14), WGMMA_SUMS_OF(15)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#endif
}

/** As above for B (16 x 64). */
__device__ __forceinline__ void wgmma_weighted(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {
#ifdef TUNESMITH_EMULATOR
    emulator::wgmma_start(&d[0][0], reinterpret_cast<uint64_t>(&a), b, {.columns = 64, .b_along = false, .a_in_registers = true, .add = true});
#else
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, 1, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
        "}, {%32, %33, %34, %35}, %36, add, 1, 1, 1;\n"
        "}"
        : WGMMA_SUMS_OF(0), WGMMA_SUMS_OF(1), WGMMA_SUMS_OF(2), WGMMA_SUMS_OF(3),
          WGMMA_SUMS_OF(4), WGMMA_SUMS_OF(5), WGMMA_SUMS_OF(6), WGMMA_SUMS_OF(7)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
#endif
}

#undef WGMMA_SUMS_OF
