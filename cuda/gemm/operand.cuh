// Moving an operand from global to shared memory, whatever its layout, alignment and edges.
#pragma once
#include "common/async_copy.cuh"
#include "gemm/tile.cuh"

/** The lines of an operand that a block multiplies. */
template <typename T>
struct Operand {
    /** Depth 0 of the tile's first line. */
    const T* data;
    /** Elements from line to line if these are contiguous, from depth to depth otherwise. */
    uint64_t stride;
    /** Lines from the first on that there are. */
    uint64_t lines;
    /** Whether a line is contiguous. */
    bool along;

    /** What a thread keeps of `CHUNKS` chunks between starting and finishing a copy: they go straight to shared memory. */
    template <uint32_t CHUNKS>
    struct Held {};

    /** The lines from `first` on of `count`, of a matrix at `address`. */
    __device__ __forceinline__ Operand(uint64_t address, uint64_t stride, uint64_t first, uint64_t count, bool along)
        : data(global_pointer<const T>(address) + (along ? first * stride : first)),
          stride(stride),
          lines(count - first),
          along(along) {}

    /** The same lines without their elements before `depth`. */
    __device__ __forceinline__ Operand from_depth(uint64_t depth) const {
        Operand later = *this;
        later.data += along ? depth : depth * stride;
        return later;
    }

    /** Whether every chunk begins at a multiple of 16 bytes. */
    __device__ __forceinline__ bool aligned() const {
        return (reinterpret_cast<uintptr_t>(data) | stride * sizeof(T)) % 16 == 0;
    }
};

/** Which layouts an operand comes in, as far as a kernel knows. */
enum class Layout { ALONG, ACROSS, EITHER };

/** A layout as a type. */
template <bool ALONG>
struct Contiguous {
    static constexpr bool along = ALONG;
};

/** Calls `body` with the layout that `along` says. */
template <Layout KNOWN, typename Body>
__device__ __forceinline__ void with_layout(bool along, Body body) {
    if constexpr (KNOWN == Layout::ALONG) {
        body(Contiguous<true>());
    } else if constexpr (KNOWN == Layout::ACROSS) {
        body(Contiguous<false>());
    } else if (along) {
        body(Contiguous<true>());
    } else {
        body(Contiguous<false>());
    }
}

/** Chunks of a tile that each thread moves. */
template <typename T, uint32_t LINES, uint32_t DEPTH, uint32_t THREADS>
constexpr uint32_t OWN_CHUNKS = LINES * DEPTH / CHUNK<T> / THREADS;

/** Calls `body(i, chunk, offset, valid)` for each chunk of the tile that this thread moves, its `i`th: where it lies in shared
    memory, where it begins behind the operand's first element, and how many of its elements lie before the edge `depth_end`
    and the last line. */
template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH, typename Lines, typename Body>
__device__ __forceinline__ void for_own_chunks(OperandTile<T, LINES, DEPTH>& tile, const Lines& operand, uint64_t depth,
                                               uint64_t depth_end, Body body) {
    constexpr uint32_t CHUNKS = (ALONG ? DEPTH : LINES) / CHUNK<T>;
    constexpr uint32_t PER_THREAD = OWN_CHUNKS<T, LINES, DEPTH, THREADS>;
    static_assert(PER_THREAD * THREADS * CHUNK<T> == LINES * DEPTH, "all threads move as many chunks");
#pragma unroll
    for (uint32_t i = 0; i < PER_THREAD; i++) {
        uint32_t index = i * THREADS + threadIdx.x;
        uint32_t row = index / CHUNKS, column = index % CHUNKS * CHUNK<T>;
        uint32_t line = ALONG ? row : column, within = ALONG ? column : row;
        uint64_t lines_left = line < operand.lines ? operand.lines - line : 0;
        uint64_t depth_left = depth + within < depth_end ? depth_end - depth - within : 0;
        uint64_t contiguous = ALONG ? depth_left : lines_left, other = ALONG ? lines_left : depth_left;
        uint32_t valid = other == 0 ? 0 : uint32_t(min(contiguous, uint64_t(CHUNK<T>)));
        uint64_t offset = ALONG ? line * operand.stride + depth + within : (depth + within) * operand.stride + line;
        body(i, tile.template chunk<ALONG>(line, within), offset, valid);
    }
}

/** Starts copying the depths from `depth` on; behind the edges there are zeroes. Without alignment the copy is done at
    once. */
template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH, typename Held>
__device__ __forceinline__ void start_copy(OperandTile<T, LINES, DEPTH>& tile, const Operand<T>& operand, uint64_t depth,
                                           uint64_t depth_end, Held&) {
    bool aligned = operand.aligned();
    auto copy = [&](uint32_t, T* chunk, uint64_t offset, uint32_t valid) {
        const T* source = operand.data + (valid > 0 ? offset : 0);
        if (aligned) return async_copy_16(chunk, source, valid * uint32_t(sizeof(T)));
#pragma unroll
        for (uint32_t j = 0; j < CHUNK<T>; j++) chunk[j] = j < valid ? source[j] : T{};
    };
    for_own_chunks<ALONG, THREADS>(tile, operand, depth, depth_end, copy);
}

/** Does what is left of a copy that was started, if the operand keeps anything. */
template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH, typename Held>
__device__ __forceinline__ void finish_copy(OperandTile<T, LINES, DEPTH>&, const Operand<T>&, const Held&) {}
