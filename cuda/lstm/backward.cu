// The gradient of the gates of one step, after that of the step after it.
//
//   dh_t = dy_t + dgates_after W_hh      dc_t = dc_after f_after + dh_t o (1 - tanh^2 c_t)
//   di = dc_t g i (1 - i)                df = dc_t c_before f (1 - f)
//   dg = dc_t i (1 - g^2)                do = dh_t tanh(c_t) o (1 - o)
//
// A block takes 32 units, one for each lane; its warps share the rows of W_hh out, and their parts are added in order. All is
// f32.
#include "common/device.cuh"
#include "lstm/params.h"

namespace {

constexpr uint32_t WARPS = LSTM_THREADS / WARP;

struct Shared {
    float parts[WARPS][LSTM_BACKWARD_UNITS];
};
static_assert(sizeof(Shared) == LSTM_BACKWARD_SHARED_BYTES && LSTM_BACKWARD_UNITS == WARP);

}  // namespace

extern "C" __global__ void __launch_bounds__(LSTM_THREADS) lstm_backward_f32(const __grid_constant__ LstmBackwardParams p) {
    Shared& shared = shared_memory<Shared>();
    const float* weight_hh = global_pointer<const float>(p.weight_hh);
    float* grad_gates = global_pointer<float>(p.grad_gates);
    uint64_t unit = uint64_t(LSTM_BACKWARD_UNITS) * blockIdx.x + lane_id();
    bool last = p.after == LSTM_NONE;

    float sum = 0.0f;
    if (!last && unit < p.hidden) {
        const float* after = grad_gates + p.after * 4 * p.hidden;
#pragma unroll 4
        for (uint64_t row = warp_id(); row < 4 * p.hidden; row += WARPS) sum += after[row] * weight_hh[row * p.hidden + unit];
    }
    shared.parts[warp_id()][lane_id()] = sum;
    __syncthreads();
    if (warp_id() != 0 || unit >= p.hidden) return;
    float later = 0.0f;
    for (uint32_t warp = 0; warp < WARPS; warp++) later += shared.parts[warp][lane_id()];

    const float* gates = global_pointer<const float>(p.gates) + p.step * 4 * p.hidden;
    const float* cells = global_pointer<const float>(p.cells);
    float* later_cell = global_pointer<float>(p.later_cell);
    float i = gates[unit], f = gates[p.hidden + unit], g = gates[2 * p.hidden + unit], o = gates[3 * p.hidden + unit];
    float cell_before = p.before == LSTM_NONE ? 0.0f : cells[p.before * p.hidden + unit];
    float tanh_cell = tanhf(cells[p.step * p.hidden + unit]);
    float dh = global_pointer<const float>(p.grad_h)[p.step * p.hidden + unit] + later;
    float dc = fmaf(dh * o, 1.0f - tanh_cell * tanh_cell, last ? 0.0f : later_cell[unit]);
    float* written = grad_gates + p.step * 4 * p.hidden;
    written[unit] = dc * g * (i * (1.0f - i));
    written[p.hidden + unit] = dc * cell_before * (f * (1.0f - f));
    written[2 * p.hidden + unit] = dc * i * (1.0f - g * g);
    written[3 * p.hidden + unit] = dh * tanh_cell * (o * (1.0f - o));
    later_cell[unit] = dc * f;
}
