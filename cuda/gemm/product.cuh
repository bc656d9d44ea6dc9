// A tile of a sum of products, C = sum A_t B_t: the loop over the depths of all terms.
//
// The depths of the terms follow each other in one pipeline of asynchronous copies, so a second product of small depth, as
// LoRA's, costs one or two steps more and nothing else. Steps of one stage wait for the copies of this thread, meet at one
// barrier, start the copies of the stage that was multiplied last, multiply, and finish what an operand keeps in registers
// while it is on its way, as quantized blocks do.
#pragma once
#include "gemm/accumulators_bf16.cuh"
#include "gemm/accumulators_f32.cuh"
#include "gemm/operand.cuh"

/** One product: rows of A, columns of B, and their common depth. */
template <typename T, typename B = Operand<T>>
struct Term {
    Operand<T> a;
    B b;
    uint64_t depth;
};

/** What kernels that mask nothing inherit. A kernel's own `Terms` has besides
      A, B             the layouts of the operands
      count()          how many products there are
      operator()(i)    product `i` */
struct PlainTerms {
    /** Whether `mask_operands(i, stage, depth)` changes what this thread has copied. */
    static constexpr bool MASKS_OPERANDS = false;
    /** Whether products for which `is_masked(i)` are added under the mask `sum_mask(i, sums)`. */
    static constexpr bool MASKS_SUMS = false;
};

/** A place in the depths of the terms. */
struct TermCursor {
    uint32_t term = 0;
    uint64_t depth = 0;

    /** Goes on by `step`, and to the next term that has a depth if this one is at its end. */
    template <typename Terms>
    __device__ __forceinline__ void advance(const Terms& terms, uint32_t step) {
        depth += step;
        while (term < terms.count() && depth >= terms(term).depth) {
            term++;
            depth = 0;
        }
    }
};

/** Adds the products of `terms` to `sums`. Ends with a barrier, after which the stages may be overwritten. */
template <typename T, typename Tile, typename Terms>
__device__ __forceinline__ void add_products(Accumulators<T, Tile>& sums, Stage<T, Tile> (&stages)[Tile::STAGES],
                                             const Terms& terms) {
    constexpr uint32_t K = Tile::template K<T>, STAGES = Tile::STAGES;
    TermCursor copied, added;
    using B = decltype(terms(0).b);
    typename Operand<T>::template Held<0> held_a;
    typename B::template Held<OWN_CHUNKS<T, Tile::N, K, Tile::THREADS>> held_b;
    auto start = [&](Stage<T, Tile>& stage) {
        if (copied.term < terms.count()) {
            auto term = terms(copied.term);
            with_layout<Terms::A>(term.a.along, [&](auto a) {
                start_copy<a.along, Tile::THREADS>(stage.a, term.a, copied.depth, term.depth, held_a);
            });
            with_layout<Terms::B>(term.b.along, [&](auto b) {
                start_copy<b.along, Tile::THREADS>(stage.b, term.b, copied.depth, term.depth, held_b);
            });
        }
        // Also a group of nothing, so that the wait below counts the same at the end.
        async_copy_commit();
    };
    auto finish = [&](Stage<T, Tile>& stage) {
        if (copied.term >= terms.count()) return;
        auto term = terms(copied.term);
        with_layout<Terms::B>(term.b.along, [&](auto b) {
            finish_copy<b.along, Tile::THREADS>(stage.b, term.b, held_b);
        });
        copied.advance(terms, K);
    };

    copied.advance(terms, 0);
    added.advance(terms, 0);
    for (uint32_t i = 0; i < STAGES - 1; i++) {
        start(stages[i]);
        finish(stages[i]);
    }
    [[maybe_unused]] SumMask<Accumulators<T, Tile>::COUNT> mask;
    for (uint32_t step = 0; added.term < terms.count(); step++) {
        Stage<T, Tile>& stage = stages[step % STAGES];
        async_copy_wait<STAGES - 2>();
        if constexpr (Terms::MASKS_OPERANDS) terms.mask_operands(added.term, stage, added.depth);
        __syncthreads();
        Stage<T, Tile>& next = stages[(step + STAGES - 1) % STAGES];
        start(next);
        auto term = terms(added.term);
        with_layout<Terms::A>(term.a.along, [&](auto a) {
            with_layout<Terms::B>(term.b.along, [&](auto b) {
                if constexpr (Terms::MASKS_SUMS) {
                    if (terms.is_masked(added.term)) {
                        if (added.depth == 0) mask = terms.sum_mask(added.term, sums);
                        return sums.template add_masked<a.along, b.along>(stage, mask);
                    }
                }
                sums.template add<a.along, b.along>(stage);
            });
        });
        finish(next);
        added.advance(terms, K);
    }
    async_copy_wait<0>();
    __syncthreads();
}
