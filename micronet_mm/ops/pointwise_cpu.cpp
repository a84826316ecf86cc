// 1 x 1 group convolution for CPUs, forward and backward. It reads a deferred input and computes the moments of its
// output.
//
// Positions are processed in pieces that fit the cache. The inputs of a group are normalized and loaded into a tile.
// Small matrix products in registers compute rows of the output. Long planes are split into segments, and each segment
// is a task.
#include <vector>

#include "deferred.h"
#include "vectors.h"

namespace {

constexpr int ROWS = 4;                            // rows of a matrix product in registers
constexpr int WIDTH = VECTOR_BYTES == 64 ? 4 : 2;  // columns of a matrix product, in vectors

template <typename T>
constexpr int64_t TILE = 2 * WIDTH * LANES<T>;  // positions in a tile

// out[R rows][W vectors] = a (R x depth) * x (depth x TILE)
template <int R, int W, typename T>
inline void product_block(const T *a, int64_t depth, const T *x, T *out) {
    typename Vector<T>::type sums[R][W] = {};
    for (int64_t i = 0; i < depth; ++i) {
        typename Vector<T>::type columns[W];
#pragma GCC unroll 4
        for (int v = 0; v < W; ++v) columns[v] = vector_at(x + i * TILE<T> + v * LANES<T>);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < W; ++v) sums[r][v] += a[r * depth + i] * columns[v];
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < W; ++v) store(out + r * TILE<T> + v * LANES<T>, sums[r][v]);
}

template <int R, typename T>
inline void product_rows(const T *a, int64_t depth, const T *x, int64_t vectors, T *out) {
    int64_t v = 0;
    for (; v + WIDTH <= vectors; v += WIDTH)
        product_block<R, WIDTH, T>(a, depth, x + v * LANES<T>, out + v * LANES<T>);
    for (; v < vectors; ++v) product_block<R, 1, T>(a, depth, x + v * LANES<T>, out + v * LANES<T>);
}

// out (rows x TILE) = a (rows x depth) * x (depth x TILE), for the first `vectors` vectors of columns
template <typename T>
void product(const T *a, int64_t rows, int64_t depth, const T *x, int64_t vectors, T *out) {
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) product_rows<ROWS>(a + r * depth, depth, x, vectors, out + r * TILE<T>);
    for (; r < rows; ++r) product_rows<1>(a + r * depth, depth, x, vectors, out + r * TILE<T>);
}

template <int R, int Q, typename T>
inline void outer_block(const T *e, const T *x, int64_t vectors, int64_t depth, typename Vector<T>::type *sums) {
    typename Vector<T>::type block[R][Q] = {};
    for (int64_t v = 0; v < vectors; ++v) {
        typename Vector<T>::type columns[Q];
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) columns[q] = vector_at(x + q * TILE<T> + v * LANES<T>);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const typename Vector<T>::type row = vector_at(e + r * TILE<T> + v * LANES<T>);
#pragma GCC unroll 4
            for (int q = 0; q < Q; ++q) block[r][q] += row * columns[q];
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int q = 0; q < Q; ++q) sums[r * depth + q] += block[r][q];
}

template <int R, typename T>
inline void outer_rows(const T *e, const T *x, int64_t depth, int64_t vectors, typename Vector<T>::type *sums) {
    int64_t i = 0;
    for (; i + ROWS <= depth; i += ROWS) outer_block<R, ROWS, T>(e, x + i * TILE<T>, vectors, depth, sums + i);
    for (; i < depth; ++i) outer_block<R, 1, T>(e, x + i * TILE<T>, vectors, depth, sums + i);
}

// sums (rows x depth vectors) += e (rows x TILE) * x^T (TILE x depth), lane by lane
template <typename T>
void outer(const T *e, int64_t rows, const T *x, int64_t depth, int64_t vectors, typename Vector<T>::type *sums) {
    int64_t r = 0;
    for (; r + ROWS <= rows; r += ROWS) outer_rows<ROWS, T>(e + r * TILE<T>, x, depth, vectors, sums + r * depth);
    for (; r < rows; ++r) outer_rows<1, T>(e + r * TILE<T>, x, depth, vectors, sums + r * depth);
}

struct Shape {
    int64_t N, I, O, G, S;      // samples, input and output channels of a group, groups, positions
    int64_t segments, segment;  // number of segments, positions per segment
    int64_t tasks() const { return N * segments * G; }
};

// Sample, segment, group and positions of task t.
struct Task {
    int64_t n, segment, g, first, last;
    Task(const Shape &p, int64_t t) : n(t / p.G / p.segments), segment(t / p.G % p.segments), g(t % p.G) {
        first = segment * p.segment;
        last = first + p.segment < p.S ? first + p.segment : p.S;
    }
};

template <typename T>
int64_t fill(const Deferred<T> &x, const Task &t, int64_t I, int64_t first, int64_t count, T *tile) {
    const int64_t vectors = (count + LANES<T> - 1) / LANES<T>;
    for (int64_t i = 0; i < I; ++i) {
        x.values(t.n, x.channel(t.g * I + i), first, count, tile + i * TILE<T>);
        for (int64_t s = count; s < vectors * LANES<T>; ++s) tile[i * TILE<T> + s] = 0;
    }
    return vectors;
}

template <typename T>
void forward(const Deferred<T> &x, const T *w, T *y, T *mean, T *squares, const Shape &p, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> inputs(p.I * TILE<T>), outputs(p.O * TILE<T>);
#pragma omp for schedule(static)
        for (int64_t index = 0; index < p.tasks(); ++index) {
            const Task t(p, index);
            T *out = y + (t.n * p.G + t.g) * p.O * p.S;
            for (int64_t first = t.first; first < t.last; first += TILE<T>) {
                const int64_t count = t.last - first < TILE<T> ? t.last - first : TILE<T>;
                const int64_t vectors = fill(x, t, p.I, first, count, inputs.data());
                product(w + t.g * p.O * p.I, p.O, p.I, inputs.data(), vectors, outputs.data());
                for (int64_t o = 0; o < p.O; ++o)
                    for (int64_t s = 0; s < count; ++s) out[o * p.S + first + s] = outputs[o * TILE<T> + s];
            }
            const int64_t to = (t.n * p.segments + t.segment) * p.G * p.O + t.g * p.O;
            for (int64_t o = 0; o < p.O; ++o)
                moments(out + o * p.S + t.first, t.last - t.first, mean + to + o, squares + to + o);
        }
    }
}

// g_w, g_scale and g_shift are separate sums for each segment: (N * segments, ...). Each of g_w, gx, and the pair
// g_scale and g_shift is null if it is not needed.
template <typename T>
void backward(const Deferred<T> &x, const T *w, const OutputGradient<T> &g, T *gx, T *g_w, T *g_scale, T *g_shift,
              const Shape &p, int threads) {
    const int64_t weights = p.O * p.I;
    const bool of_input = gx || g_scale;
#pragma omp parallel num_threads(threads)
    {
        std::vector<T> inputs(p.I * TILE<T>), errors(p.O * TILE<T>), back(p.I * TILE<T>), turned(weights);
        std::vector<T> scale_sums(p.I), shift_sums(p.I), lanes((weights + 1) * LANES<T>);
        // vector_size types need aligned memory, but std::vector does not guarantee the alignment.
        auto *sums = (typename Vector<T>::type *)(((uintptr_t)lanes.data() + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES);
#pragma omp for schedule(static)
        for (int64_t index = 0; index < p.tasks(); ++index) {
            const Task t(p, index);
            const T *own = w + t.g * weights;
            for (int64_t o = 0; o < p.O; ++o)
                for (int64_t i = 0; i < p.I; ++i) turned[i * p.O + o] = own[o * p.I + i];
            for (int64_t i = 0; i < weights; ++i) sums[i] = typename Vector<T>::type{};
            for (int64_t i = 0; i < p.I; ++i) scale_sums[i] = shift_sums[i] = 0;
            for (int64_t first = t.first; first < t.last; first += TILE<T>) {
                const int64_t count = t.last - first < TILE<T> ? t.last - first : TILE<T>;
                const int64_t vectors = g_w ? fill(x, t, p.I, first, count, inputs.data())
                                            : (count + LANES<T> - 1) / LANES<T>;
                for (int64_t o = 0; o < p.O; ++o) {
                    g.values(t.n, t.g * p.O + o, p.G * p.O, p.S, first, count, errors.data() + o * TILE<T>);
                    for (int64_t s = count; s < vectors * LANES<T>; ++s) errors[o * TILE<T> + s] = 0;
                }
                if (g_w) outer<T>(errors.data(), p.O, inputs.data(), p.I, vectors, sums);
                if (!of_input) continue;
                product(turned.data(), p.I, p.O, errors.data(), vectors, back.data());
                for (int64_t i = 0; i < p.I; ++i) {
                    const int64_t r = x.channel(t.g * p.I + i);
                    T *from = back.data() + i * TILE<T>;
                    x.back(t.n, r, first, count, from, gx ? gx + (t.n * x.C + r) * p.S + first : from, scale_sums[i],
                           shift_sums[i]);
                }
            }
            const int64_t part = t.n * p.segments + t.segment;
            for (int64_t i = 0; g_w && i < weights; ++i)
                g_w[(part * p.G + t.g) * weights + i] = sum_of<T>(sums[i]);
            for (int64_t i = 0; g_scale && i < p.I; ++i) {
                const int64_t to = part * x.C + x.channel(t.g * p.I + i);
                g_scale[to] = scale_sums[i];
                g_shift[to] = shift_sums[i];
            }
        }
    }
}

}  // namespace

#define EXPORT(NAME, T)                                                                                               \
    extern "C" void pointwise_forward_##NAME(const T *raw, const T *scale, const T *shift, const int64_t *order,      \
                                             const T *w, T *y, T *mean, T *squares, double lower, double upper,       \
                                             int64_t N, int64_t I, int64_t O, int64_t G, int64_t S, int64_t segments, \
                                             int64_t segment, int64_t threads) {                                      \
        forward<T>(Deferred<T>{raw, scale, shift, order, T(lower), T(upper), G * I, S}, w, y, mean, squares,          \
                   Shape{N, I, O, G, S, segments, segment}, threads);                                                 \
    }                                                                                                                 \
    extern "C" void pointwise_backward_##NAME(                                                                        \
        const T *raw, const T *scale, const T *shift, const int64_t *order, const T *w, const T *g, const T *y,       \
        const T *a, const T *b, T *gx, T *g_w, T *g_scale, T *g_shift, double lower, double upper, int64_t N,         \
        int64_t I, int64_t O, int64_t G, int64_t S, int64_t segments, int64_t segment, int64_t threads) {             \
        backward<T>(Deferred<T>{raw, scale, shift, order, T(lower), T(upper), G * I, S}, w,                           \
                    OutputGradient<T>{g, y, a, b}, gx, g_w, g_scale, g_shift,                                         \
                    Shape{N, I, O, G, S, segments, segment}, threads);                                                \
    }

EXPORT(float32, float)
EXPORT(float64, double)
