// Dynamic Shift-Max for CPUs: y = max_k (b[k] + sum_j a[k][j] * x[partner_j]), forward and backward, one pass over
// memory each, for channels first and channels last.
//
// Compiled on the user's machine by compiled.py and called through ctypes, so it includes nothing of PyTorch. No task
// writes what another one does, and sums over tasks are made in a fixed order behind them, so results do not depend on
// the number of threads.
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct bfloat16 {
    uint16_t bits;
};

inline float load(float value) { return value; }
inline double load(double value) { return value; }
inline float load(bfloat16 value) {
    uint32_t wide = uint32_t(value.bits) << 16;
    float result;
    std::memcpy(&result, &wide, 4);
    return result;
}
inline void store(float *to, float value) { *to = value; }
inline void store(double *to, double value) { *to = value; }
inline void store(bfloat16 *to, float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to->bits = value != value ? uint16_t(0x7fc0) : uint16_t(rounded);  // to nearest even; NaN stays NaN
}

constexpr int LANES = 16;

// The fusions at one position, their maximum (NaN if any is NaN), and how many are equal to it.
template <int J, int K, typename A>
inline A fuse(const A (&values)[J], const A (&w)[K][J], const A (&b)[K], A (&fusions)[K]) {
    A largest = 0;
    for (int k = 0; k < K; ++k) {
        A sum = b[k];
        for (int j = 0; j < J; ++j) sum += w[k][j] * values[j];
        fusions[k] = sum;
        largest = k == 0 || sum > largest || sum != sum ? sum : largest;
    }
    return largest;
}

// How much of the gradient goes to each fusion: all of it to the largest, equal parts where several are.
template <int K, typename A>
inline void share(const A (&fusions)[K], A largest, A gradient, A (&parts)[K]) {
    if (K == 1) {
        parts[0] = gradient;
        return;
    }
    A equal = 0;
    for (int k = 0; k < K; ++k) equal += fusions[k] == largest ? A(1) : A(0);
    A part = gradient / equal;
    for (int k = 0; k < K; ++k) parts[k] = fusions[k] == largest ? part : A(0);
}

// The coefficients of all samples or of one: a is (K, J, C) of each, b (K, C) or null for zeros. Output channel c fuses
// the inputs partner[j * C + c]; input channel c is the j-th partner of the output inverse[j * C + c].
template <typename A>
struct Plan {
    const A *a, *b;
    const int64_t *partner, *inverse;
    int64_t N, C, S;

    Plan sample(int64_t n, int64_t J, int64_t K) const {
        return {a + n * K * J * C, b ? b + n * K * C : nullptr, partner, inverse, N, C, S};
    }
};

// ---- Channels first: rows of S contiguous values; a row of a sample is a task.

template <int J, int K, typename T, typename A>
struct Rows {
    const T *x[J];
    A w[K][J], b[K];

    // What output channel c of a sample is made of.
    Rows(const T *sample, const Plan<A> &p, int64_t c) {
        for (int j = 0; j < J; ++j) x[j] = sample + p.partner[j * p.C + c] * p.S;
        for (int k = 0; k < K; ++k) {
            b[k] = p.b ? p.b[k * p.C + c] : A(0);
            for (int j = 0; j < J; ++j) w[k][j] = p.a[(k * J + j) * p.C + c];
        }
    }

    A at(int64_t s, A (&fusions)[K]) const {
        A values[J];
        for (int j = 0; j < J; ++j) values[j] = load(x[j][s]);
        return fuse<J, K, A>(values, w, b, fusions);
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
#pragma omp simd
            for (int64_t s = 0; s < S; ++s) {
                A fusions[K];
                store(out + s, rows.at(s, fusions));
            }
        }
}

template <int J, int K, typename T, typename A>
void backward_first(const T *x, const T *gy, T *gx, A *ga, A *gb, const Plan<A> &plan, int threads) {
    const int64_t C = plan.C, S = plan.S;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < plan.N; ++n)
        for (int64_t c = 0; c < C; ++c) {
            const T *sample = x + n * C * S, *gradient = gy + n * C * S;
            const Plan<A> p = plan.sample(n, J, K);
            {  // Output c: the gradient of its coefficients, summed in lanes that fit vector registers.
                const Rows<J, K, T, A> rows(sample, p, c);
                const T *g = gradient + c * S;
                A lanes[K][J + 1][LANES] = {};
                int64_t s = 0;
                for (; s + LANES <= S; s += LANES)
#pragma omp simd
                    for (int l = 0; l < LANES; ++l) {
                        A fusions[K], parts[K];
                        share<K, A>(fusions, rows.at(s + l, fusions), load(g[s + l]), parts);
                        for (int k = 0; k < K; ++k) {
                            for (int j = 0; j < J; ++j) lanes[k][j][l] += parts[k] * load(rows.x[j][s + l]);
                            lanes[k][J][l] += parts[k];
                        }
                    }
                for (; s < S; ++s) {
                    A fusions[K], parts[K];
                    share<K, A>(fusions, rows.at(s, fusions), load(g[s]), parts);
                    for (int k = 0; k < K; ++k) {
                        for (int j = 0; j < J; ++j) lanes[k][j][0] += parts[k] * load(rows.x[j][s]);
                        lanes[k][J][0] += parts[k];
                    }
                }
                for (int k = 0; k < K; ++k)
                    for (int j = 0; j <= J; ++j) {
                        A sum = 0;
                        for (int l = 0; l < LANES; ++l) sum += lanes[k][j][l];
                        if (j < J)
                            ga[((n * K + k) * J + j) * C + c] = sum;
                        else
                            gb[(n * K + k) * C + c] = sum;
                    }
            }
            // Input c: it is the j-th partner of exactly one output, for every j.
            T *to = gx + (n * C + c) * S;
            const int64_t i0 = p.inverse[c], i1 = p.inverse[(J > 1 ? 1 : 0) * C + c];
            const int64_t i2 = p.inverse[(J > 2 ? 2 : 0) * C + c];
            const Rows<J, K, T, A> r0(sample, p, i0), r1(sample, p, i1), r2(sample, p, i2);
            const T *g0 = gradient + i0 * S, *g1 = gradient + i1 * S, *g2 = gradient + i2 * S;
#pragma omp simd
            for (int64_t s = 0; s < S; ++s) {
                A fusions[K], parts[K], sum = 0;
                share<K, A>(fusions, r0.at(s, fusions), load(g0[s]), parts);
                for (int k = 0; k < K; ++k) sum += parts[k] * r0.w[k][0];
                if (J > 1) {
                    share<K, A>(fusions, r1.at(s, fusions), load(g1[s]), parts);
                    for (int k = 0; k < K; ++k) sum += parts[k] * r1.w[k][J > 1 ? 1 : 0];
                }
                if (J > 2) {
                    share<K, A>(fusions, r2.at(s, fusions), load(g2[s]), parts);
                    for (int k = 0; k < K; ++k) sum += parts[k] * r2.w[k][J > 2 ? 2 : 0];
                }
                store(to + s, sum);
            }
        }
}

// ---- Channels last: rows of C contiguous values; the positions of a segment of a sample are a task.

// The channels of a position for every shift, each row in the order of the outputs.
template <int J, typename T, typename A>
void shifted(const T *row, const int64_t *partner, int64_t C, A *to) {
    for (int64_t c = 0; c < C; ++c) to[c] = load(row[c]);
    for (int64_t i = C; i < J * C; ++i) to[i] = to[partner[i]];
}

template <int J, int K, typename A>
inline A fuse_at(const A *values, const Plan<A> &p, int64_t c, A (&fusions)[K]) {
    A own[J], w[K][J], b[K];
    for (int j = 0; j < J; ++j) own[j] = values[j * p.C + c];
    for (int k = 0; k < K; ++k) {
        b[k] = p.b ? p.b[k * p.C + c] : A(0);
        for (int j = 0; j < J; ++j) w[k][j] = p.a[(k * J + j) * p.C + c];
    }
    return fuse<J, K, A>(own, w, b, fusions);
}

template <int J, int K, typename T, typename A>
void forward_last(const T *x, T *y, const Plan<A> &plan, int64_t segment, int threads) {
    const int64_t C = plan.C, S = plan.S, segments = (S + segment - 1) / segment;
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> values(J * C), out(C);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < plan.N; ++n)
            for (int64_t part = 0; part < segments; ++part) {
                const Plan<A> p = plan.sample(n, J, K);
                for (int64_t s = part * segment; s < S && s < (part + 1) * segment; ++s) {
                    shifted<J, T, A>(x + (n * S + s) * C, p.partner, C, values.data());
#pragma omp simd
                    for (int64_t c = 0; c < C; ++c) {
                        A fusions[K];
                        out[c] = fuse_at<J, K, A>(values.data(), p, c, fusions);
                    }
                    for (int64_t c = 0; c < C; ++c) store(y + (n * S + s) * C + c, out[c]);
                }
            }
    }
}

// ga and gb are sums of the segments by themselves: (N * segments, ...).
template <int J, int K, typename T, typename A>
void backward_last(const T *x, const T *gy, T *gx, A *ga, A *gb, const Plan<A> &plan, int64_t segment, int threads) {
    const int64_t C = plan.C, S = plan.S, segments = (S + segment - 1) / segment;
#pragma omp parallel num_threads(threads)
    {
        std::vector<A> values(J * C), gradient(C), back(J * C);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < plan.N; ++n)
            for (int64_t part = 0; part < segments; ++part) {
                const Plan<A> p = plan.sample(n, J, K);
                A *own_a = ga + (n * segments + part) * K * J * C, *own_b = gb + (n * segments + part) * K * C;
                for (int64_t i = 0; i < K * J * C; ++i) own_a[i] = 0;
                for (int64_t i = 0; i < K * C; ++i) own_b[i] = 0;
                for (int64_t s = part * segment; s < S && s < (part + 1) * segment; ++s) {
                    const int64_t row = (n * S + s) * C;
                    shifted<J, T, A>(x + row, p.partner, C, values.data());
                    for (int64_t c = 0; c < C; ++c) gradient[c] = load(gy[row + c]);
#pragma omp simd
                    for (int64_t c = 0; c < C; ++c) {
                        A fusions[K], parts[K];
                        share<K, A>(fusions, fuse_at<J, K, A>(values.data(), p, c, fusions), gradient[c], parts);
                        for (int k = 0; k < K; ++k) own_b[k * C + c] += parts[k];
                        for (int j = 0; j < J; ++j) {
                            A sum = 0;
                            for (int k = 0; k < K; ++k) {
                                own_a[(k * J + j) * C + c] += parts[k] * values[j * C + c];
                                sum += parts[k] * p.a[(k * J + j) * C + c];
                            }
                            back[j * C + c] = sum;
                        }
                    }
                    for (int64_t c = 0; c < C; ++c) {
                        A sum = 0;
                        for (int j = 0; j < J; ++j) sum += back[j * C + p.inverse[j * C + c]];
                        store(gx + row + c, sum);
                    }
                }
            }
    }
}

}  // namespace

// One function per type: its code runs the instance for J and K, and returns whether there is one.
#define CASE(J_, K_, CALL) \
    if (J == J_ && K == K_) { constexpr int JJ = J_, KK = K_; CALL; return 1; }
#define CASES(CALL)                                       \
    CASE(1, 1, CALL) CASE(1, 2, CALL) CASE(1, 3, CALL)    \
    CASE(2, 1, CALL) CASE(2, 2, CALL) CASE(2, 3, CALL)    \
    CASE(3, 1, CALL) CASE(3, 2, CALL) CASE(3, 3, CALL)    \
    return 0;

// `segment` is 0 for channels first, and the positions in a segment for channels last.
#define EXPORT(NAME, T, A)                                                                                            \
    extern "C" int shift_max_forward_##NAME(const void *x, const A *a, const A *b, const int64_t *partner, void *y,   \
                                            int64_t N, int64_t C, int64_t S, int64_t J, int64_t K, int64_t segment,   \
                                            int64_t threads) {                                                        \
        const Plan<A> plan{a, b, partner, nullptr, N, C, S};                                                          \
        if (segment) {                                                                                                \
            CASES((forward_last<JJ, KK, T, A>((const T *)x, (T *)y, plan, segment, threads)))                         \
        }                                                                                                             \
        CASES((forward_first<JJ, KK, T, A>((const T *)x, (T *)y, plan, threads)))                                     \
    }                                                                                                                 \
    extern "C" int shift_max_backward_##NAME(const void *x, const A *a, const A *b, const int64_t *partner,           \
                                             const int64_t *inverse, const void *gy, void *gx, A *ga, A *gb,          \
                                             int64_t N, int64_t C, int64_t S, int64_t J, int64_t K, int64_t segment,  \
                                             int64_t threads) {                                                       \
        const Plan<A> plan{a, b, partner, inverse, N, C, S};                                                          \
        if (segment) {                                                                                                \
            CASES((backward_last<JJ, KK, T, A>((const T *)x, (const T *)gy, (T *)gx, ga, gb, plan, segment, threads))) \
        }                                                                                                             \
        CASES((backward_first<JJ, KK, T, A>((const T *)x, (const T *)gy, (T *)gx, ga, gb, plan, threads)))            \
    }

EXPORT(float32, float, float)
EXPORT(float64, double, double)
EXPORT(bfloat16, bfloat16, float)
