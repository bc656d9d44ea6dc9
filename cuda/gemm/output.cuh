// Writing a tile of C.
#pragma once
#include "gemm/accumulators.cuh"

/** C, of elements `C`, and what becomes of a product before it is rounded once and stored. `T` is the type of the bias. */
template <typename C, typename T>
struct Output {
    C* data;            // (rows, columns)
    uint64_t stride;    // from row to row
    uint64_t rows, columns;
    const T* bias;      // (columns), or null
    float alpha;
    bool add;           // to what C holds
    const float* scale = nullptr;   // (columns), or null: the last factor of each column
    C* unscaled = nullptr;          // (rows, columns) as C, or null: the result without it

    /** Writes `alpha values`, plus bias or C, times their scale, to four columns of a row, as far as they lie in C. */
    __device__ __forceinline__ void write(uint64_t row, uint64_t column, float (&values)[VECTOR]) const {
        if (row >= rows || column >= columns) return;
        C* to = data + row * stride;
        bool vectors = vector_aligned(data) && stride % VECTOR == 0;
        for (uint32_t i = 0; i < VECTOR; i++) values[i] *= alpha;
        float addend[VECTOR];
        if (bias) {
            load_up_to(bias, column, columns, vector_aligned(bias), addend);
            for (uint32_t i = 0; i < VECTOR; i++) values[i] += addend[i];
        }
        if (add) {
            load_up_to(to, column, columns, vectors, addend);
            for (uint32_t i = 0; i < VECTOR; i++) values[i] += addend[i];
        }
        if (scale) {
            if (unscaled) {
                bool unscaled_vectors = vector_aligned(unscaled) && stride % VECTOR == 0;
                store_up_to(unscaled + row * stride, column, columns, unscaled_vectors, values);
            }
            load_up_to(scale, column, columns, vector_aligned(scale), addend);
            for (uint32_t i = 0; i < VECTOR; i++) values[i] *= addend[i];
        }
        store_up_to(to, column, columns, vectors, values);
    }
};

/** Calls `body(row, column, values)` for each four neighbours of the tile, row by row over the threads, so that a warp writes
    contiguous memory. The stages must be free. */
template <typename T, typename Tile, typename Body>
__device__ __forceinline__ void for_each_vector(Accumulators<T, Tile>& sums, ResultTile<Tile>& result, Body body) {
    sums.for_each_run([&](uint32_t, uint32_t row, uint32_t column, const float* run) {
        for (uint32_t i = 0; i < Accumulators<T, Tile>::RUN; i++) result.values[row][column + i] = run[i];
    });
    __syncthreads();
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < Tile::M * Tile::N / VECTOR; i += Tile::THREADS) {
        uint32_t row = i / (Tile::N / VECTOR), column = i % (Tile::N / VECTOR) * VECTOR;
        float values[VECTOR];
        load_vector(&result.values[row][column], values);
        body(row, column, values);
    }
}
