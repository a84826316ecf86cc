// Dynamic Shift-Max for CPUs: y = max_k (b[k] + sum_j a[k][j] * x[partner_j]), forward and backward, for channels first
// and channels last. Forward and backward each make one pass over memory.
//
// compiled.py compiles this file on the user's machine, and Python calls it through ctypes. So it includes no PyTorch
// headers. Tasks never write the same values, and sums over tasks are computed afterwards in a fixed order. So results
// do not depend on the number of threads.
//
// V is a vector of values, or a single value for the rest of a row that does not fill a vector.
#include <type_traits>
#include <vector>

#include "vectors.h"

namespace {

template <typename M, typename V>
inline V select(M where, V yes, V no) {
    return where ? yes : no;
}

// Compute the fusions and their maximum (NaN if any is NaN). Coefficients W are vectors, or one value for all lanes.
template <int J, int K, typename V, typename W>
inline V fuse(const V (&values)[J], const W (&w)[K][J], const W (&b)[K], V (&fusions)[K]) {
    V largest{};
    for (int k = 0; k < K; ++k) {
        V sum = b[k] + w[k][0] * values[0];
        for (int j = 1; j < J; ++j) sum += w[k][j] * values[j];
        fusions[k] = sum;
        largest = k == 0 ? sum : select((sum > largest) | (sum != sum), sum, largest);
    }
    return largest;
}

// Split the gradient over the fusions: the largest fusion gets all of it, equally large fusions get equal parts. If a
// fusion is NaN, the parts follow PyTorch: the gradient as in torch.maximum (K = 2), or NaN as in torch.amax.
template <int J, int K, typename V, typename W>
inline void share(const V (&values)[J], const W (&w)[K][J], const W (&b)[K], V gradient, V (&parts)[K]) {
    if (K == 1) {
        parts[0] = gradient;
        return;
    }
    V fusions[K], equal{};
    const V largest = fuse<J, K>(values, w, b, fusions), one = V{} + 1, zero{};
    if (K == 2) {
        const V half = select(fusions[0] == fusions[K - 1], gradient / 2, gradient);
        parts[0] = select(fusions[0] < fusions[K - 1], zero, half);
        parts[K - 1] = select(fusions[0] > fusions[K - 1], zero, half);
        return;
    }
    for (int k = 0; k < K; ++k) equal += select(fusions[k] == largest, one, zero);
    for (int k = 0; k < K; ++k) parts[k] = select(fusions[k] == largest, gradient, zero) / equal;
}

// The coefficients of all samples or of one sample. Per sample, a is (K, J, C), and b is (K, C) or null for zeros.
// Output channel c fuses the inputs partner[j * C + c]. Input channel c is the j-th partner of output inverse[j * C +
// c].
template <typename A>
struct Plan {
    const A *a, *b;
    const int64_t *partner, *inverse;
    int64_t N, C, S;

    Plan sample(int64_t n, int64_t J, int64_t K) const {
        return {a + n * K * J * C, b ? b + n * K * C : nullptr, partner, inverse, N, C, S};
    }
};

// ---- Channels first: rows of S contiguous values. A row of a sample is a task.

// Input rows and coefficients of an output channel of a sample.
template <int J, int K, typename T, typename A>
struct Rows {
    const T *x[J];
    A w[K][J], b[K];

    Rows(const T *sample, const Plan<A> &p, int64_t c) {
        for (int j = 0; j < J; ++j) x[j] = sample + p.partner[j * p.C + c] * p.S;
        for (int k = 0; k < K; ++k) {
            b[k] = p.b ? p.b[k * p.C + c] : A(0);
            for (int j = 0; j < J; ++j) w[k][j] = p.a[(k * J + j) * p.C + c];
        }
    }

    template <typename V>
    void read(int64_t s, V (&values)[J]) const {
        for (int j = 0; j < J; ++j) values[j] = load<V>(x[j] + s);
    }
};

template <int J, int K, typename T, typename A>
void forward_first(const T *x, T *y, const Plan<A> &plan, int threads) {
    const int64_t C = plan.C, S = plan.S;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < plan.N; ++n)
        for (int64_t c = 0; c < C; ++c) {
            const Rows<J, K, T, A> rows(x + n * C * S, plan.sample(n, J, K), c);
            T *out = y + (n * C + c) * S;
            in_vectors<A>(S, [&](auto zero, int64_t s) {
                typedef decltype(zero) V;
                V values[J], fusions[K];
                rows.read(s, values);
                store(out + s, fuse<J, K>(values, rows.w, rows.b, fusions));
            });
        }
}

// gx, ga or gb is null if it is not needed.
template <int J, int K, typename T, typename A>
void backward_first(const T *x, const T *gy, T *gx, A *ga, A *gb, const Plan<A> &plan, int threads) {
    const int64_t C = plan.C, S = plan.S;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < plan.N; ++n)
        for (int64_t c = 0; c < C; ++c) {
            const T *sample = x + n * C * S, *gradient = gy + n * C * S;
            const Plan<A> p = plan.sample(n, J, K);
            // Input c is partner 0 of output c, partner 1 of output i1 and partner 2 of output i2.
            const int64_t i1 = p.inverse[(J > 1 ? 1 : 0) * C + c], i2 = p.inverse[(J > 2 ? 2 : 0) * C + c];
            const Rows<J, K, T, A> r0(sample, p, c), r1(sample, p, i1), r2(sample, p, i2);
            const T *g0 = gradient + c * S, *g1 = gradient + i1 * S, *g2 = gradient + i2 * S;
            T *to = gx ? gx + (n * C + c) * S : nullptr;
            Sums<A> sums[K][J + 1];
            in_vectors<A>(S, [&](auto zero, int64_t s) {
                typedef decltype(zero) V;
                V values[J], parts[K], sum = zero;
                r0.read(s, values);
                share<J, K>(values, r0.w, r0.b, load<V>(g0 + s), parts);
                for (int k = 0; k < K; ++k) {
                    sum += parts[k] * r0.w[k][0];
                    for (int j = 0; j < J; ++j) sums[k][j].add(parts[k] * values[j]);
                    sums[k][J].add(parts[k]);
                }
                if (!gx) return;
                if (J > 1) {
                    r1.read(s, values);
                    share<J, K>(values, r1.w, r1.b, load<V>(g1 + s), parts);
                    for (int k = 0; k < K; ++k) sum += parts[k] * r1.w[k][J > 1 ? 1 : 0];
                }
                if (J > 2) {
                    r2.read(s, values);
                    share<J, K>(values, r2.w, r2.b, load<V>(g2 + s), parts);
                    for (int k = 0; k < K; ++k) sum += parts[k] * r2.w[k][J > 2 ? 2 : 0];
                }
                store(to + s, sum);
            });
            for (int k = 0; k < K; ++k) {
                for (int j = 0; ga && j < J; ++j) ga[((n * K + k) * J + j) * C + c] = sums[k][j].total();
                if (gb) gb[(n * K + k) * C + c] = sums[k][J].total();
            }
        }
}

// ---- Channels last: rows of C contiguous values. A segment of positions of a sample is a task.

// Copy the channels of a position for every shift, each row in the order of the outputs.
template <int J, typename T, typename A>
void shifted(const T *row, const int64_t *partner, int64_t C, A *to) {
    for (int64_t c = 0; c < C; ++c) to[c] = load<A>(row + c);
    for (int64_t i = C; i < J * C; ++i) to[i] = to[partner[i]];
}

// Inputs and coefficients of output channels at a position, starting at channel c.
template <int J, int K, typename V>
struct Columns {
    V values[J], w[K][J], b[K];

    template <typename A>
    Columns(const A *shifted, const Plan<A> &p, int64_t c) {
        for (int j = 0; j < J; ++j) values[j] = load<V>(shifted + j * p.C + c);
        for (int k = 0; k < K; ++k) {
            b[k] = p.b ? load<V>(p.b + k * p.C + c) : V{};
            for (int j = 0; j < J; ++j) w[k][j] = load<V>(p.a + (k * J + j) * p.C + c);
        }
    }
};

template <int J, int K, typename T, typename A>
void forward_last(const T *x, T *y, const Plan<A> &plan, int64_t segments, int64_t segment,
                   int threads) {
    const int64_t C = plan.C, S = plan.S;
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> values(J * C);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < plan.N; ++n)
            for (int64_t part = 0; part < segments; ++part) {
                const Plan<A> p = plan.sample(n, J, K);
                for (int64_t s = part * segment; s < S && s < (part + 1) * segment; ++s) {
                    const int64_t row = (n * S + s) * C;
                    shifted<J>(x + row, p.partner, C, values.data());
                    in_vectors<A>(C, [&](auto zero, int64_t c) {
                        typedef decltype(zero) V;
                        const Columns<J, K, V> columns(values.data(), p, c);
                        V fusions[K];
                        store(y + row + c, fuse<J, K>(columns.values, columns.w, columns.b, fusions));
                    });
                }
            }
    }
}

// ga and gb are separate sums for each segment: (N * segments, ...). gx, ga or gb is null if it is not needed.
template <int J, int K, typename T, typename A>
void backward_last(const T *x, const T *gy, T *gx, A *ga, A *gb, const Plan<A> &plan, int64_t segments,
                   int64_t segment, int threads) {
    const int64_t C = plan.C, S = plan.S;
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> values(J * C), back(J * C);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < plan.N; ++n)
            for (int64_t part = 0; part < segments; ++part) {
                const Plan<A> p = plan.sample(n, J, K);
                A *own_a = ga ? ga + (n * segments + part) * K * J * C : nullptr;
                A *own_b = gb ? gb + (n * segments + part) * K * C : nullptr;
                for (int64_t i = 0; ga && i < K * J * C; ++i) own_a[i] = 0;
                for (int64_t i = 0; gb && i < K * C; ++i) own_b[i] = 0;
                for (int64_t s = part * segment; s < S && s < (part + 1) * segment; ++s) {
                    const int64_t row = (n * S + s) * C;
                    shifted<J>(x + row, p.partner, C, values.data());
                    in_vectors<A>(C, [&](auto zero, int64_t c) {
                        typedef decltype(zero) V;
                        const Columns<J, K, V> columns(values.data(), p, c);
                        V parts[K];
                        share<J, K>(columns.values, columns.w, columns.b, load<V>(gy + row + c), parts);
                        for (int k = 0; gb && k < K; ++k)
                            store(own_b + k * C + c, load<V>(own_b + k * C + c) + parts[k]);
                        for (int j = 0; j < J; ++j) {
                            V sum = zero;
                            for (int k = 0; k < K; ++k) {
                                A *own = own_a + (k * J + j) * C + c;
                                if (ga) store(own, load<V>(own) + parts[k] * columns.values[j]);
                                sum += parts[k] * columns.w[k][j];
                            }
                            store(back.data() + j * C + c, sum);
                        }
                    });
                    for (int64_t c = 0; gx && c < C; ++c) {
                        A sum = 0;
                        for (int j = 0; j < J; ++j) sum += back[j * C + p.inverse[j * C + c]];
                        store(gx + row + c, sum);
                    }
                }
            }
    }
}

// Run the instance for J shifts and K fusions. Return false if they are not supported.
template <typename F>
bool choose(int64_t J, int64_t K, F run) {
#define CASE(J_, K_) \
    if (J == J_ && K == K_) return run(std::integral_constant<int, J_>{}, std::integral_constant<int, K_>{}), true;
    CASE(1, 1) CASE(1, 2) CASE(1, 3)
    CASE(2, 1) CASE(2, 2) CASE(2, 3)
    CASE(3, 1) CASE(3, 2) CASE(3, 3)
    return false;
}

}  // namespace

extern "C" bool shift_max_has(int64_t J, int64_t K) {
    return choose(J, K, [](auto, auto) {});
}

// `segment` is 0 for channels first, or the number of positions in a segment for channels last.
#define EXPORT(NAME, T, A)                                                                                            \
    extern "C" void shift_max_forward_##NAME(const T *x, const A *a, const A *b, const int64_t *partner, T *y,        \
                                             int64_t N, int64_t C, int64_t S, int64_t J, int64_t K, int64_t segments, \
                                             int64_t segment, int64_t threads) {                                      \
        const Plan<A> plan{a, b, partner, nullptr, N, C, S};                                                          \
        choose(J, K, [&](auto shifts, auto fusions) {                                                                 \
            if (segment)                                                                                              \
                forward_last<shifts, fusions, T, A>(x, y, plan, segments, segment, threads);                          \
            else                                                                                                      \
                forward_first<shifts, fusions, T, A>(x, y, plan, threads);                                            \
        });                                                                                                           \
    }                                                                                                                 \
    extern "C" void shift_max_backward_##NAME(const T *x, const A *a, const A *b, const int64_t *partner,             \
                                              const int64_t *inverse, const T *gy, T *gx, A *ga, A *gb, int64_t N,    \
                                              int64_t C, int64_t S, int64_t J, int64_t K, int64_t segments,           \
                                              int64_t segment, int64_t threads) {                                     \
        const Plan<A> plan{a, b, partner, inverse, N, C, S};                                                          \
        choose(J, K, [&](auto shifts, auto fusions) {                                                                 \
            if (segment)                                                                                              \
                backward_last<shifts, fusions, T, A>(x, gy, gx, ga, gb, plan, segments, segment, threads);            \
            else                                                                                                      \
                backward_first<shifts, fusions, T, A>(x, gy, gx, ga, gb, plan, threads);                              \
        });                                                                                                           \
    }

EXPORT(float32, float, float)
EXPORT(float64, double, double)
EXPORT(bfloat16, bfloat16, float)
