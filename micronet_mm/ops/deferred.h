// Shared by the C++ operators: tensors with pending normalization, activation and shuffle, and gradients of outputs
// with moments. Both are read row by row.
//
// compiled.py compiles the operators on the user's machine, and Python calls them through ctypes. So they include no
// PyTorch headers. Tensors are contiguous (N, C, S) with S positions. Tasks never write the same values, and sums over
// tasks are computed afterwards in a fixed order. So results do not depend on the number of threads.
#pragma once
#include <cstdint>

// Value channel c of a sample is raw[r] * scale[r] + shift[r], clamped to [lower, upper], with the raw channel
// r = order[c]. A NaN bound means no bound, because no value is below or above NaN.
template <typename T>
struct Deferred {
    const T *raw, *scale, *shift;  // null scale and shift mean 1 and 0
    const int64_t *order;          // null means the identity
    T lower, upper;
    int64_t C, S;

    int64_t channel(int64_t c) const { return order ? order[c] : c; }
    T factor(int64_t r) const { return scale ? scale[r] : T(1); }
    T offset(int64_t r) const { return scale ? shift[r] : T(0); }
    const T *row(int64_t n, int64_t r) const { return raw + (n * C + r) * S; }

    // Both comparisons keep NaN.
    static T clamped(T value, T lower, T upper) {
        value = value < lower ? lower : value;
        return value > upper ? upper : value;
    }

    // Values of raw channel r at `count` positions, starting at `first`.
    void values(int64_t n, int64_t r, int64_t first, int64_t count, T *to) const {
        const T *from = row(n, r) + first, a = factor(r), b = offset(r), low = lower, high = upper;
#pragma omp simd
        for (int64_t s = 0; s < count; ++s) to[s] = clamped(from[s] * a + b, low, high);
    }

    // Compute the gradient of the raw values from the gradient of these values; both may share memory. Add to the
    // gradients of scale and shift. Gradients pass through NaN, as in PyTorch. (Its relu6 does so for values that do
    // not fill a vector.)
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

// The gradient of an output y if its moments were used too: g + a[n, c] + b[c] * y.
template <typename T>
struct OutputGradient {
    const T *g, *y, *a, *b;  // null a and b add nothing

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

// Mean of a row, and the sum of squares around the mean.
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
