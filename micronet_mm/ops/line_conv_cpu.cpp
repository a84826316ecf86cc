// Depthwise convolution along one axis for CPUs, forward and backward: one half of a micro-factorized depthwise
// convolution. It reads a deferred input and computes the moments of its output. Every input channel has M filters of k
// taps (k odd, padding k / 2).
//
// A plane is normalized and copied into a buffer with zeros at both ends of the filter axis. Then every tap is a shift
// of the whole plane, so the loops run over long contiguous rows for any plane shape. With a stride, all positions are
// computed and only the strided positions are kept. A plane of a sample is a task.
#include <type_traits>
#include <utility>
#include <vector>

#include "deferred.h"
#include "vectors.h"

namespace {

// Layout of the padded plane of H x W values.
struct Plane {
    int64_t H, W, k, stride, outH, outW;
    bool vertical;
    int64_t pitch, size, shift, first, positions;

    Plane(int64_t H, int64_t W, int64_t outH, int64_t outW, int64_t k, int64_t stride, bool vertical)
        : H(H), W(W), k(k), stride(stride), outH(outH), outW(outW), vertical(vertical), pitch(vertical ? W : W + k - 1),
          size(vertical ? (H + k - 1) * W : H * (W + k - 1)), shift(vertical ? W : 1), first(k / 2 * shift),
          positions(size - (k - 1) * shift) {}

    // Begin of the window of an output.
    int64_t at(int64_t h, int64_t w) const { return (vertical ? h * stride : h) * pitch + (vertical ? w : w * stride); }
};

template <typename T>
void pad(const Plane &p, const Deferred<T> &x, int64_t n, int64_t r, T *padded) {
    if (p.vertical) {
        x.values(n, r, 0, p.H * p.W, padded + p.first);
        return;
    }
    for (int64_t h = 0; h < p.H; ++h) x.values(n, r, h * p.W, p.W, padded + p.first + h * p.pitch);
}

// to[i] (+)= sum_t w[t] * from[i + t * step]
template <int k, bool add, typename T>
void correlate(const T *from, const T *w, int64_t step, int64_t count, T *to) {
    T taps[k];
    for (int t = 0; t < k; ++t) taps[t] = w[t];
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
        T sum = add ? to[i] : T(0);
        for (int t = 0; t < k; ++t) sum += taps[t] * from[i + t * step];
        to[i] = sum;
    }
}

// to[t] += sum_i a[i] * from[i + t * step]
template <int k, typename T>
void correlate_sums(const T *a, const T *from, int64_t step, int64_t count, T *to) {
    typename Vector<T>::type sums[k] = {};
    int64_t i = 0;
    for (; i + LANES<T> <= count; i += LANES<T>) {
        const typename Vector<T>::type value = vector_at(a + i);
        for (int t = 0; t < k; ++t) sums[t] += value * vector_at(from + i + t * step);
    }
    for (int t = 0; t < k; ++t) to[t] += sum_of<T>(sums[t]);
    for (; i < count; ++i)
        for (int t = 0; t < k; ++t) to[t] += a[i] * from[i + t * step];
}

template <int k, typename T>
void forward(const Deferred<T> &x, const T *w, T *y, T *mean, T *squares, int64_t N, int64_t M, const Plane &p,
             int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> padded(p.size, T(0)), all(p.positions);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < N; ++n)
            for (int64_t c = 0; c < x.C; ++c) {
                pad(p, x, n, x.channel(c), padded.data());
                for (int64_t m = 0; m < M; ++m) {
                    const int64_t o = c * M + m, to = n * x.C * M + o;
                    T *out = y + to * p.outH * p.outW;
                    if (p.vertical && p.stride == 1)
                        correlate<k, false>(padded.data(), w + o * k, p.shift, p.positions, out);
                    else {
                        correlate<k, false>(padded.data(), w + o * k, p.shift, p.positions, all.data());
                        for (int64_t h = 0; h < p.outH; ++h)
                            for (int64_t v = 0; v < p.outW; ++v) out[h * p.outW + v] = all[p.at(h, v)];
                    }
                    moments(out, p.outH * p.outW, mean + to, squares + to);
                }
            }
    }
}

// g_w, g_scale and g_shift are separate sums for each sample: (N, ...). Each of g_w, gx, and the pair g_scale and
// g_shift is null if it is not needed.
template <int k, typename T>
void backward(const Deferred<T> &x, const T *w, const OutputGradient<T> &g, T *gx, T *g_w, T *g_scale, T *g_shift,
              int64_t N, int64_t M, const Plane &p, int threads) {
    const int64_t margin = (k - 1) * p.shift;
    const bool of_input = gx || g_scale;
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> padded(p.size, T(0)), inner(p.size), errors(p.outH * p.outW);
        std::vector<T> spread(p.positions + 2 * margin, T(0)), reversed(k);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < N; ++n)
            for (int64_t c = 0; c < x.C; ++c) {
                const int64_t r = x.channel(c);
                if (g_w) pad(p, x, n, r, padded.data());
                for (int64_t m = 0; m < M; ++m) {
                    const int64_t o = c * M + m;
                    g.values(n, o, x.C * M, p.outH * p.outW, 0, p.outH * p.outW, errors.data());
                    for (int64_t h = 0; h < p.outH; ++h)
                        for (int64_t v = 0; v < p.outW; ++v) spread[margin + p.at(h, v)] = errors[h * p.outW + v];
                    if (g_w) {
                        T *own = g_w + (n * x.C * M + o) * k;
                        for (int t = 0; t < k; ++t) own[t] = 0;
                        correlate_sums<k>(spread.data() + margin, padded.data(), p.shift, p.positions, own);
                    }
                    if (!of_input) continue;
                    for (int t = 0; t < k; ++t) reversed[t] = w[o * k + k - 1 - t];
                    if (m == 0)
                        correlate<k, false>(spread.data(), reversed.data(), p.shift, p.size, inner.data());
                    else
                        correlate<k, true>(spread.data(), reversed.data(), p.shift, p.size, inner.data());
                }
                if (!of_input) continue;
                T scale_sum = 0, shift_sum = 0;
                const int64_t rows = p.vertical ? 1 : p.H, length = x.S / rows;
                for (int64_t h = 0; h < rows; ++h) {
                    T *from = inner.data() + p.first + h * p.pitch;
                    x.back(n, r, h * length, length, from, gx ? gx + (n * x.C + r) * x.S + h * length : from, scale_sum,
                           shift_sum);
                }
                if (g_scale) {
                    g_scale[n * x.C + r] = scale_sum;
                    g_shift[n * x.C + r] = shift_sum;
                }
            }
    }
}

// The supported filter lengths.
typedef std::integer_sequence<int, 3, 5, 7> Kernels;

// Run the instance for k. Return false if k is not supported.
template <typename F, int... sizes>
bool choose(int64_t k, F run, std::integer_sequence<int, sizes...>) {
    return ((k == sizes && (run(std::integral_constant<int, sizes>{}), true)) || ...);
}

}  // namespace

extern "C" bool line_conv_has(int64_t k) {
    return choose(k, [](auto) {}, Kernels{});
}

#define EXPORT(NAME, T)                                                                                               \
    extern "C" void line_conv_forward_##NAME(const T *raw, const T *scale, const T *shift, const int64_t *order,      \
                                             const T *w, T *y, T *mean, T *squares, double lower, double upper,       \
                                             int64_t N, int64_t C, int64_t M, int64_t H, int64_t W, int64_t outH,     \
                                             int64_t outW, int64_t k, int64_t stride, int64_t vertical,               \
                                             int64_t threads) {                                                       \
        const Plane p(H, W, outH, outW, k, stride, vertical);                                                         \
        const Deferred<T> x{raw, scale, shift, order, T(lower), T(upper), C, H * W};                                  \
        choose(k, [&](auto size) { forward<size>(x, w, y, mean, squares, N, M, p, threads); }, Kernels{});            \
    }                                                                                                                 \
    extern "C" void line_conv_backward_##NAME(                                                                        \
        const T *raw, const T *scale, const T *shift, const int64_t *order, const T *w, const T *g, const T *y,       \
        const T *a, const T *b, T *gx, T *g_w, T *g_scale, T *g_shift, double lower, double upper, int64_t N,         \
        int64_t C, int64_t M, int64_t H, int64_t W, int64_t outH, int64_t outW, int64_t k, int64_t stride,            \
        int64_t vertical, int64_t threads) {                                                                          \
        const Plane p(H, W, outH, outW, k, stride, vertical);                                                         \
        const Deferred<T> x{raw, scale, shift, order, T(lower), T(upper), C, H * W};                                  \
        const OutputGradient<T> errors{g, y, a, b};                                                                   \
        choose(k, [&](auto size) { backward<size>(x, w, errors, gx, g_w, g_scale, g_shift, N, M, p, threads); },      \
               Kernels{});                                                                                            \
    }

EXPORT(float32, float)
EXPORT(float64, double)
