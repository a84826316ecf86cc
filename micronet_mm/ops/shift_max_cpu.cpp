// Dynamic Shift-Max for CPUs: y = max_k sum_j a[k][j] * x[partner_j], forward and backward, one pass over memory each.
//
// Compiled on the user's machine by compiled.py and called through ctypes, so it includes nothing of PyTorch.
// Rows of S = H * W values are contiguous; every (sample, channel) row is one task, and no task writes what another one
// does, so results do not depend on the number of threads.
#include <cstdint>
#include <cstring>

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
inline A fuse(const A (&values)[J], const A (&w)[K][J], A (&fusions)[K]) {
    A largest = 0;
    for (int k = 0; k < K; ++k) {
        A sum = w[k][0] * values[0];
        for (int j = 1; j < J; ++j) sum += w[k][j] * values[j];
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

template <int J, int K, typename T, typename A>
struct Rows {
    const T *x[J];
    A w[K][J];

    // Of output channel c in a sample: the rows that it fuses and its coefficients.
    Rows(const T *sample, const A *coefficients, const int64_t *partner, int64_t c, int64_t C, int64_t S) {
        for (int j = 0; j < J; ++j) x[j] = sample + partner[j * C + c] * S;
        for (int k = 0; k < K; ++k)
            for (int j = 0; j < J; ++j) w[k][j] = coefficients[(k * J + j) * C + c];
    }

    A at(int64_t s, A (&fusions)[K]) const {
        A values[J];
        for (int j = 0; j < J; ++j) values[j] = load(x[j][s]);
        return fuse<J, K, A>(values, w, fusions);
    }
};

template <int J, int K, typename T, typename A>
void forward(const T *x, const A *a, const int64_t *partner, T *y, int64_t N, int64_t C, int64_t S, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n)
        for (int64_t c = 0; c < C; ++c) {
            const Rows<J, K, T, A> rows(x + n * C * S, a + n * K * J * C, partner, c, C, S);
            T *out = y + (n * C + c) * S;
#pragma omp simd
            for (int64_t s = 0; s < S; ++s) {
                A fusions[K];
                store(out + s, rows.at(s, fusions));
            }
        }
}

template <int J, int K, typename T, typename A>
void backward(const T *x, const A *a, const int64_t *partner, const int64_t *inverse, const T *gy, T *gx, A *ga,
              int64_t N, int64_t C, int64_t S, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n)
        for (int64_t c = 0; c < C; ++c) {
            const T *sample = x + n * C * S;
            const A *coefficients = a + n * K * J * C;
            {  // Output c: the gradient of its coefficients, summed in lanes that fit vector registers.
                const Rows<J, K, T, A> rows(sample, coefficients, partner, c, C, S);
                const T *g = gy + (n * C + c) * S;
                A lanes[K][J][LANES] = {};
                int64_t s = 0;
                for (; s + LANES <= S; s += LANES)
#pragma omp simd
                    for (int l = 0; l < LANES; ++l) {
                        A fusions[K], parts[K];
                        A largest = rows.at(s + l, fusions);
                        share<K, A>(fusions, largest, load(g[s + l]), parts);
                        for (int k = 0; k < K; ++k)
                            for (int j = 0; j < J; ++j) lanes[k][j][l] += parts[k] * load(rows.x[j][s + l]);
                    }
                for (; s < S; ++s) {
                    A fusions[K], parts[K];
                    A largest = rows.at(s, fusions);
                    share<K, A>(fusions, largest, load(g[s]), parts);
                    for (int k = 0; k < K; ++k)
                        for (int j = 0; j < J; ++j) lanes[k][j][0] += parts[k] * load(rows.x[j][s]);
                }
                for (int k = 0; k < K; ++k)
                    for (int j = 0; j < J; ++j) {
                        A sum = 0;
                        for (int l = 0; l < LANES; ++l) sum += lanes[k][j][l];
                        ga[((n * K + k) * J + j) * C + c] = sum;
                    }
            }
            // Input c: it is the j-th partner of exactly one output, for every j.
            T *to = gx + (n * C + c) * S;
            const Rows<J, K, T, A> r0(sample, coefficients, partner, inverse[c], C, S);
            const Rows<J, K, T, A> r1(sample, coefficients, partner, inverse[(J > 1 ? 1 : 0) * C + c], C, S);
            const Rows<J, K, T, A> r2(sample, coefficients, partner, inverse[(J > 2 ? 2 : 0) * C + c], C, S);
            const T *g0 = gy + (n * C + inverse[c]) * S;
            const T *g1 = gy + (n * C + inverse[(J > 1 ? 1 : 0) * C + c]) * S;
            const T *g2 = gy + (n * C + inverse[(J > 2 ? 2 : 0) * C + c]) * S;
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

}  // namespace

// One function per type: its code runs the instance for J and K, and returns whether there is one.
#define CASE(J_, K_, CALL) \
    if (J == J_ && K == K_) { constexpr int JJ = J_, KK = K_; CALL; return 1; }
#define CASES(CALL)                                       \
    CASE(1, 1, CALL) CASE(1, 2, CALL) CASE(1, 3, CALL)    \
    CASE(2, 1, CALL) CASE(2, 2, CALL) CASE(2, 3, CALL)    \
    CASE(3, 1, CALL) CASE(3, 2, CALL) CASE(3, 3, CALL)    \
    return 0;

#define EXPORT(NAME, T, A)                                                                                          \
    extern "C" int shift_max_forward_##NAME(const void *x, const void *a, const int64_t *partner, void *y,          \
                                            int64_t N, int64_t C, int64_t S, int64_t J, int64_t K, int64_t threads) { \
        CASES((forward<JJ, KK, T, A>((const T *)x, (const A *)a, partner, (T *)y, N, C, S, threads)))               \
    }                                                                                                               \
    extern "C" int shift_max_backward_##NAME(const void *x, const void *a, const int64_t *partner,                  \
                                             const int64_t *inverse, const void *gy, void *gx, void *ga, int64_t N, \
                                             int64_t C, int64_t S, int64_t J, int64_t K, int64_t threads) {             \
        CASES((backward<JJ, KK, T, A>((const T *)x, (const A *)a, partner, inverse, (const T *)gy, (T *)gx,         \
                                      (A *)ga, N, C, S, threads)))                                                  \
    }

EXPORT(float32, float, float)
EXPORT(float64, double, double)
EXPORT(bfloat16, bfloat16, float)
