// Depthwise convolution along one axis for CPUs, forward and backward: what micro-factorized depthwise convolutions are
// made of. Every input channel has M filters of k taps (k odd, padding k / 2).
//
// A plane is copied into a buffer with zeros before and after, along the axis of the filter; then every tap is one shift
// of the whole plane, so the loops run over long contiguous rows whatever the plane's shape. A stride is served by
// computing all positions and taking every second.
#include <cstdint>
#include <vector>

namespace {

// The padded plane of H x W values: where things are.
struct Plane {
    int64_t H, W, k, stride, outH, outW;
    bool vertical;
    int64_t pitch, size, shift, first, positions;

    Plane(int64_t H, int64_t W, int64_t k, int64_t stride, bool vertical)
        : H(H), W(W), k(k), stride(stride), outH(vertical ? (H - 1) / stride + 1 : H),
          outW(vertical ? W : (W - 1) / stride + 1), vertical(vertical), pitch(vertical ? W : W + k - 1),
          size(vertical ? (H + k - 1) * W : H * (W + k - 1)), shift(vertical ? W : 1), first(k / 2 * shift),
          positions(size - (k - 1) * shift) {}

    // Where the window of an output begins.
    int64_t at(int64_t h, int64_t w) const { return (vertical ? h * stride : h) * pitch + (vertical ? w : w * stride); }
};

template <typename T>
void pad(const Plane &p, const T *x, T *padded) {
    for (int64_t h = 0; h < p.H; ++h)
        for (int64_t w = 0; w < p.W; ++w) padded[p.first + h * p.pitch + w] = x[h * p.W + w];
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

template <typename T>
T dot(const T *a, const T *b, int64_t count) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
    return sum;
}

template <int k, typename T>
void forward(const T *x, const T *w, T *y, int64_t N, int64_t C, int64_t M, const Plane &p, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> padded(p.size, T(0)), all(p.positions);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < N; ++n)
            for (int64_t c = 0; c < C; ++c) {
                pad(p, x + (n * C + c) * p.H * p.W, padded.data());
                for (int64_t m = 0; m < M; ++m) {
                    const int64_t o = c * M + m;
                    T *out = y + (n * C * M + o) * p.outH * p.outW;
                    if (p.vertical && p.stride == 1) {
                        correlate<k, false>(padded.data(), w + o * k, p.shift, p.positions, out);
                        continue;
                    }
                    correlate<k, false>(padded.data(), w + o * k, p.shift, p.positions, all.data());
                    for (int64_t h = 0; h < p.outH; ++h)
                        for (int64_t v = 0; v < p.outW; ++v) out[h * p.outW + v] = all[p.at(h, v)];
                }
            }
    }
}

template <int k, typename T>
void backward(const T *x, const T *w, const T *gy, T *gx, T *gw, int64_t N, int64_t C, int64_t M, const Plane &p,
              int threads) {
    const int64_t margin = (k - 1) * p.shift;
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> padded(p.size, T(0)), inner(p.size), spread(p.positions + 2 * margin, T(0)), reversed(k);
#pragma omp for schedule(static)
        for (int64_t c = 0; c < C; ++c) {
            for (int64_t i = 0; i < M * k; ++i) gw[c * M * k + i] = 0;
            for (int64_t n = 0; n < N; ++n) {
                pad(p, x + (n * C + c) * p.H * p.W, padded.data());
                for (int64_t m = 0; m < M; ++m) {
                    const int64_t o = c * M + m;
                    const T *g = gy + (n * C * M + o) * p.outH * p.outW;
                    for (int64_t h = 0; h < p.outH; ++h)
                        for (int64_t v = 0; v < p.outW; ++v) spread[margin + p.at(h, v)] = g[h * p.outW + v];
                    for (int t = 0; t < k; ++t) {
                        gw[o * k + t] += dot(spread.data() + margin, padded.data() + t * p.shift, p.positions);
                        reversed[t] = w[o * k + k - 1 - t];
                    }
                    if (m == 0)
                        correlate<k, false>(spread.data(), reversed.data(), p.shift, p.size, inner.data());
                    else
                        correlate<k, true>(spread.data(), reversed.data(), p.shift, p.size, inner.data());
                }
                T *to = gx + (n * C + c) * p.H * p.W;
                for (int64_t h = 0; h < p.H; ++h)
                    for (int64_t v = 0; v < p.W; ++v) to[h * p.W + v] = inner[p.first + h * p.pitch + v];
            }
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                              \
    extern "C" int line_conv_forward_##NAME(const T *x, const T *w, T *y, int64_t N, int64_t C, int64_t M, int64_t H, \
                                            int64_t W, int64_t k, int64_t stride, int64_t vertical,                  \
                                            int64_t threads) {                                                       \
        const Plane p(H, W, k, stride, vertical);                                                                    \
        if (k == 3) forward<3>(x, w, y, N, C, M, p, threads);                                                        \
        else if (k == 5) forward<5>(x, w, y, N, C, M, p, threads);                                                   \
        else if (k == 7) forward<7>(x, w, y, N, C, M, p, threads);                                                   \
        else return 0;                                                                                               \
        return 1;                                                                                                    \
    }                                                                                                                \
    extern "C" int line_conv_backward_##NAME(const T *x, const T *w, const T *gy, T *gx, T *gw, int64_t N, int64_t C, \
                                             int64_t M, int64_t H, int64_t W, int64_t k, int64_t stride,             \
                                             int64_t vertical, int64_t threads) {                                    \
        const Plane p(H, W, k, stride, vertical);                                                                    \
        if (k == 3) backward<3>(x, w, gy, gx, gw, N, C, M, p, threads);                                              \
        else if (k == 5) backward<5>(x, w, gy, gx, gw, N, C, M, p, threads);                                         \
        else if (k == 7) backward<7>(x, w, gy, gx, gw, N, C, M, p, threads);                                         \
        else return 0;                                                                                               \
        return 1;                                                                                                    \
    }

EXPORT(float32, float)
EXPORT(float64, double)
