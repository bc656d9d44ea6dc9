// The same rows before every sequence of a packed batch, and the gradients of both parts.
//
//   forward:          y[s] = [prompt; x[s]]
//   backward_prompt:  dprompt = sum over s of dy[s][..P], in order
//   backward_x:       dx[s] = dy[s][P..]
//
// One block copies one row; of the prompt's gradient it sums a vector of columns for each thread.
#include "common/vector.cuh"
#include "transformer/params.h"
#include "transformer/sequences.cuh"

namespace {

constexpr uint32_t STEP = VECTOR * ROWS_THREADS;

template <typename From, typename To>
__device__ __forceinline__ void copy_row(const From* from, To* to, uint64_t width, bool add) {
    bool vectors = vector_aligned(from) && vector_aligned(to);
    float values[VECTOR], before[VECTOR];
    for (uint64_t i = VECTOR * threadIdx.x; i < width; i += STEP) {
        load_up_to(from, i, width, vectors, values);
        if (add) {
            load_up_to(to, i, width, vectors, before);
            for (uint32_t j = 0; j < VECTOR; j++) values[j] += before[j];
        }
        store_up_to(to, i, width, vectors, values);
    }
}

template <typename Prompt, typename T>
__device__ __forceinline__ void forward(const PrependParams& p) {
    const uint32_t* cu_seqlens = global_pointer<const uint32_t>(p.cu_seqlens);
    uint64_t sequence = sequence_of(cu_seqlens, p.num_sequences, p.prompt_rows, blockIdx.x);
    uint64_t start = cu_seqlens[sequence], place = blockIdx.x - (start + sequence * p.prompt_rows);
    T* y = global_pointer<T>(p.y) + blockIdx.x * p.width;                  // (width)
    if (place < p.prompt_rows) {
        copy_row(global_pointer<const Prompt>(p.prompt) + place * p.width, y, p.width, false);
    } else {
        copy_row(global_pointer<const T>(p.x) + (start + place - p.prompt_rows) * p.width, y, p.width, false);
    }
}

template <typename T, typename Prompt>
__device__ __forceinline__ void backward_prompt(const PrependParams& p) {
    const uint32_t* cu_seqlens = global_pointer<const uint32_t>(p.cu_seqlens);
    const T* dy = global_pointer<const T>(p.y) + blockIdx.x * p.width;
    Prompt* dprompt = global_pointer<Prompt>(p.prompt) + blockIdx.x * p.width;
    uint64_t i = uint64_t(STEP) * blockIdx.y + VECTOR * threadIdx.x;
    if (i >= p.width) return;
    bool vectors = p.width % VECTOR == 0 && vector_aligned(dy) && vector_aligned(dprompt);
    float sums[VECTOR] = {}, terms[VECTOR];
    if (p.add) load_up_to(dprompt, i, p.width, vectors, sums);
    for (uint64_t sequence = 0; sequence < p.num_sequences; sequence++) {
        load_up_to(dy + (cu_seqlens[sequence] + sequence * p.prompt_rows) * p.width, i, p.width, vectors, terms);
        for (uint32_t j = 0; j < VECTOR; j++) sums[j] += terms[j];
    }
    store_up_to(dprompt, i, p.width, vectors, sums);
}

template <typename T>
__device__ __forceinline__ void backward_x(const PrependParams& p) {
    const uint32_t* cu_seqlens = global_pointer<const uint32_t>(p.cu_seqlens);
    uint64_t sequence = sequence_of(cu_seqlens, p.num_sequences, 0, blockIdx.x);
    const T* dy = global_pointer<const T>(p.y) + (blockIdx.x + (sequence + 1) * p.prompt_rows) * p.width;
    copy_row(dy, global_pointer<T>(p.x) + blockIdx.x * p.width, p.width, p.add);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_forward_f32(const __grid_constant__ PrependParams p) { forward<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_forward_bf16(const __grid_constant__ PrependParams p) { forward<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_forward_f32_to_bf16(const __grid_constant__ PrependParams p) { forward<float, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_backward_prompt_f32(const __grid_constant__ PrependParams p) { backward_prompt<float, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_backward_prompt_bf16(const __grid_constant__ PrependParams p) { backward_prompt<bf16, bf16>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_backward_prompt_bf16_to_f32(const __grid_constant__ PrependParams p) { backward_prompt<bf16, float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_backward_x_f32(const __grid_constant__ PrependParams p) { backward_x<float>(p); }
extern "C" __global__ void __launch_bounds__(ROWS_THREADS) prepend_backward_x_bf16(const __grid_constant__ PrependParams p) { backward_x<bf16>(p); }
