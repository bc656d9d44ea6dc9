// One step of a recurrence: a product of the state before with W_hh, and the functions of its gates.
//
//   [i f g o] = input_gates_t + h_before W_hh^T     i, f, o through sigmoid, g through tanh
//   c_t = f c_before + i g                          h_t = o tanh(c_t)
//
// A warp takes one unit: its four rows of W_hh, which every step reads once. All is f32.
#include "common/reduce.cuh"
#include "common/vector.cuh"
#include "lstm/params.h"

namespace {

/** The bounds keep the exponential finite; they would turn a NaN into a number. */
__device__ __forceinline__ float sigmoid(float x) {
    return isnan(x) ? x : 1.0f / (1.0f + expf(fminf(fmaxf(-x, -87.0f), 87.0f)));
}

/** The warp's sum of the products of two vectors, in every lane. */
__device__ __forceinline__ float dot(const float* a, const float* b, uint64_t len) {
    bool vectors = vector_aligned(a) && vector_aligned(b);
    float left[VECTOR], right[VECTOR], sum = 0.0f;
    for (uint64_t i = VECTOR * lane_id(); i < len; i += VECTOR * WARP) {
        load_up_to(a, i, len, vectors, left);
        load_up_to(b, i, len, vectors, right);
        for (uint32_t j = 0; j < VECTOR; j++) sum += left[j] * right[j];
    }
    return warp_sum(sum);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(LSTM_THREADS) lstm_forward_f32(const __grid_constant__ LstmForwardParams p) {
    const float* weight_hh = global_pointer<const float>(p.weight_hh);
    const float* input_gates = global_pointer<const float>(p.input_gates) + p.step * 4 * p.hidden;
    float* gates = global_pointer<float>(p.gates) + p.step * 4 * p.hidden;
    float* h = global_pointer<float>(p.h);
    float* cells = global_pointer<float>(p.cells);
    uint64_t unit = uint64_t(LSTM_FORWARD_UNITS) * blockIdx.x + warp_id();
    if (unit >= p.hidden) return;
    bool first = p.before == LSTM_NONE;
    float gate[4];
    for (uint32_t part = 0; part < 4; part++) {
        uint64_t row = part * p.hidden + unit;
        gate[part] = input_gates[row];
        if (!first) gate[part] += dot(weight_hh + row * p.hidden, h + p.before * p.hidden, p.hidden);
    }
    if (lane_id() != 0) return;
    float i = sigmoid(gate[0]), f = sigmoid(gate[1]), g = tanhf(gate[2]), o = sigmoid(gate[3]);
    float cell = fmaf(f, first ? 0.0f : cells[p.before * p.hidden + unit], i * g);
    gates[unit] = i;
    gates[p.hidden + unit] = f;
    gates[2 * p.hidden + unit] = g;
    gates[3 * p.hidden + unit] = o;
    cells[p.step * p.hidden + unit] = cell;
    h[p.step * p.hidden + unit] = o * tanhf(cell);
}
