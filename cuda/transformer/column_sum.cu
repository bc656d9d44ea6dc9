// The last step of a sum over rows: partial sums of blocks of rows, added in order. One thread for each column.
#include "common/device.cuh"
#include "transformer/params.h"

extern "C" __global__ void __launch_bounds__(COLUMN_SUM_THREADS) column_sum_f32(const __grid_constant__ ColumnSumParams p) {
    const float* partials = global_pointer<const float>(p.partials);
    float* sums = global_pointer<float>(p.sums);
    uint64_t column = uint64_t(COLUMN_SUM_THREADS) * blockIdx.x + threadIdx.x;
    if (column >= p.columns) return;
    float sum = p.add ? sums[column] : 0.0f;
    for (uint64_t i = 0; i < p.count; i++) sum += partials[i * p.columns + column];
    sums[column] = sum;
}
