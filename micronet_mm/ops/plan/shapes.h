// What the steps of a plan are given: plain structures, the same for every kind of processor.
//
// A map lies channel by channel, each a plane of H x W values in a pitch that leaves a vector more behind them than they
// fill: rows and planes are written in whole vectors, in rising order, and what spills over the end of one is written by
// the next. What lies between the planes is of no meaning, and is left out of means.
#pragma once
#include <cstdint>

// Code for several processors is linked together: what is not inlined might come from another's.
#define INLINE inline __attribute__((always_inline))

namespace plan {

constexpr int64_t WIDEST = 16;  // lanes of the widest vectors: a plan does not depend on the processor
constexpr int64_t TILE = 64;    // outputs of a linear layer whose weights lie together

// Of tensors in a file; those from FLOATS on are its weights and places.
enum Kind { MAP, VECTOR, FLOATS, INTS, HALVES, BYTES };

INLINE int64_t rounded(int64_t count, int64_t step) { return (count + step - 1) / step * step; }
INLINE int64_t pitch_of(int64_t H, int64_t W) { return rounded(H * W + WIDEST - 1, WIDEST); }

// Floats that so many pointers take at most.
INLINE int64_t pointers_to(int64_t count) { return rounded(2 * count, WIDEST); }

struct Range {
    float low, high;
};

// What one of several threads does of a step. Its planes are whole: what spills over the end of a row is for itself.
struct Share {
    int64_t index, count;
    INLINE int64_t begin(int64_t n) const { return n * index / count; }
    INLINE int64_t end(int64_t n) const { return n * (index + 1) / count; }
};

struct Map {
    float *data;  // null if there is none
    int64_t C, H, W;
    INLINE int64_t size() const { return H * W; }
    INLINE int64_t pitch() const { return pitch_of(H, W); }
    INLINE float *plane(int64_t c) const { return data + c * pitch(); }
};

// A map whose channel order[i], if there is an order, is read as channel i; if there are coefficients a (K, J, C), through
// Shift-Max, max_k sum_j a[k][j][c] x[partner_j(c)]. The first partner of a channel is itself, the others are in partner
// (J - 1, C). All channels are multiplied by the plane of factors, if there is one.
struct Source {
    Map x;
    const int32_t *order, *partner;
    const float *a, *factor;
    int64_t J, K;
};

// A group convolution of 1 x 1, its weights (groups, inputs, outputs), with numbers of each group.
struct Pointwise {
    const float *w, *bias;
    int64_t groups, inputs, outputs;
    Range range;

    // To the inputs of a group; and positions whose Shift-Max is made at a time.
    INLINE int64_t pointers() const { return pointers_to(inputs); }
    INLINE int64_t chunk() const {
        const int64_t positions = 4096 / inputs / WIDEST * WIDEST;
        return positions > 4 * WIDEST ? positions : 4 * WIDEST;
    }
    INLINE int64_t scratch() const { return pointers() + inputs * chunk(); }
};

// A depthwise convolution of k x 1 and one of 1 x k behind it, both of a stride. Every input channel has M1 vertical
// filters, channel m * C + c of what is between, and each of those M2 horizontal ones likewise.
struct Lines {
    const float *vertical, *vertical_bias;      // (k, M1 * C), (M1 * C)
    const float *horizontal, *horizontal_bias;  // (k, M2 * M1 * C), (M2 * M1 * C)
    int64_t C, M1, M2, k, stride;
    Range range;

    static constexpr int64_t ROWS = 8, MOST_FILTERS = 8;  // of what is between, at a time; M2 at most

    INLINE int64_t middle() const { return M1 * C; }
    INLINE int64_t outputs() const { return M2 * middle(); }
    INLINE float down(int t, int64_t m) const { return vertical[t * middle() + m]; }
    INLINE float across(int t, int64_t o) const { return horizontal[t * outputs() + o]; }

    // Floats of a plane that is read, with zeros above and below, and of a row between, with zeros beside it.
    INLINE int64_t padded(const Map &x) const { return rounded((x.H + k - 1) * x.W + 3 * WIDEST, WIDEST); }
    INLINE int64_t row(const Map &x) const { return rounded(x.W, 2 * WIDEST) + 4 * WIDEST; }
    INLINE int64_t scratch(const Map &x) const { return padded(x) + (ROWS + 1) * row(x); }
    // Behind an expansion, in vectors of channels: k rows and one of zeros, one with zeros beside it, and of the result as
    // many as there are lanes.
    INLINE int64_t scratch(const Map &x, const Pointwise &expand) const {
        return expand.pointers() + WIDEST * ((k + 2) * x.W + k - 1 + WIDEST * ((x.W + stride - 1) / stride));
    }
};

// Of an image (C, H, W) without pitch: x * scale + shift, a convolution of 3 x 1 to s1 channels and one of 1 x 3 with s2
// filters for each, both of stride 2 along their axis.
struct Stem {
    const float *scale, *shift;                 // (C)
    const float *vertical, *vertical_bias;      // (s1, C, 3), (s1)
    const float *horizontal, *horizontal_bias;  // (s1 * s2, 3), (s1 * s2)
    int64_t s1, s2;
    Range range;

    INLINE int64_t row(int64_t W) const { return rounded(W, 4 * WIDEST) + 4 * WIDEST; }
    INLINE int64_t pointers(int64_t C) const { return pointers_to(3 * C); }
    INLINE int64_t scratch(int64_t C, int64_t W) const { return pointers(C) + (3 * C + s1 + 1) * row(W); }
};

// y = x w scale + bias, its weights (outputs / TILE, inputs, TILE), padded with zeros; then hard swish, if asked for, a clamp
// and, for coefficients, where they start from. Weights are FLOATS, HALVES, the upper 16 bits of floats, or BYTES, signed:
// byte k of word l of a tile is that of output k * WIDEST + l, so that vectors of any width take them apart by shifts.
struct Linear {
    const void *w;
    Kind kind;
    const float *scale, *bias, *start;  // (outputs), padded to tiles; scale is for bytes alone, start may be null
    int64_t inputs, outputs;
    bool swish;
    Range range;
};

// The steps, of one image; each thread does its share, in a scratch of its own. What is added is a map like y; mean (C) takes
// the means of its planes. Both may be null.
struct Kernels {
    void (*pointwise)(const Pointwise &, const Source &, const Map &y, const Map &added, float *mean, float *scratch, Share);
    void (*elementwise)(const Source &, const Range &, const Map &y, const Map &added, float *mean, Share);
    void (*lines)(const Lines &, const Source &, const Map &y, float *mean, float *scratch, Share);
    // Lines of one filter each that read what a convolution of at least WIDEST outputs a group makes of the source.
    void (*expanded_lines)(const Lines &, const Pointwise &expand, const Source &, const Map &y, float *mean, float *scratch,
                           Share);
    void (*stem)(const Stem &, const float *image, int64_t C, int64_t H, int64_t W, const Map &y, float *scratch, Share);
    void (*pool)(const Map &x, const Range &, bool swish, float *y, Share);
    void (*linear)(const Linear &, const float *x, float *y, Share);
    void (*attend)(const Map &x, float temperature, float *y, Share);
    void (*doubled)(const Map &x, bool smooth, const Map &y, float *scratch, Share);
};

}  // namespace plan
