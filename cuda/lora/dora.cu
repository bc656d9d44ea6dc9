// The norms that DoRA brings the outputs of a weight to, without forming the sum of the weight and its update.
//
//   squares[o] = |W[o]|^2
//   norm[o]^2  = squares[o] + 2 s B[o] . (A W^T)[:, o] + s^2 B[o] . (B (A A^T))[o]
//
// Sums are f64, the norm is rounded to f32. Of a weight with its outputs in rows one block takes a row, and adds its threads
// in order; with its outputs in columns a thread takes a column.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "lora/params.h"

namespace {

using Reduction = BlockReduction<double, DORA_THREADS>;
static_assert(sizeof(Reduction) == DORA_SHARED_BYTES, "the launch gives what the reduction uses");

__device__ __forceinline__ double square(float value) { return double(value) * double(value); }

template <typename T>
__device__ __forceinline__ void row_squares(const DoraSquaresParams& p) {
    const T* row = global_pointer<const T>(p.weight) + blockIdx.x * p.inputs;      // (inputs)
    bool vectors = vector_aligned(row);
    float values[VECTOR];
    double sum = 0.0;
    for (uint64_t i = VECTOR * threadIdx.x; i < p.inputs; i += VECTOR * DORA_THREADS) {
        load_up_to(row, i, p.inputs, vectors, values);
        for (float value : values) sum += square(value);
    }
    sum = block_sum(shared_memory<Reduction>(), sum);
    if (threadIdx.x == 0) global_pointer<double>(p.squares)[blockIdx.x] = sum;
}

template <typename T>
__device__ __forceinline__ void column_squares(const DoraSquaresParams& p) {
    const T* weight = global_pointer<const T>(p.weight);                            // (inputs, outputs)
    uint64_t output = uint64_t(DORA_COLUMNS) * blockIdx.x + threadIdx.x;
    if (output >= p.outputs) return;
    double sum = 0.0;
#pragma unroll 4
    for (uint64_t row = 0; row < p.inputs; row++) sum += square(to_float(weight[row * p.outputs + output]));
    global_pointer<double>(p.squares)[output] = sum;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(DORA_THREADS) dora_row_squares_f32(const __grid_constant__ DoraSquaresParams p) { row_squares<float>(p); }
extern "C" __global__ void __launch_bounds__(DORA_THREADS) dora_row_squares_bf16(const __grid_constant__ DoraSquaresParams p) { row_squares<bf16>(p); }
extern "C" __global__ void __launch_bounds__(DORA_THREADS) dora_column_squares_f32(const __grid_constant__ DoraSquaresParams p) { column_squares<float>(p); }
extern "C" __global__ void __launch_bounds__(DORA_THREADS) dora_column_squares_bf16(const __grid_constant__ DoraSquaresParams p) { column_squares<bf16>(p); }

// One thread for each output.
extern "C" __global__ void __launch_bounds__(DORA_THREADS) dora_norm_f32(const __grid_constant__ DoraNormParams p) {
    uint64_t output = uint64_t(DORA_THREADS) * blockIdx.x + threadIdx.x;
    if (output >= p.outputs) return;
    const float* b = global_pointer<const float>(p.lora_b) + output * p.rank;       // (rank)
    const float* aw = global_pointer<const float>(p.aw) + output;                   // (rank), a row apart
    const float* bg = global_pointer<const float>(p.bg) + output * p.rank;          // (rank)
    double cross = 0.0, update = 0.0;
    for (uint64_t k = 0; k < p.rank; k++) {
        cross += double(b[k]) * double(aw[k * p.outputs]);
        update += double(b[k]) * double(bg[k]);
    }
    double sum = global_pointer<const double>(p.squares)[output] + 2.0 * p.scaling * cross + p.scaling * p.scaling * update;
    // Rounding may leave less than nothing of a row that the update cancels; NaN stays NaN.
    global_pointer<float>(p.norm)[output] = float(sqrt(sum < 0.0 ? 0.0 : sum));
}
