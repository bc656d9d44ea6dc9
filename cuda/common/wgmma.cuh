// Hopper's tensor cores (sm_90a): products of tiles in shared memory by a warpgroup, four warps from a multiple of four on.
//
// Tiles hold 64 elements, 128 bytes, of each line, with the 128-byte swizzle of `tensor_load`, and start at multiples of 1024.
// Along the depth of the product, a line is a row of A or a column of B; across, the 64 elements of one depth follow each
// other, and 64 rows of A or columns of B make a tile of their own.
//
// Thread t of the warpgroup holds of D (64 x 256), with `group = t % 32 / 4` and `pair = t % 4`, rows 16 (t / 32) + group and
// that + 8: d[4 j], d[4 j + 1] are columns 8 j + 2 pair and the next of the first row, d[4 j + 2], d[4 j + 3] of the second.
// Source: PTX ISA, "Asynchronous warpgroup level matrix instructions" and "Matrix descriptor format".
#pragma once
#include "common/bf16.cuh"

#ifdef TUNESMITH_EMULATOR
#include "emulator/wgmma.h"
#endif

/** Sums of a thread of D (64 x 256). */
constexpr uint32_t WGMMA_SUMS = 128;

/** Threads of a warpgroup. */
constexpr uint32_t WARPGROUP = 128;

/** A tile in shared memory as the tensor cores see it. Eight lines along the depth, or eight depths across, are 1024 bytes;
    `tile_bytes` lead from one tile of 64 columns to the next where the depth lies across. */
__device__ __forceinline__ uint64_t wgmma_descriptor(const void* shared, uint32_t tile_bytes) {
#ifdef TUNESMITH_EMULATOR
    uint64_t address = emulator::shared_offset(shared);
#else
    uint64_t address = __cvta_generic_to_shared(shared);
#endif
    constexpr uint64_t SWIZZLE_128 = uint64_t(1) << 62, EIGHT_LINES = uint64_t(1024 >> 4) << 32;
    return SWIZZLE_128 | EIGHT_LINES | uint64_t(tile_bytes >> 4) << 16 | (address & 0x3ffff) >> 4;
}

/** The descriptor of what lies `bytes` behind. */
__device__ __forceinline__ uint64_t wgmma_advance(uint64_t descriptor, uint32_t bytes) { return descriptor + (bytes >> 4); }

/** Orders what threads did to their sums before the products that follow. */
__device__ __forceinline__ void wgmma_fence() {
#ifndef TUNESMITH_EMULATOR
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}

/** Closes the group of the products started since the last one. */
__device__ __forceinline__ void wgmma_commit() {
#ifdef TUNESMITH_EMULATOR
    tunesmith_emulator_defer_commit();
#else
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}

/** Waits until at most the latest `PENDING` groups are under way. Before that neither sums nor tiles may be touched. */
template <uint32_t PENDING>
__device__ __forceinline__ void wgmma_wait() {
#ifdef TUNESMITH_EMULATOR
    emulator::wgmma_wait(PENDING);
#else
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(PENDING) : "memory");
#endif
}

/** Starts `d += a b` for A (64 x 16) and B (16 x 256), each along or across the depth. */
template <bool A_ALONG, bool B_ALONG>
__device__ __forceinline__ void wgmma_m64n256k16(float (&d)[WGMMA_SUMS], uint64_t a, uint64_t b) {
#ifdef TUNESMITH_EMULATOR
    emulator::wgmma_start(d, a, b, {.columns = 256, .b_along = B_ALONG, .a_in_registers = false, .add = true, .a_across = !A_ALONG});
#else
    asm volatile(
        "{\n"
        ".reg .pred add;\n"
        "setp.ne.b32 add, 1, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
        "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
        "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
        "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
        "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
        "}, %128, %129, add, 1, 1, %130, %131;\n"
        "}"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]),
          "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]),
          "+f"(d[16]), "+f"(d[17]), "+f"(d[18]), "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]),
          "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]), "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31]),
          "+f"(d[32]), "+f"(d[33]), "+f"(d[34]), "+f"(d[35]), "+f"(d[36]), "+f"(d[37]), "+f"(d[38]), "+f"(d[39]),
          "+f"(d[40]), "+f"(d[41]), "+f"(d[42]), "+f"(d[43]), "+f"(d[44]), "+f"(d[45]), "+f"(d[46]), "+f"(d[47]),
          "+f"(d[48]), "+f"(d[49]), "+f"(d[50]), "+f"(d[51]), "+f"(d[52]), "+f"(d[53]), "+f"(d[54]), "+f"(d[55]),
          "+f"(d[56]), "+f"(d[57]), "+f"(d[58]), "+f"(d[59]), "+f"(d[60]), "+f"(d[61]), "+f"(d[62]), "+f"(d[63]),
          "+f"(d[64]), "+f"(d[65]), "+f"(d[66]), "+f"(d[67]), "+f"(d[68]), "+f"(d[69]), "+f"(d[70]), "+f"(d[71]),
          "+f"(d[72]), "+f"(d[73]), "+f"(d[74]), "+f"(d[75]), "+f"(d[76]), "+f"(d[77]), "+f"(d[78]), "+f"(d[79]),
          "+f"(d[80]), "+f"(d[81]), "+f"(d[82]), "+f"(d[83]), "+f"(d[84]), "+f"(d[85]), "+f"(d[86]), "+f"(d[87]),
          "+f"(d[88]), "+f"(d[89]), "+f"(d[90]), "+f"(d[91]), "+f"(d[92]), "+f"(d[93]), "+f"(d[94]), "+f"(d[95]),
          "+f"(d[96]), "+f"(d[97]), "+f"(d[98]), "+f"(d[99]), "+f"(d[100]), "+f"(d[101]), "+f"(d[102]), "+f"(d[103]),
          "+f"(d[104]), "+f"(d[105]), "+f"(d[106]), "+f"(d[107]), "+f"(d[108]), "+f"(d[109]), "+f"(d[110]), "+f"(d[111]),
          "+f"(d[112]), "+f"(d[113]), "+f"(d[114]), "+f"(d[115]), "+f"(d[116]), "+f"(d[117]), "+f"(d[118]), "+f"(d[119]),
          "+f"(d[120]), "+f"(d[121]), "+f"(d[122]), "+f"(d[123]), "+f"(d[124]), "+f"(d[125]), "+f"(d[126]), "+f"(d[127])
        : "l"(a), "l"(b), "n"(A_ALONG ? 0 : 1), "n"(B_ALONG ? 0 : 1));
#endif
}

/** Gives registers of a warpgroup that needs few, as many as `COUNT` of each thread stay, to one that `claim_registers`. */
template <uint32_t COUNT>
__device__ __forceinline__ void release_registers() {
#ifndef TUNESMITH_EMULATOR
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}

/** Waits until each thread of the warpgroup can have `COUNT` registers. */
template <uint32_t COUNT>
__device__ __forceinline__ void claim_registers() {
#ifndef TUNESMITH_EMULATOR
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}
