// Materialize a deferred tensor: normalize, activate, shuffle, and add a shortcut. Also join the moments of the parts
// of a tensor.
#include <vector>

#include "deferred.h"

namespace {

template <typename T>
void forward(const Deferred<T> &x, const T *shortcut, T *y, int64_t N, int threads) {
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
    for (int64_t n = 0; n < N; ++n)
        for (int64_t c = 0; c < x.C; ++c) {
            const int64_t at = (n * x.C + c) * x.S;
            x.values(n, x.channel(c), 0, x.S, y + at);
            if (shortcut)
                for (int64_t s = 0; s < x.S; ++s) y[at + s] += shortcut[at + s];
        }
}

// gx, or the pair g_scale and g_shift, is null if it is not needed.
template <typename T>
void backward(const Deferred<T> &x, const T *g, T *gx, T *g_scale, T *g_shift, int64_t N, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> unwanted(gx ? 0 : x.S);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < N; ++n)
            for (int64_t c = 0; c < x.C; ++c) {
                const int64_t r = x.channel(c), row = n * x.C + r;
                T scale_sum = 0, shift_sum = 0;
                x.back(n, r, 0, x.S, g + (n * x.C + c) * x.S, gx ? gx + row * x.S : unwanted.data(), scale_sum,
                       shift_sum);
                if (g_scale) {
                    g_scale[row] = scale_sum;
                    g_shift[row] = shift_sum;
                }
            }
    }
}

// Parts of a row have `step` positions, except the last part. mean and squares are (N, P, C), with P parts per row.
template <typename T>
void join(const T *mean, const T *squares, T *row_mean, T *variance, int64_t N, int64_t P, int64_t C, int64_t S,
          int64_t step) {
    for (int64_t c = 0; c < C; ++c) {
        double total = 0;
        for (int64_t n = 0; n < N; ++n) {
            double row = 0;
            for (int64_t p = 0; p < P; ++p) {
                const int64_t count = p + 1 < P ? step : S - p * step;
                row += double(mean[(n * P + p) * C + c]) * count;
            }
            row_mean[n * C + c] = T(row / S);
            total += row;
        }
        const double middle = total / (double(N) * S);
        double sum = 0;
        for (int64_t n = 0; n < N; ++n)
            for (int64_t p = 0; p < P; ++p) {
                const int64_t at = (n * P + p) * C + c, count = p + 1 < P ? step : S - p * step;
                sum += double(squares[at]) + count * (mean[at] - middle) * (mean[at] - middle);
            }
        variance[c] = T(sum / (double(N) * S));
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                               \
    extern "C" void settle_forward_##NAME(const T *raw, const T *scale, const T *shift, const int64_t *order,         \
                                          const T *shortcut, T *y, double lower, double upper, int64_t N, int64_t C,  \
                                          int64_t S, int64_t threads) {                                               \
        forward(Deferred<T>{raw, scale, shift, order, T(lower), T(upper), C, S}, shortcut, y, N, threads);            \
    }                                                                                                                 \
    extern "C" void settle_backward_##NAME(const T *raw, const T *scale, const T *shift, const int64_t *order,        \
                                           const T *g, T *gx, T *g_scale, T *g_shift, double lower, double upper,     \
                                           int64_t N, int64_t C, int64_t S, int64_t threads) {                        \
        backward(Deferred<T>{raw, scale, shift, order, T(lower), T(upper), C, S}, g, gx, g_scale, g_shift, N,         \
                 threads);                                                                                            \
    }                                                                                                                 \
    extern "C" void join_moments_##NAME(const T *mean, const T *squares, T *row_mean, T *variance, int64_t N,         \
                                        int64_t P, int64_t C, int64_t S, int64_t step, int64_t) {                     \
        join(mean, squares, row_mean, variance, N, P, C, S, step);                                                    \
    }

EXPORT(float32, float)
EXPORT(float64, double)
