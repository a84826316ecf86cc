// Arguments of the steps of a plan: plain structures, the same for every kind of processor.
//
// A map stores one plane of H x W values per channel. The pitch of the planes leaves room for one more vector after the
// values. Rows and planes are written in whole vectors, in ascending order. Values that spill over the end of a row or
// plane are overwritten by the next. The values between planes are undefined, and means exclude them.
#pragma once
#include <cstdint>

// Code for several processors is linked together. A function that is not inlined might use code for another processor.
#define INLINE inline __attribute__((always_inline))

namespace plan {

constexpr int64_t WIDEST = 16;  // lanes of the widest vectors; plans are independent of the processor
constexpr int64_t TILE = 64;    // outputs of a linear layer whose weights are stored together
constexpr int64_t SECOND_CACHE = 128 * 1024;  // floats of inputs that fit there together with weights

// Kinds of tensors in a file. FLOATS and later kinds hold weights and places.
enum Kind { MAP, VECTOR, FLOATS, INTS, HALVES, BYTES };

INLINE int64_t rounded(int64_t count, int64_t step) { return (count + step - 1) / step * step; }
INLINE int64_t pitch_of(int64_t H, int64_t W) { return rounded(H * W + WIDEST - 1, WIDEST); }

// Upper bound of the floats that `count` pointers occupy.
INLINE int64_t pointers_to(int64_t count) { return rounded(2 * count, WIDEST); }

struct Range {
    float low, high;
};

// The part of a step that one thread runs. It has whole planes, so a spill over the end of a row stays within the
// thread.
struct Share {
    int64_t index, count;
    INLINE int64_t begin(int64_t n) const { return n * index / count; }
    INLINE int64_t end(int64_t n) const { return n * (index + 1) / count; }
};

struct Map {
    float *data;  // null if the map is absent
    int64_t C, H, W;
    INLINE int64_t size() const { return H * W; }
    INLINE int64_t pitch() const { return pitch_of(H, W); }
    INLINE float *plane(int64_t c) const { return data + c * pitch(); }
};

// A map, and how to read it. With an order, channel i is read from channel order[i]. With coefficients a (K, J, C), the
// map is read through Shift-Max: max_k sum_j a[k][j][c] x[partner_j(c)]. The first partner of a channel is the channel
// itself. `partner` (J - 1, C) holds the other partners. With `factor`, every channel is multiplied by this plane.
struct Source {
    Map x;
    const int32_t *order, *partner;
    const float *a, *factor;
    int64_t J, K;
};

// A 1 x 1 group convolution with weights (groups, inputs, outputs). `inputs` and `outputs` are counts per group.
struct Pointwise {
    const float *w, *bias;
    int64_t groups, inputs, outputs;
    Range range;

    // Floats for the pointers to the inputs of a group; and positions per chunk of Shift-Max, in chunks of similar
    // size.
    INLINE int64_t pointers() const { return pointers_to(inputs); }
    INLINE int64_t chunk(int64_t positions) const {
        const int64_t count = positions * inputs / 4096;
        return rounded(count ? (positions + count - 1) / count : positions, WIDEST);
    }
    INLINE int64_t scratch(int64_t positions) const { return pointers() + inputs * chunk(positions); }
};

// A k x 1 depthwise convolution followed by a 1 x k depthwise convolution, both with the same stride. Every input
// channel c has M1 vertical filters; filter m writes the middle channel m * C + c. Every middle channel has M2
// horizontal filters, numbered the same way.
struct Lines {
    const float *vertical, *vertical_bias;      // (k, M1 * C), (M1 * C)
    const float *horizontal, *horizontal_bias;  // (k, M2 * M1 * C), (M2 * M1 * C)
    int64_t C, M1, M2, k, stride;
    Range range;

    static constexpr int64_t ROWS = 8;  // middle rows at a time

    INLINE int64_t middle() const { return M1 * C; }
    INLINE int64_t outputs() const { return M2 * middle(); }
    INLINE float down(int t, int64_t m) const { return vertical[t * middle() + m]; }
    INLINE float across(int t, int64_t o) const { return horizontal[t * outputs() + o]; }

    // Floats of an input plane with zeros above and below, and of a middle row with zeros on both sides.
    INLINE int64_t padded(const Map &x) const { return rounded((x.H + k - 1) * x.W + 3 * WIDEST, WIDEST); }
    INLINE int64_t row(const Map &x) const { return rounded(x.W, 2 * WIDEST) + 4 * WIDEST; }
    INLINE int64_t scratch(const Map &x) const { return padded(x) + (ROWS + 1) * row(x); }
    // After an expansion, in vectors of channels. strip: rows of the result that fit in the nearest cache.
    // scratch: floats of the middle rows with zeros on both sides, of two vectors of hidden channels, and of the
    // result.
    INLINE int64_t strip(const Map &x, int64_t lanes) const {
        const int64_t rows = (x.H + stride - 1) / stride, fit = STRIP / (lanes * x.W);
        return fit < 1 ? 1 : fit < rows ? fit : rows;
    }
    INLINE int64_t scratch(const Map &x, const Pointwise &expand) const {
        const int64_t rows = STRIP / x.W < WIDEST ? WIDEST : STRIP / x.W;  // rows of a strip, times its lanes
        return expand.pointers() + rows * (x.W + k - 1) + 2 * (rows * stride + WIDEST * k) * x.W + rows * x.W + WIDEST * WIDEST;
    }
    static constexpr int64_t STRIP = 1792;  // floats
};

// The first layers, for an image (C, H, W) without pitch: x * scale + shift, then a 3 x 1 convolution to s1 channels,
// then a 1 x 3 convolution with s2 filters per channel. Both convolutions have stride 2 along their axis.
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

// y = x w scale + bias, with weights (outputs / TILE, inputs, TILE), padded with zeros. Then an optional hard swish, a
// clamp, and for coefficients their start values. Weights are FLOATS, HALVES (the upper 16 bits of floats) or BYTES
// (signed). Byte k of word l of a tile belongs to output k * WIDEST + l, so that vectors of any width unpack the bytes
// by shifts.
struct Linear {
    const void *w;
    Kind kind;
    const float *scale, *bias, *start;  // (outputs), padded to tiles; scale only for BYTES, start may be null
    int64_t inputs, outputs;
    bool swish;
    Range range;
};

// One axis of a convolution: taps, stride, and zeros before the first value. A stride of 2 splits the places into two
// phases, even and odd. Each phase is stored as a separate line. For output o, tap t reads place o + t / stride of
// phase t % stride.
struct Axis {
    int64_t k, stride, before;

    INLINE int64_t reach() const { return (k - 1) / stride; }
    INLINE int64_t phases() const { return k < stride ? k : stride; }
    // Places [first, end) of a phase hold values. The places around them are zero.
    INLINE int64_t first(int64_t phase) const { return before <= phase ? 0 : (before - phase + stride - 1) / stride; }
    INLINE int64_t end(int64_t phase, int64_t size) const { return (size + before - phase + stride - 1) / stride; }
};

// A convolution over channels and places. `inputs` and `outputs` are counts per group. The weights of each part of the
// outputs of a group are stored in reading order: (inputs, rows, columns, outputs of the part).
struct Convolution {
    const float *w, *bias;
    int64_t groups, inputs, outputs;
    Axis rows, columns;
    Range range;

    static constexpr int64_t PART = 12;  // maximum number of outputs

    // Input rows are stored in one line. The zeros after a row are also the zeros before the next row.
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
    // Output rows at a time: as many as fit, but at least `least`, so that rows are not read too often.
    INLINE int64_t strip(const Map &x, const Map &y) const {
        constexpr int64_t least = 4;
        const int64_t fit = SECOND_CACHE / (inputs * phases() * pitch(x.W, y.W)) - rows.reach(), count = fit < least ? least : fit;
        return count < y.H ? count : y.H;
    }
    // Floats of a strip of an output, and of a phase of an input. An odd number of cache lines avoids cache conflicts
    // between channels.
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

// The steps for one image. Each thread runs its share with a separate scratch. `added` is a map of the same shape as y.
// `mean` (C) receives the means of the planes of y. Both may be null.
struct Kernels {
    void (*pointwise)(const Pointwise &, const Source &, const Map &y, const Map &added, float *mean, float *scratch, Share);
    void (*elementwise)(const Source &, const Range &, const Map &y, const Map &added, float *mean, Share);
    void (*lines)(const Lines &, const Source &, const Map &y, float *mean, float *scratch, Share);
    // Lines with one filter per channel, applied to a pointwise convolution with at least WIDEST outputs per group.
    void (*expanded_lines)(const Lines &, const Pointwise &expand, const Source &, const Map &y, float *mean, float *scratch,
                           Share);
    void (*stem)(const Stem &, const float *image, int64_t C, int64_t H, int64_t W, const Map &y, float *scratch, Share);
    // With an order, channel i is read from channel order[i] of the map.
    void (*convolution)(const Convolution &, const Map &x, const int32_t *order, const Map &y, const Map &added,
                        float *scratch, Share);
    void (*pool)(const Map &x, const Range &, bool swish, float *y, Share);
    void (*linear)(const Linear &, const float *x, float *y, Share);
    void (*attend)(const Map &x, float temperature, float *y, Share);
    void (*doubled)(const Map &x, bool smooth, const Map &y, float *scratch, Share);
    // Input row rows[h] and column columns[w] become output row h and column w.
    void (*picked)(const Map &x, const int32_t *rows, const int32_t *columns, const Map &y, Share);
};

}  // namespace plan
