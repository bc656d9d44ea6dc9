// How far a Gram matrix is from the identity, and the derivative of that by the matrix.
//
//   norm = |G - I|_F        G = (G - I) / norm, and zero where the norm is
//
// Squares are added in f64. One block: a matrix has the rank of an adapter on both sides. Each thread adds its elements in order,
// and the threads are added in order.
#include "common/reduce.cuh"
#include "lora/params.h"

extern "C" __global__ void __launch_bounds__(ORTHOGONALITY_THREADS) lora_orthogonality_f32(const __grid_constant__ OrthogonalityParams p) {
    using Reduction = BlockReduction<double, ORTHOGONALITY_THREADS>;
    static_assert(sizeof(Reduction) == ORTHOGONALITY_SHARED_BYTES, "the launch gives what the reduction uses");
    float* gram = global_pointer<float>(p.gram);                                    // (rank, rank)
    uint64_t len = p.rank * p.rank;
    double sum = 0.0;
    for (uint64_t i = threadIdx.x; i < len; i += ORTHOGONALITY_THREADS) {
        float difference = i % (p.rank + 1) == 0 ? gram[i] - 1.0f : gram[i];
        sum += double(difference) * double(difference);
        gram[i] = difference;
    }
    float norm = float(sqrt(block_sum(shared_memory<Reduction>(), sum)));
    for (uint64_t i = threadIdx.x; i < len; i += ORTHOGONALITY_THREADS) gram[i] = norm == 0.0f ? 0.0f : gram[i] / norm;
    if (threadIdx.x == 0) *global_pointer<float>(p.norm) = norm;
}
