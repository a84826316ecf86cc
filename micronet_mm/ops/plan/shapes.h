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
constexpr int64_t SECOND_CACHE = 128 * 1024;  // floats of inputs that stay there beside weights

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

    // To the inputs of a group; and positions whose Shift-Max is made at a time, alike in number.
    INLINE int64_t pointers() const { return pointers_to(inputs); }
    INLINE int64_t chunk(int64_t positions) const {
        const int64_t count = positions * inputs / 4096;
        return rounded(count ? (positions + count - 1) / count : positions, WIDEST);
    }
    INLINE int64_t scratch(int64_t positions) const { return pointers() + inputs * chunk(positions); }
};

// A depthwise convolution of k x 1 and one of 1 x k behind it, both of a stride. Every input channel has M1 vertical
// filters, channel m * C + c of what is between, and each of those M2 horizontal ones likewise.
struct Lines {
    const float *vertical, *vertical_bias;      // (k, M1 * C), (M1 * C)
    const float *horizontal, *horizontal_bias;  // (k, M2 * M1 * C), (M2 * M1 * C)
    int64_t C, M1, M2, k, stride;
    Range range;

    static constexpr int64_t ROWS = 8;  // of what is between, at a time

    INLINE int64_t middle() const { return M1 * C; }
    INLINE int64_t outputs() const { return M2 * middle(); }
    INLINE float down(int t, int64_t m) const { return vertical[t * middle() + m]; }
    INLINE float across(int t, int64_t o) const { return horizontal[t * outputs() + o]; }

    // Floats of a plane that is read, with zeros above and below, and of a row between, with zeros beside it.
    INLINE int64_t padded(const Map &x) const { return rounded((x.H + k - 1) * x.W + 3 * WIDEST, WIDEST); }
    INLINE int64_t row(const Map &x) const { return rounded(x.W, 2 * WIDEST) + 4 * WIDEST; }
    INLINE int64_t scratch(const Map &x) const { return padded(x) + (ROWS + 1) * row(x); }
    // Behind an expansion, in vectors of channels: rows of the result whose values are in the nearest cache at a time; and
    // floats of what is between, with zeros beside it, of what is hidden, two vectors of channels, and of the result.
    INLINE int64_t strip(const Map &x, int64_t lanes) const {
        const int64_t rows = (x.H + stride - 1) / stride, fit = STRIP / (lanes * x.W);
        return fit < 1 ? 1 : fit < rows ? fit : rows;
    }
    INLINE int64_t scratch(const Map &x, const Pointwise &expand) const {
        const int64_t rows = STRIP / x.W < WIDEST ? WIDEST : STRIP / x.W;  // of a strip, times its lanes
        return expand.pointers() + rows * (x.W + k - 1) + 2 * (rows * stride + WIDEST * k) * x.W + rows * x.W + WIDEST * WIDEST;
    }
    static constexpr int64_t STRIP = 1792;  // floats
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

// One axis of a convolution: taps, their step, and zeros before the first value. A stride of 2 reads places of even and of
// odd number, its phases, each as a line of its own: what output o reads by tap t is place o + t / stride of phase
// t % stride.
struct Axis {
    int64_t k, stride, before;

    INLINE int64_t reach() const { return (k - 1) / stride; }
    INLINE int64_t phases() const { return k < stride ? k : stride; }
    // The places of a phase from the one on, to before the other, hold values; there are zeros beside them.
    INLINE int64_t first(int64_t phase) const { return before <= phase ? 0 : (before - phase + stride - 1) / stride; }
    INLINE int64_t end(int64_t phase, int64_t size) const { return (size + before - phase + stride - 1) / stride; }
};

// A convolution over channels and places, with numbers of each group. Of each part of the outputs of a group the weights
// lie as they are read, (inputs, rows, columns, outputs of the part).
struct Convolution {
    const float *w, *bias;
    int64_t groups, inputs, outputs;
    Axis rows, columns;
    Range range;

    static constexpr int64_t PART = 12;  // outputs at most

    // Rows of what is read lie in one line. The zeros behind one are those before the next: they are as many as it takes.
    INLINE int64_t pitch(int64_t read, int64_t made) const {
        int64_t pitch = made;
        for (int64_t t = 0; t < columns.k; ++t) {
            const int64_t phase = t % columns.stride, reach = made + t / columns.stride;
            const int64_t end = columns.end(phase, read), values = end < reach ? end : reach;
            const int64_t apart = reach - columns.first(phase), least = values < apart ? apart : values;
            pitch = pitch < least ? least : pitch;
        }
        return pitch;
    }
    INLINE int64_t phases() const { return rows.phases() * columns.phases(); }
    // Rows of the output at a time: as many as fit, or else so many that rows are not read too often.
    INLINE int64_t strip(const Map &x, const Map &y) const {
        constexpr int64_t least = 4;
        const int64_t fit = SECOND_CACHE / (inputs * phases() * pitch(x.W, y.W)) - rows.reach(), count = fit < least ? least : fit;
        return count < y.H ? count : y.H;
    }
    // Floats of a strip of an output, and of a phase of an input. An odd number of lines of the cache keeps channels from
    // lying on one another there.
    INLINE int64_t line(const Map &x, const Map &y) const {
        return rounded(strip(x, y) * pitch(x.W, y.W), WIDEST) + WIDEST;
    }
    INLINE int64_t plane(const Map &x, const Map &y) const {
        return rounded(line(x, y) + rows.reach() * pitch(x.W, y.W) + columns.reach(), 2 * WIDEST) + WIDEST;
    }
    INLINE int64_t scratch(const Map &x, const Map &y) const {
        return inputs * phases() * plane(x, y) + PART * line(x, y);
    }
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
    // Channel order[i] of the map, if there is an order, is read as channel i.
    void (*convolution)(const Convolution &, const Map &x, const int32_t *order, const Map &y, const Map &added,
                        float *scratch, Share);
    void (*pool)(const Map &x, const Range &, bool swish, float *y, Share);
    void (*linear)(const Linear &, const float *x, float *y, Share);
    void (*attend)(const Map &x, float temperature, float *y, Share);
    void (*doubled)(const Map &x, bool smooth, const Map &y, float *scratch, Share);
    // Row rows[h] and column columns[w] of what is read become row h and column w.
    void (*picked)(const Map &x, const int32_t *rows, const int32_t *columns, const Map &y, Share);
};

}  // namespace plan
