// y = mask / (1 - p) * x, or that added to y: dropout by itself, and its own gradient.
//
// Each thread takes four elements, which share one block of random words. The product is f32, rounded as on the CPU and then
// to the type of y.
#include "common/vector.cuh"
#include "common/philox.cuh"
#include "lora/params.h"

namespace {

template <typename T>
__device__ __forceinline__ void apply(const DropoutParams& p) {
    const T* x = global_pointer<const T>(p.x);
    T* y = global_pointer<T>(p.y);
    bool vectors = vector_aligned(x) && vector_aligned(y);
    uint64_t block = uint64_t(DROPOUT_THREADS) * blockIdx.x + threadIdx.x, i = VECTOR * block;
    if (i >= p.len) return;
    const LoraDropout& dropout = p.dropout;
    PhiloxWords counter = {{uint32_t(block), uint32_t(block >> 32), dropout.step, dropout.site}};
    PhiloxWords words = philox4x32(counter, dropout.key[0], dropout.key[1]);
    float values[VECTOR], before[VECTOR] = {};
    load_up_to(x, i, p.len, vectors, values);
    if (p.add) load_up_to(y, i, p.len, vectors, before);
    for (uint32_t j = 0; j < VECTOR; j++) {
        float factor = words.word[j] >> 8 >= dropout.threshold ? dropout.scale : 0.0f;
        values[j] = __fmul_rn(factor, values[j]);
        if (p.add) values[j] = __fadd_rn(values[j], before[j]);
    }
    store_up_to(y, i, p.len, vectors, values);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(DROPOUT_THREADS) dropout_f32(const __grid_constant__ DropoutParams p) { apply<float>(p); }
extern "C" __global__ void __launch_bounds__(DROPOUT_THREADS) dropout_bf16(const __grid_constant__ DropoutParams p) { apply<bf16>(p); }
