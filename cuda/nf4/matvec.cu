// y = x W^T + s B^T + bias for one to eight tokens and a quantized W: generation.
//
// Bound by one read of the codes. A warp sums two rows of W: each lane takes the codes of eight neighbours at a time, 128
// contiguous bytes of a row for the warp, and the values of x that belong to them from the cache. Values of W are rounded to the
// type of x as in the tiled product. A lane sums in order, then lanes are added as a butterfly; y is rounded once.
#include "common/reduce.cuh"
#include "nf4/weight.cuh"

namespace {

constexpr uint32_t OWN = 8, WARPS = NF4_MATVEC_THREADS / WARP, ROWS = NF4_MATVEC_ROWS / WARPS;

/** `OWN` values of a row of x from `start` on; zeroes behind `len`. `chunks` says that they can be read at once. */
template <typename T>
__device__ __forceinline__ void load_own(const T* data, uint64_t start, uint64_t len, bool chunks, float (&values)[OWN]) {
    if (chunks) {
#pragma unroll
        for (uint32_t i = 0; i < OWN; i += CHUNK<T>) {
            float chunk[CHUNK<T>];
            load_chunk(data + start + i, chunk);
            for (uint32_t j = 0; j < CHUNK<T>; j++) values[i + j] = chunk[j];
        }
    } else {
        for (uint32_t i = 0; i < OWN; i++) values[i] = start + i < len ? to_float(data[start + i]) : 0.0f;
    }
}

template <typename T, uint32_t TOKENS>
__device__ __forceinline__ void matvec(const Nf4MatvecParams& p, const Nf4Codebook& codebook) {
    const T* x = global_pointer<const T>(p.x);
    uint64_t first_row = uint64_t(NF4_MATVEC_ROWS) * blockIdx.x + ROWS * warp_id();
    if (first_row >= p.out_features) return;
    // A last row alone is summed twice.
    uint64_t rows[ROWS];
    for (uint32_t r = 0; r < ROWS; r++) rows[r] = min(first_row + r, p.out_features - 1);
    bool chunks = p.in_features % OWN == 0 && codes_aligned<OWN>(p.weight), x_chunks = chunks && p.x % 16 == 0;
    float sums[TOKENS][ROWS] = {};
#pragma unroll 2
    for (uint64_t k = OWN * lane_id(); k < p.in_features; k += OWN * WARP) {
        float w[ROWS][OWN];
        if (chunks) {
            uint32_t codes[ROWS];
            Nf4Scale scales[ROWS];
#pragma unroll
            for (uint32_t r = 0; r < ROWS; r++) {
                codes[r] = load_codes<OWN>(p.weight, rows[r] * p.in_features + k);
                scales[r] = load_scale(p.weight, rows[r] * p.in_features + k);
            }
#pragma unroll
            for (uint32_t r = 0; r < ROWS; r++) decode(p.weight, codebook, codes[r], scale_of(p.weight, scales[r]), w[r]);
        } else {
            for (uint32_t r = 0; r < ROWS; r++) {
                for (uint32_t i = 0; i < OWN; i++)
                    w[r][i] = k + i < p.in_features ? nf4_element(p.weight, codebook, rows[r] * p.in_features + k + i) : 0.0f;
            }
        }
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) {
            for (uint32_t i = 0; i < OWN; i++) w[r][i] = to_float(round_to<T>(w[r][i]));
        }
#pragma unroll
        for (uint32_t token = 0; token < TOKENS; token++) {
            if (token >= p.num_tokens) break;
            float own[OWN];
            load_own(x + token * p.in_features, k, p.in_features, x_chunks, own);
#pragma unroll
            for (uint32_t i = 0; i < OWN; i++) {
#pragma unroll
                for (uint32_t r = 0; r < ROWS; r++) sums[token][r] = fmaf(own[i], w[r][i], sums[token][r]);
            }
        }
    }
    const T *s = global_pointer<const T>(p.s), *lora_b = global_pointer<const T>(p.lora_b);
    for (uint64_t k = lane_id(); k < p.rank; k += WARP) {
#pragma unroll
        for (uint32_t token = 0; token < TOKENS; token++) {
            if (token >= p.num_tokens) break;
            for (uint32_t r = 0; r < ROWS; r++)
                sums[token][r] = fmaf(to_float(s[token * p.rank + k]), to_float(lora_b[rows[r] * p.rank + k]), sums[token][r]);
        }
    }
    const T* bias = global_pointer<const T>(p.bias);
    T* y = global_pointer<T>(p.y);
#pragma unroll
    for (uint32_t token = 0; token < TOKENS; token++) {
        if (token >= p.num_tokens) break;
#pragma unroll
        for (uint32_t r = 0; r < ROWS; r++) {
            float sum = warp_sum(sums[token][r]);
            if (bias) sum += to_float(bias[rows[r]]);
            if (lane_id() == 0 && first_row + r < p.out_features)
                y[token * p.out_features + rows[r]] = round_to<T>(sum);
        }
    }
}

template <typename T>
__device__ __forceinline__ void matvec(const Nf4MatvecParams& p) {
    auto& codebook = shared_memory<Nf4Codebook>();
    codebook.fill<NF4_MATVEC_THREADS>(p.codebook);
    __syncthreads();
    if (p.num_tokens == 1) return matvec<T, 1>(p, codebook);
    matvec<T, NF4_MATVEC_TOKENS>(p, codebook);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(NF4_MATVEC_THREADS, 6) nf4_matvec_f32(const __grid_constant__ Nf4MatvecParams p) { matvec<float>(p); }
extern "C" __global__ void __launch_bounds__(NF4_MATVEC_THREADS, 6) nf4_matvec_bf16(const __grid_constant__ Nf4MatvecParams p) { matvec<bf16>(p); }
