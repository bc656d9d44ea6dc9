// A weight as the second operand of a product, quantized or not: quantized blocks are dequantized on their way to shared memory,
// so that a dense weight is nowhere.
//
// Codes and scales are read when a copy is started, and wait in registers while the stage before is multiplied; finishing the
// copy looks them up, rounds the values to T and writes them to the tile. Rows that do not begin with whole bytes and chunks are
// dequantized at once, element by element.
#pragma once
#include "gemm/operand.cuh"
#include "nf4/weight.cuh"

/** Lines of a dense matrix or of a quantized one. */
template <typename T>
struct WeightOperand {
    /** The lines; of a quantized matrix its sizes alone, with the element where they begin in `first`. */
    Operand<T> dense;
    uint64_t first;
    const Nf4Weight& weight;
    const Nf4Codebook& codebook;
    bool quantized, along;

    template <uint32_t CHUNKS>
    struct Held {
        uint32_t codes[CHUNKS];
        Nf4Scale scales[CHUNKS];
        uint32_t there;     // a bit for each chunk before the edges
    };

    /** Lines of a dense matrix, in a product that has quantized ones. */
    __device__ __forceinline__ WeightOperand(const Operand<T>& dense, const Nf4Weight& weight, const Nf4Codebook& codebook)
        : dense(dense), first(0), weight(weight), codebook(codebook), quantized(false), along(dense.along) {}

    /** The lines from `first_line` on of `count` of a quantized matrix. */
    __device__ __forceinline__ WeightOperand(const Nf4Weight& weight, const Nf4Codebook& codebook, uint64_t stride,
                                             uint64_t first_line, uint64_t count, bool along)
        : dense(0, stride, first_line, count, along),
          first(along ? first_line * stride : first_line),
          weight(weight),
          codebook(codebook),
          quantized(true),
          along(along) {}

    /** Whether chunks are whole bytes of one block each. */
    __device__ __forceinline__ bool whole_chunks() const {
        return dense.stride % CHUNK<T> == 0 && codes_aligned<CHUNK<T>>(weight);
    }
};

template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH, typename Held>
__device__ __forceinline__ void start_copy(OperandTile<T, LINES, DEPTH>& tile, const WeightOperand<T>& operand,
                                           uint64_t depth, uint64_t depth_end, Held& held) {
    if (!operand.quantized) return start_copy<ALONG, THREADS>(tile, operand.dense, depth, depth_end, held);
    const Nf4Weight& weight = operand.weight;
    bool whole_chunks = operand.whole_chunks();
    held.there = 0;
    auto read = [&](uint32_t i, T* chunk, uint64_t offset, uint32_t valid) {
        uint64_t element = operand.first + offset;
        if (whole_chunks) {
            if (valid == 0) return;
            held.there |= 1u << i;
            held.codes[i] = load_codes<CHUNK<T>>(weight, element);
            held.scales[i] = load_scale(weight, element);
        } else {
            for (uint32_t j = 0; j < CHUNK<T>; j++)
                chunk[j] = j < valid ? round_to<T>(nf4_element(weight, operand.codebook, element + j)) : T{};
        }
    };
    for_own_chunks<ALONG, THREADS>(tile, operand.dense, depth, depth_end, read);
}

template <bool ALONG, uint32_t THREADS, typename T, uint32_t LINES, uint32_t DEPTH, typename Held>
__device__ __forceinline__ void finish_copy(OperandTile<T, LINES, DEPTH>& tile, const WeightOperand<T>& operand,
                                            const Held& held) {
    if (!operand.quantized || !operand.whole_chunks()) return;
    for_own_chunks<ALONG, THREADS>(tile, operand.dense, 0, 0, [&](uint32_t i, T* chunk, uint64_t, uint32_t) {
        float values[CHUNK<T>] = {};
        if (held.there >> i & 1) {
            float scale = scale_of(operand.weight, held.scales[i]);
            decode(operand.weight, operand.codebook, held.codes[i], scale, values);
        }
        store_chunk(chunk, values);
    });
}
