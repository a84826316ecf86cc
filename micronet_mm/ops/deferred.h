// What the C++ operators share: tensors whose normalization, activation and shuffle are still to come, gradients of
// tensors whose moments were taken, and both of these row by row.
//
// The operators are compiled on the user's machine by compiled.py and called through ctypes, so nothing of PyTorch is
// included. Tensors are contiguous (N, C, S), S positions. No task writes what another one does, and sums over tasks are
// made in a fixed order behind them, so results do not depend on the number of threads.
#pragma once
#include <cstdint>

// Value channel c of a sample is raw[r] * scale[r] + shift[r], clamped to [lower, upper], with the raw channel
// r = order[c]. A bound that is NaN is none, as nothing is below or above it.
template <typename T>
struct Deferred {
    const T *raw, *scale, *shift;  // scale and shift may be null: 1 and 0
    const int64_t *order;          // may be null: the identity
    T lower, upper;
    int64_t C, S;

    int64_t channel(int64_t c) const { return order ? order[c] : c; }
    T factor(int64_t r) const { return scale ? scale[r] : T(1); }
    T offset(int64_t r) const { return scale ? shift[r] : T(0); }
    const T *row(int64_t n, int64_t r) const { return raw + (n * C + r) * S; }

    // NaN stays NaN in both comparisons.
    static T clamped(T value, T lower, T upper) {
        value = value < lower ? lower : value;
        return value > upper ? upper : value;
    }

    // The values of raw channel r at `count` positions from `first` on.
    void values(int64_t n, int64_t r, int64_t first, int64_t count, T *to) const {
        const T *from = row(n, r) + first, a = factor(r), b = offset(r), low = lower, high = upper;
#pragma omp simd
        for (int64_t s = 0; s < count; ++s) to[s] = clamped(from[s] * a + b, low, high);
    }

    // From the gradient of these values to that of the raw ones, which may take its place, and what it adds to those of
    // scale and shift. NaN passes gradients on, as in PyTorch (whose relu6 does so where no vector is filled).
    void back(int64_t n, int64_t r, int64_t first, int64_t count, const T *g, T *to, T &g_scale, T &g_shift) const {
        const T *from = row(n, r) + first, a = factor(r), b = offset(r), low = lower, high = upper;
        T sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
        for (int64_t s = 0; s < count; ++s) {
            const T value = from[s] * a + b;
            const T passed = (value <= low) | (value >= high) ? T(0) : g[s];
            to[s] = passed * a;
            sum += passed;
            product += passed * from[s];
        }
        g_scale += product;
        g_shift += sum;
    }
};

// The gradient of an output y whose moments were used too: g + a[n, c] + b[c] * y.
template <typename T>
struct OutputGradient {
    const T *g, *y, *a, *b;  // a and b may be null: nothing is added

    void values(int64_t n, int64_t c, int64_t C, int64_t S, int64_t first, int64_t count, T *to) const {
        const int64_t start = (n * C + c) * S + first;
        const T *from = g + start, *out = y + start;
        if (!a) {
            for (int64_t s = 0; s < count; ++s) to[s] = from[s];
            return;
        }
        const T constant = a[n * C + c], slope = b[c];
#pragma omp simd
        for (int64_t s = 0; s < count; ++s) to[s] = from[s] + constant + slope * out[s];
    }
};

// Mean, and sum of squares around it, of a row.
template <typename T>
void moments(const T *y, int64_t count, T *mean, T *squares) {
    T sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t s = 0; s < count; ++s) sum += y[s];
    const T middle = sum / T(count);
#pragma omp simd reduction(+ : square)
    for (int64_t s = 0; s < count; ++s) square += (y[s] - middle) * (y[s] - middle);
    *mean = middle;
    *squares = square;
}
