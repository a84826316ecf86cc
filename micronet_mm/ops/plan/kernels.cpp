// The steps of a plan for the vectors of one kind of processor. PLAN_TARGET names the processor and the namespace. All
// code outside this namespace is inlined.
#include "shapes.h"

#include <math.h>
#ifdef __aarch64__
#include <arm_neon.h>
#endif

#include <cstdint>
#include <cstring>

namespace plan {
namespace PLAN_TARGET {

#include "../vectors.h"
#include "lanes.h"
#include "sources.h"
#include "pointwise.h"
#include "lines.h"
#include "expanded_lines.h"
#include "stem.h"
#include "convolution.h"

inline Floats hard_swish(Floats x) { return x * clamped(x + 3, {0, 6}) / 6; }

// Add the products of one input with its weights in a tile.
template <typename T, int wide>
INLINE void add_products(Floats x, const T *w, Floats (&sums)[wide]) {
    for (int v = 0; v < wide; ++v) sums[v] += x * load<Floats>(w + v * L);
}
// Compilers widen a vector of bytes one value at a time or in many steps. Shifting whole words is faster.
template <int wide>
INLINE void add_products(Floats x, const int8_t *w, Floats (&sums)[wide]) {
    constexpr int vectors = WIDEST / L;
    for (int v = 0; v < vectors; ++v) {
        const Bits words = load<Bits>(w + v * VECTOR_BYTES);
        for (int k = 0; k < 4; ++k)
            sums[k * vectors + v] += x * __builtin_convertvector((Ints)(words << (24 - 8 * k)) >> 24, Floats);
    }
}

template <typename T>
inline void linear_of(const T *weights, const Linear &layer, const float *x, float *y, Share share) {
    constexpr int wide = TILE / L, unrolled = wide >= 8 ? 1 : 8 / wide;
    const int64_t tiles = (layer.outputs + TILE - 1) / TILE;
    for (int64_t o = share.begin(tiles) * TILE; o < share.end(tiles) * TILE; o += TILE) {
        const T *w = weights + o * layer.inputs;
        Floats sums[unrolled][wide] = {};
        int64_t i = 0;
        for (; i + unrolled <= layer.inputs; i += unrolled)
            for (int u = 0; u < unrolled; ++u) add_products(all(x[i + u]), w + (i + u) * TILE, sums[u]);
        for (; i < layer.inputs; ++i) add_products(all(x[i]), w + i * TILE, sums[0]);
        for (int v = 0; v < wide; ++v) {
            Floats value = sums[0][v];
            for (int u = 1; u < unrolled; ++u) value += sums[u][v];
            if (layer.scale) value *= vector_at(layer.scale + o + v * L);
            value += vector_at(layer.bias + o + v * L);
            if (layer.swish) value = hard_swish(value);
            value = clamped(value, layer.range);
            if (layer.start) value += vector_at(layer.start + o + v * L);
            store(y + o + v * L, value);
        }
    }
}

inline void linear(const Linear &layer, const float *x, float *y, Share share) {
    if (layer.kind == BYTES)
        linear_of(static_cast<const int8_t *>(layer.w), layer, x, y, share);
    else if (layer.kind == HALVES)
        linear_of(static_cast<const bfloat16 *>(layer.w), layer, x, y, share);
    else
        linear_of(static_cast<const float *>(layer.w), layer, x, y, share);
}

inline void pool(const Map &x, const Range &range, bool swish, float *y, Share share) {
    const Means mean(y, x);
    const int64_t vectors = rounded(x.C, L) / L, begin = share.begin(vectors) * L;
    const int64_t end = share.end(vectors) * L < x.C ? share.end(vectors) * L : x.C;
    for (int64_t c = begin; c < end; ++c) {
        Floats sum{};
        for (int64_t p = 0; p < x.size(); p += L) sum += first(clamped(vector_at(x.plane(c) + p), range), x.size() - p);
        mean.set(c, sum);
    }
    if (swish)
        for (int64_t c = begin; c < end; c += L) store(y + c, hard_swish(vector_at(y + c)));
}

// min(e / (3 mean(e)), 1) with e = exp((x - max(x)) / temperature), for one plane.
inline void attend(const Map &x, float temperature, float *y, Share share) {
    if (share.index) return;
    float largest = x.data[0], sum = 0;
    for (int64_t p = 1; p < x.size(); ++p) largest = x.data[p] > largest ? x.data[p] : largest;
    for (int64_t p = 0; p < x.size(); ++p) sum += y[p] = expf((x.data[p] - largest) / temperature);
    const float scale = x.size() / (3 * sum);
    for (int64_t p = 0; p < x.size(); ++p) y[p] = y[p] * scale < 1 ? y[p] * scale : 1;
}

// Write every value of a row twice. With `smooth`, each copy is a quarter of the way to its neighbour. At the border, a
// value is its own neighbour.
INLINE void doubled_row(const float *from, int64_t W, bool smooth, float *to) {
    const Ints low = counted<0, 1>() / 2 + (counted<0, 1>() & 1) * int32_t(L), high = low + int32_t(L / 2);
    const auto at = [&](int64_t i) { return from[i < 0 ? 0 : i < W ? i : W - 1]; };
    for (int64_t v = 0; v < W; v += L) {
        Floats both[2] = {vector_at(from + v), vector_at(from + v)};
        if (smooth) {
            Floats before = v ? vector_at(from + v - 1) : both[0], after = vector_at(from + v + 1);
            if (!v)
                for (int64_t l = L - 1; l > 0; --l) before[l] = before[l - 1];
            if (v + L >= W) after[W - 1 - v] = at(W);
            both[0] = both[0] * 0.75f + before * 0.25f;
            both[1] = both[1] * 0.75f + after * 0.25f;
        }
        store(to + 2 * v, gathered(both, low));
        if (v + L / 2 < W) store(to + 2 * v + L, gathered(both, high));
    }
}

// Enlarge (C, H, W) to (C, 2 H, 2 W).
inline void doubled(const Map &x, bool smooth, const Map &y, float *scratch, Share share) {
    for (int64_t c = share.begin(x.C); c < share.end(x.C); ++c)
        for (int64_t h = 0; h < y.H; ++h) {
            const int64_t near = h / 2, beside = h % 2 ? near + 1 : near - 1;
            const int64_t other = beside < 0 ? 0 : beside < x.H ? beside : x.H - 1;
            const float *from = x.plane(c) + near * x.W, *further = x.plane(c) + other * x.W;
            if (smooth) {
                for (int64_t v = 0; v < x.W; v += L)
                    store(scratch + v, vector_at(from + v) * 0.75f + vector_at(further + v) * 0.25f);
                from = scratch;
            }
            doubled_row(from, x.W, smooth, y.plane(c) + h * y.W);
        }
}

inline void picked(const Map &x, const int32_t *rows, const int32_t *columns, const Map &y, Share share) {
    for (int64_t c = share.begin(y.C); c < share.end(y.C); ++c)
        for (int64_t h = 0; h < y.H; ++h) {
            const float *from = x.plane(c) + rows[h] * x.W;
            float *to = y.plane(c) + h * y.W;
            for (int64_t w = 0; w < y.W; ++w) to[w] = from[columns[w]];
        }
}

template <int k>
void expanded_lines_of(const Lines &conv, const Pointwise &expand, const Source &source, const Map &y, float *mean,
                       float *scratch, Share share) {
    const auto run = conv.stride == 1 ? expanded_lines<k, 1> : expanded_lines<k, 2>;
    run(conv, expand, Plain{source}, y, Means(mean, y), scratch, share);
}

extern const Kernels kernels;
const Kernels kernels = {
    [](const Pointwise &conv, const Source &source, const Map &y, const Map &added, float *mean, float *scratch, Share share) {
        with(source, [&](const auto &read) { pointwise(conv, read, y, added, Means(mean, y), scratch, share); });
    },
    [](const Source &source, const Range &range, const Map &y, const Map &added, float *mean, Share share) {
        with(source, [&](const auto &read) { elementwise(read, range, y, added, Means(mean, y), share); });
    },
    [](const Lines &conv, const Source &source, const Map &y, float *mean, float *scratch, Share share) {
        const auto run = conv.k == 3 ? lines<3> : conv.k == 5 ? lines<5> : lines<7>;
        run(conv, Plain{source}, y, Means(mean, y), scratch, share);
    },
    [](const Lines &conv, const Pointwise &expand, const Source &source, const Map &y, float *mean, float *scratch,
       Share share) {
        const auto run = conv.k == 3 ? expanded_lines_of<3> : conv.k == 5 ? expanded_lines_of<5> : expanded_lines_of<7>;
        run(conv, expand, source, y, mean, scratch, share);
    },
    stem, convolution, pool, linear, attend, doubled, picked};

}  // namespace PLAN_TARGET
}  // namespace plan
