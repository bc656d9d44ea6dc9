// Global memory in vectors of four elements, 16 bytes of f32 or 8 bytes of bf16, and in chunks of 16 bytes.
#pragma once
#include "common/bf16.cuh"

/** Elements of one vector. */
constexpr uint32_t VECTOR = 4;

namespace vector_detail {
struct alignas(16) float_words {
    float value[4];
};
struct alignas(8) bf16_words {
    uint32_t value[2];
};
struct alignas(16) chunk_words {
    uint32_t value[4];
};
}  // namespace vector_detail

/** Whether vectors may be read at `address`. */
template <typename T>
__device__ __forceinline__ bool vector_aligned(const T* address) {
    return reinterpret_cast<uintptr_t>(address) % (VECTOR * sizeof(T)) == 0;
}

/** Reads four f32. */
__device__ __forceinline__ void load_vector(const float* address, float (&values)[VECTOR]) {
    expect_aligned(address, 16);
    auto words = *reinterpret_cast<const vector_detail::float_words*>(address);
    for (uint32_t i = 0; i < VECTOR; i++) values[i] = words.value[i];
}

/** Reads four bf16, widened. */
__device__ __forceinline__ void load_vector(const bf16* address, float (&values)[VECTOR]) {
    expect_aligned(address, 8);
    auto words = *reinterpret_cast<const vector_detail::bf16_words*>(address);
    for (uint32_t i = 0; i < 2; i++) {
        values[2 * i] = __uint_as_float(words.value[i] << 16);
        values[2 * i + 1] = __uint_as_float(words.value[i] & 0xffff0000u);
    }
}

/** Writes four f32. */
__device__ __forceinline__ void store_vector(float* address, const float (&values)[VECTOR]) {
    expect_aligned(address, 16);
    vector_detail::float_words words;
    for (uint32_t i = 0; i < VECTOR; i++) words.value[i] = values[i];
    *reinterpret_cast<vector_detail::float_words*>(address) = words;
}

/** Writes four values rounded to bf16. */
__device__ __forceinline__ void store_vector(bf16* address, const float (&values)[VECTOR]) {
    expect_aligned(address, 8);
    vector_detail::bf16_words words;
    for (uint32_t i = 0; i < 2; i++) words.value[i] = round_to_bf16x2(values[2 * i], values[2 * i + 1]).bits;
    *reinterpret_cast<vector_detail::bf16_words*>(address) = words;
}

/** Reads the elements `start..start + 4` that lie below `len`; the others are zero. `vectors` says that `data` is
    vector-aligned and `start` a multiple of four. */
template <typename T>
__device__ __forceinline__ void load_up_to(const T* data, uint64_t start, uint64_t len, bool vectors,
                                           float (&values)[VECTOR]) {
    if (vectors && start + VECTOR <= len) return load_vector(data + start, values);
    for (uint32_t i = 0; i < VECTOR; i++) values[i] = start + i < len ? to_float(data[start + i]) : 0.0f;
}

/** Writes the elements `start..start + 4` that lie below `len`, as `load_up_to` reads them. */
template <typename T>
__device__ __forceinline__ void store_up_to(T* data, uint64_t start, uint64_t len, bool vectors,
                                            const float (&values)[VECTOR]) {
    if (vectors && start + VECTOR <= len) return store_vector(data + start, values);
    for (uint32_t i = 0; i < VECTOR; i++) {
        if (start + i < len) data[start + i] = round_to<T>(values[i]);
    }
}

/** Elements of 16 bytes. */
template <typename T>
constexpr uint32_t CHUNK = 16 / sizeof(T);

/** Reads 16 bytes of f32. */
__device__ __forceinline__ void load_chunk(const float* address, float (&values)[CHUNK<float>]) {
    load_vector(address, values);
}

/** Reads 16 bytes of bf16, widened. */
__device__ __forceinline__ void load_chunk(const bf16* address, float (&values)[CHUNK<bf16>]) {
    expect_aligned(address, 16);
    auto words = *reinterpret_cast<const vector_detail::chunk_words*>(address);
    for (uint32_t i = 0; i < 4; i++) {
        values[2 * i] = __uint_as_float(words.value[i] << 16);
        values[2 * i + 1] = __uint_as_float(words.value[i] & 0xffff0000u);
    }
}

/** Writes 16 bytes of f32. */
__device__ __forceinline__ void store_chunk(float* address, const float (&values)[CHUNK<float>]) {
    store_vector(address, values);
}

/** Writes 16 bytes of values rounded to bf16. */
__device__ __forceinline__ void store_chunk(bf16* address, const float (&values)[CHUNK<bf16>]) {
    expect_aligned(address, 16);
    vector_detail::chunk_words words;
    for (uint32_t i = 0; i < 4; i++) words.value[i] = round_to_bf16x2(values[2 * i], values[2 * i + 1]).bits;
    *reinterpret_cast<vector_detail::chunk_words*>(address) = words;
}
