// The steps of a plan in the vectors of one kind of processor. PLAN_TARGET names it; what is not in its namespace is
// inlined.
#include "shapes.h"

#include <math.h>

#include <cstdint>
#include <cstring>

namespace plan {
namespace PLAN_TARGET {

#include "../vectors.h"

typedef typename Vector<float>::type Floats;
typedef typename Vector<int32_t>::type Ints;
constexpr int64_t L = LANES<float>;
constexpr int OUTPUTS = 12;  // of a pointwise convolution at once: their sums stay in registers
constexpr int REGISTERS = VECTOR_BYTES == 64 ? 24 : 12;  // for those sums
constexpr int64_t NEAR = 6144;  // floats that stay in the nearest cache beside others

INLINE Floats all(float value) { return value - Floats{}; }
INLINE Floats clamped(Floats value, const Range &range) {
    const Floats low = all(range.low), high = all(range.high);
    value = value < high ? value : high;
    return value > low ? value : low;
}
INLINE void zero(float *from, int64_t count) { std::memset(from, 0, count * sizeof(float)); }

// Lane l of the result is value places[l] of the vectors, of which there is a power of two, counted on through them.
INLINE Floats gathered(const Floats (&from)[1], Ints places) {
#ifdef __clang__
    Floats found;
    for (int l = 0; l < L; ++l) found[l] = from[0][places[l] & (L - 1)];
    return found;
#else
    return __builtin_shuffle(from[0], places);
#endif
}
INLINE Floats gathered(const Floats (&from)[2], Ints places) {
#ifdef __clang__
    Floats found;
    for (int l = 0; l < L; ++l) found[l] = from[(places[l] / L) & 1][places[l] & (L - 1)];
    return found;
#else
    return __builtin_shuffle(from[0], from[1], places);
#endif
}
// start, start + step, ..., from memory: compilers do not see through a loop that sets sixteen lanes.
template <int start, int step>
struct Counted {
    int32_t lanes[L];
    constexpr Counted() : lanes{} {
        for (int l = 0; l < L; ++l) lanes[l] = start + step * l;
    }
};
template <int start, int step>
INLINE Ints counted() {
    static constexpr Counted<start, step> values;
    return vector_at(values.lanes);
}

// Positions from count on become zero.
INLINE Floats first(Floats value, int64_t count) {
    if (count >= L) return value;
    return (Floats)((Ints)value & (counted<0, 1>() < int32_t(count)));
}

// In logarithmically many steps.
INLINE float total(Floats value) {
    const auto folded = [&](Ints places) {
        const Floats lanes[1] = {value};
        value += gathered(lanes, places);
    };
    if constexpr (L > 8) folded(counted<8, 1>());
    if constexpr (L > 4) folded(counted<4, 1>());
    folded(counted<2, 1>());
    folded(counted<1, 1>());
    return value[0];
}

// Runs run(Number<count>) for a count from 1 to most.
template <int n>
struct Number {
    static constexpr int value = n;
};
template <int most, typename Run>
INLINE void with_number(int64_t count, Run run) {
    if constexpr (most > 0) {
        if (count == most)
            run(Number<most>{});
        else
            with_number<most - 1>(count, run);
    }
}

// Takes the mean of each plane while it is written, if it is wanted.
struct Means {
    float *to;  // (C) or null
    float factor;
    INLINE Means(float *to, const Map &y) : to(to), factor(1.0f / y.size()) {}
    INLINE void set(int64_t c, Floats sum, bool begins = true) const {
        if (to) to[c] = (begins ? 0 : to[c]) + total(sum) * factor;
    }
};

// Reads channels plainly.
struct Plain {
    const Source &source;

    struct Channel {
        const float *from;
        Floats operator()(int64_t p) const { return vector_at(from + p); }
    };
    Channel at(int64_t i) const { return {source.x.plane(source.order ? source.order[i] : i)}; }
};

// Reads them through Shift-Max.
template <int J, int K>
struct Fused {
    const Source &source;

    struct Channel {
        const float *from[J];
        Floats a[K][J];
        Floats operator()(int64_t p) const {
            Floats values[J];
            for (int j = 0; j < J; ++j) values[j] = vector_at(from[j] + p);
            Floats best;
            for (int k = 0; k < K; ++k) {
                Floats sum = a[k][0] * values[0];
                for (int j = 1; j < J; ++j) sum += a[k][j] * values[j];
                if (k)
                    best = best > sum ? best : sum;
                else
                    best = sum;
            }
            return best;
        }
    };
    Channel at(int64_t i) const {
        const Map &x = source.x;
        const int64_t c = source.order ? source.order[i] : i;
        Channel channel;
        for (int j = 0; j < J; ++j) channel.from[j] = x.plane(j ? source.partner[(j - 1) * x.C + c] : c);
        for (int k = 0; k < K; ++k)
            for (int j = 0; j < J; ++j) channel.a[k][j] = all(source.a[(k * J + j) * x.C + c]);
        return channel;
    }
};

// Runs run(read) with what reads this source.
template <typename Run>
INLINE void with(const Source &source, Run run) {
    if (!source.a)
        run(Plain{source});
    else if (source.J == 2 && source.K == 2)
        run(Fused<2, 2>{source});
    else if (source.J == 2)
        run(Fused<2, 1>{source});
    else if (source.K == 2)
        run(Fused<1, 2>{source});
    else
        run(Fused<1, 1>{source});
}

// Sums of `outputs` outputs at `wide` vectors of positions: out of `inputs` channels from `begin` on.
template <int outputs, int wide, typename Read>
inline void accumulate(const Read &read, int64_t begin, int64_t inputs, const float *w, int64_t stride, int64_t p,
                       Floats (&sums)[outputs][wide]) {
    for (int o = 0; o < outputs; ++o)
        for (int v = 0; v < wide; ++v) sums[o][v] = Floats{};
    for (int64_t i = 0; i < inputs; ++i) {
        const auto channel = read.at(begin + i);
        Floats values[wide];
        for (int v = 0; v < wide; ++v) values[v] = channel(p + v * L);
        for (int o = 0; o < outputs; ++o)
            for (int v = 0; v < wide; ++v) sums[o][v] += all(w[i * stride + o]) * values[v];
    }
}

template <int outputs, int wide, typename Read>
inline void write(const Pointwise &conv, const Read &read, int64_t g, int64_t o, int64_t p, const Map &y, const Map &added,
                  Floats *means, bool with_means) {
    Floats sums[outputs][wide];
    const int64_t c = g * conv.outputs + o;
    accumulate<outputs, wide>(read, g * conv.inputs, conv.inputs, conv.w + g * conv.inputs * conv.outputs + o, conv.outputs,
                              p, sums);
    for (int n = 0; n < outputs; ++n)
        for (int v = 0; v < wide; ++v) {
            const int64_t at = p + v * L;
            Floats value = sums[n][v];
            if (read.source.factor) value *= vector_at(read.source.factor + at);
            value = clamped(value + all(conv.bias[c + n]), conv.range);
            if (added.data) value += vector_at(added.plane(c + n) + at);
            store(y.plane(c + n) + at, value);
            if (with_means) means[n] += first(value, y.size() - at);
        }
}

template <int outputs, typename Read>
void outputs_of(const Pointwise &conv, const Read &read, int64_t g, int64_t o, int64_t begin, int64_t end, const Map &y,
                const Map &added, const Means &mean) {
    constexpr int wide = outputs * 4 <= REGISTERS ? 4 : outputs >= REGISTERS ? 1 : REGISTERS / outputs;
    Floats means[outputs] = {};
    int64_t p = begin;
    for (; p + wide * L <= end; p += wide * L) write<outputs, wide>(conv, read, g, o, p, y, added, means, mean.to);
    for (; p < end; p += L) write<outputs, 1>(conv, read, g, o, p, y, added, means, mean.to);
    for (int n = 0; n < outputs; ++n) mean.set(g * conv.outputs + o + n, means[n], begin == 0);
}

template <typename Read>
void pointwise(const Pointwise &conv, const Read &read, const Map &y, const Map &added, const Means &mean) {
    constexpr int64_t whole = 12 * WIDEST;  // in which all numbers of vectors at a time go
    const int64_t parts = (conv.outputs + OUTPUTS - 1) / OUTPUTS, places = rounded(y.size(), L);
    const int64_t strip = rounded(READ / conv.inputs + 1, whole);
    for (int64_t g = 0; g < conv.groups; ++g)
        for (int64_t begin = 0; begin < places; begin += strip) {
            const int64_t end = strip < places - begin ? begin + strip : places;
            for (int64_t part = 0; part < parts; ++part) {
                const int64_t from = part * conv.outputs / parts, to = (part + 1) * conv.outputs / parts;
                with_number<OUTPUTS>(to - from, [&](auto outputs) {
                    outputs_of<decltype(outputs)::value>(conv, read, g, from, begin, end, y, added, mean);
                });
            }
        }
}

template <typename Read>
void elementwise(const Read &read, const Range &range, const Map &y, const Map &added, const Means &mean) {
    for (int64_t c = 0; c < y.C; ++c) {
        const auto channel = read.at(c);
        Floats sum{};
        for (int64_t p = 0; p < y.size(); p += L) {
            Floats value = channel(p);
            if (read.source.factor) value *= vector_at(read.source.factor + p);
            value = clamped(value, range);
            if (added.data) value += vector_at(added.plane(c) + p);
            store(y.plane(c) + p, value);
            sum += first(value, y.size() - p);
        }
        mean.set(c, sum);
    }
}

// Channels from c on of an expanding convolution, of one group, each (size) with zeros up to the end of the last vector, to
// planes `apart` from one another.
template <int channels>
INLINE void expanded(const Pointwise &conv, const Plain &read, int64_t c, int64_t size, float *to, int64_t apart) {
    constexpr int most = 4;
    const int64_t g = c / conv.outputs, vectors = rounded(size, L) / L, parts = rounded(vectors, most) / most;
    const float *w = conv.w + g * conv.inputs * conv.outputs + c % conv.outputs;
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t from = part * vectors / parts, end = (part + 1) * vectors / parts;
        with_number<most>(end - from, [&](auto number) {
            constexpr int wide = decltype(number)::value;
            Floats sums[channels][wide];
            accumulate<channels, wide>(read, g * conv.inputs, conv.inputs, w, conv.outputs, from * L, sums);
            for (int n = 0; n < channels; ++n)
                for (int v = 0; v < wide; ++v) {
                    const int64_t at = (from + v) * L;
                    store(to + n * apart + at, first(clamped(sums[n][v] + all(conv.bias[c + n]), conv.range), size - at));
                }
        });
    }
}

// Rows of few values stay in registers: what a tap of the horizontal filter reads is another order of their lanes.
template <int k, int n>
struct Narrow {
    // Vectors that a row fills; of shorter ones several lie in one.
    static bool fits(const Map &x) { return x.W <= n * L; }

    const Lines &conv;
    const Map &x, &y;
    const int64_t rows, outputs;  // input rows at a time, vectors of an output row
    Ints places[n][k], kept[n][k];

    Narrow(const Lines &conv, const Map &x, const Map &y)
        : conv(conv), x(x), y(y), rows(n == 1 && conv.stride == 1 ? L / x.W : 1), outputs(rounded(rows * y.W, L) / L) {
        for (int64_t v = 0; v < outputs; ++v)
            for (int t = 0; t < k; ++t)
                for (int l = 0; l < L; ++l) {
                    const int64_t o = v * L + l, row = o / y.W, column = o % y.W * conv.stride + t - k / 2;
                    const bool inside = row < rows && 0 <= column && column < x.W;
                    places[v][t][l] = inside ? row * x.W + column : 0;
                    kept[v][t][l] = inside ? -1 : 0;
                }
    }

    INLINE void run(const float *padded, const float *w, float w_bias, const float *across, float bias, float *to,
                    Floats &sum) const {
        Floats down[k], taps[n][k];
        for (int t = 0; t < k; ++t) down[t] = all(w[t]);
        for (int64_t v = 0; v < outputs; ++v)
            for (int t = 0; t < k; ++t) taps[v][t] = (Floats)((Ints)all(across[t]) & kept[v][t]);
        for (int64_t h = 0; h < y.H; h += rows) {
            const float *from = padded + h * conv.stride * x.W;
            Floats values[n];
            for (int v = 0; v < n; ++v) {
                values[v] = all(w_bias);
                for (int t = 0; t < k; ++t) values[v] += down[t] * vector_at(from + t * x.W + v * L);
            }
            const int64_t count = (rows < y.H - h ? rows : y.H - h) * y.W;
            for (int64_t v = 0; v < outputs; ++v) {
                Floats value = all(bias);
                for (int t = 0; t < k; ++t) value += taps[v][t] * gathered(values, places[v][t]);
                value = clamped(value, conv.range);
                store(to + h * y.W + v * L, value);
                sum += first(value, count - v * L);
            }
        }
    }
};

// Longer rows lie in a buffer with zeros beside them, for a stride of 2 places of even and of odd number apart.
template <int k>
struct Wide {
    const Lines &conv;
    const Map &x, &y;
    const int64_t pitch, half;
    float *const buffer;

    Wide(const Lines &conv, const Map &x, const Map &y, float *buffer)
        : conv(conv), x(x), y(y), pitch(conv.row(x)), half(pitch / 2), buffer(buffer) {}

    INLINE void down(const float *padded, const float *w, float bias, int64_t begin, int64_t end) const {
        constexpr int margin = k / 2;
        Floats taps[k];
        for (int t = 0; t < k; ++t) taps[t] = all(w[t]);
        const auto value = [&](int64_t h, int64_t v) {
            Floats sum = all(bias);
            for (int t = 0; t < k; ++t) sum += taps[t] * vector_at(padded + (h * conv.stride + t) * x.W + v);
            return first(sum, x.W - v);
        };
        for (int64_t h = begin; h < end; ++h) {
            float *row = buffer + (h - begin) * pitch;
            if (conv.stride == 1) {
                for (int64_t v = 0; v < x.W; v += L) store(row + margin + v, value(h, v));
                continue;
            }
            // Place i + margin of a row with its zeros is even where i is, if the margin is.
            float *first_half = margin % 2 ? row + half + (margin - 1) / 2 : row + margin / 2;
            float *second_half = margin % 2 ? row + (margin + 1) / 2 : row + half + margin / 2;
            for (int64_t v = 0; v < x.W; v += 2 * L) {
                const Floats both[2] = {value(h, v), v + L < x.W ? value(h, v + L) : Floats{}};
                store(first_half + v / 2, gathered(both, counted<0, 2>()));
                store(second_half + v / 2, gathered(both, counted<1, 2>()));
            }
        }
    }

    INLINE void across(const float *w, float bias, float *to, int64_t begin, int64_t end, Floats &sum) const {
        Floats taps[k];
        for (int t = 0; t < k; ++t) taps[t] = all(w[t]);
        for (int64_t h = begin; h < end; ++h) {
            const float *row = buffer + (h - begin) * pitch;
            for (int64_t v = 0; v < y.W; v += L) {
                Floats value = all(bias);
                for (int t = 0; t < k; ++t)
                    value += taps[t] * vector_at(conv.stride == 1 ? row + v + t : row + t % 2 * half + v + t / 2);
                value = clamped(value, conv.range);
                store(to + h * y.W + v, value);
                sum += first(value, y.W - v);
            }
        }
    }
};

// The hidden plane of a channel comes either out of a map or out of an expanding convolution. Several are made before they
// are read: a vector that lies across two that were just written would have to wait for both.
template <int k>
void lines(const Lines &conv, const Plain &read, const Pointwise *expand, const Map &y, const Means &mean, float *scratch) {
    constexpr int together = VECTOR_BYTES == 64 ? MOST_PLANES : 2;
    const Map &x = read.source.x;
    const int64_t C = expand ? expand->groups * expand->outputs : x.C, apart = conv.padded(x), size = x.size();
    const int64_t planes = apart * together < NEAR ? together : 1;
    float *const padded = scratch, *const rows = scratch + MOST_PLANES * apart, *const plane = padded + k / 2 * x.W;
    zero(padded, planes * apart);
    const auto all_channels = [&](auto filter) {
        for (int64_t c = 0; c < C;) {
            const int64_t end = expand ? rounded(c + 1, expand->outputs) : C, count = c + planes < end ? planes : end - c;
            if (expand)
                with_number<together>(count, [&](auto number) {
                    expanded<decltype(number)::value>(*expand, read, c, size, plane, apart);
                });
            else
                for (int64_t n = 0; n < count; ++n)
                    std::memcpy(plane + n * apart, read.at(c + n).from, size * sizeof(float));
            for (int64_t n = 0; n < count; ++n)
                for (int64_t m = 0; m < conv.M1; ++m) filter(padded + n * apart, m * C + c + n);
            c += count;
        }
    };
    const auto narrow = [&](const auto &filters) {
        all_channels([&](const float *from, int64_t middle) {
            for (int64_t o = middle; o < y.C; o += conv.M1 * C) {
                Floats sum{};
                filters.run(from, conv.vertical + middle * k, conv.vertical_bias[middle], conv.horizontal + o * k,
                            conv.horizontal_bias[o], y.plane(o), sum);
                mean.set(o, sum);
            }
        });
    };
    // Two vectors are put in another order at once by the widest instructions only.
    if (Narrow<k, 1>::fits(x)) {
        narrow(Narrow<k, 1>(conv, x, y));
    } else if (VECTOR_BYTES == 64 && Narrow<k, 2>::fits(x)) {
        narrow(Narrow<k, 2>(conv, x, y));
    } else {
        const Wide<k> filters(conv, x, y, rows);
        zero(rows, Lines::ROWS * conv.row(x));
        all_channels([&](const float *from, int64_t middle) {
            Floats sums[Lines::MOST_FILTERS] = {};
            for (int64_t begin = 0; begin < y.H; begin += Lines::ROWS) {
                const int64_t end = begin + Lines::ROWS < y.H ? begin + Lines::ROWS : y.H;
                filters.down(from, conv.vertical + middle * k, conv.vertical_bias[middle], begin, end);
                for (int64_t n = 0, o = middle; n < conv.M2; ++n, o += conv.M1 * C)
                    filters.across(conv.horizontal + o * k, conv.horizontal_bias[o], y.plane(o), begin, end, sums[n]);
            }
            for (int64_t n = 0, o = middle; n < conv.M2; ++n, o += conv.M1 * C) mean.set(o, sums[n]);
        });
    }
}

inline void stem(const Stem &conv, const float *image, int64_t C, int64_t H, int64_t W, const Map &y, float *scratch) {
    constexpr int wide = 4;  // vectors at once
    const int64_t row = conv.row(W), half = row / 2;
    float *inputs = scratch, *middle = inputs + 3 * C * row;
    zero(scratch, conv.scratch(C, W));
    for (int64_t h = 0; h < y.H; ++h) {
        // Row 2 h - 1 was the last of those that the row above has read.
        for (int64_t t = h ? 1 : 0; t < 3; ++t)
            for (int64_t c = 0; c < C; ++c) {
                const int64_t at = 2 * h - 1 + t;
                float *to = inputs + ((2 * h + t) % 3 * C + c) * row;
                const float *from = image + (c * H + at) * W, scale = conv.scale[c], shift = conv.shift[c];
                if (at < 0 || at >= H)
                    zero(to, W);
                else
                    for (int64_t w = 0; w < W; ++w) to[w] = from[w] * scale + shift;
            }
        for (int64_t s = 0; s < conv.s1; ++s) {
            // A zero before the row, and behind it: places of even and of odd number apart.
            float *even = middle + s * row, *odd = even + half;
            for (int64_t v = 0; v < W; v += wide * L) {
                Floats sums[wide];
                for (int n = 0; n < wide; ++n) sums[n] = all(conv.vertical_bias[s]);
                for (int64_t t = 0; t < 3; ++t)
                    for (int64_t c = 0; c < C; ++c) {
                        const Floats w = all(conv.vertical[(s * C + c) * 3 + t]);
                        const float *from = inputs + ((2 * h + t) % 3 * C + c) * row + v;
                        for (int n = 0; n < wide; ++n) sums[n] += w * vector_at(from + n * L);
                    }
                for (int n = 0; n < wide; n += 2) {
                    const Floats both[2] = {first(sums[n], W - v - n * L), first(sums[n + 1], W - v - (n + 1) * L)};
                    store(odd + (v + n * L) / 2, gathered(both, counted<0, 2>()));
                    store(even + 1 + (v + n * L) / 2, gathered(both, counted<1, 2>()));
                }
            }
        }
        for (int64_t s = 0; s < conv.s1; ++s) {
            const float *even = middle + s * row, *odd = even + half;
            for (int64_t o = s * conv.s2; o < (s + 1) * conv.s2; ++o) {
                const Floats left = all(conv.horizontal[o * 3]), centre = all(conv.horizontal[o * 3 + 1]),
                             right = all(conv.horizontal[o * 3 + 2]), bias = all(conv.horizontal_bias[o]);
                for (int64_t v = 0; v < y.W; v += L)
                    store(y.plane(o) + h * y.W + v,
                          clamped(bias + left * vector_at(even + v) + centre * vector_at(odd + v) +
                                      right * vector_at(even + v + 1), conv.range));
            }
        }
    }
}

#include "convolution.h"

inline Floats hard_swish(Floats x) { return x * clamped(x + 3, {0, 6}) / 6; }

template <typename T>
inline void linear_of(const T *weights, const Linear &layer, const float *x, float *y) {
    constexpr int wide = TILE / L, unrolled = wide >= 8 ? 1 : 8 / wide;
    for (int64_t o = 0; o < layer.outputs; o += TILE) {
        const T *w = weights + o * layer.inputs;
        Floats sums[unrolled][wide] = {};
        int64_t i = 0;
        for (; i + unrolled <= layer.inputs; i += unrolled)
            for (int u = 0; u < unrolled; ++u)
                for (int v = 0; v < wide; ++v) sums[u][v] += all(x[i + u]) * load<Floats>(w + (i + u) * TILE + v * L);
        for (; i < layer.inputs; ++i)
            for (int v = 0; v < wide; ++v) sums[0][v] += all(x[i]) * load<Floats>(w + i * TILE + v * L);
        for (int v = 0; v < wide; ++v) {
            Floats value = vector_at(layer.bias + o + v * L);
            for (int u = 0; u < unrolled; ++u) value += sums[u][v];
            if (layer.swish) value = hard_swish(value);
            value = clamped(value, layer.range);
            if (layer.start) value += vector_at(layer.start + o + v * L);
            store(y + o + v * L, value);
        }
    }
}

inline void linear(const Linear &layer, const float *x, float *y) {
    if (layer.halves)
        linear_of(static_cast<const bfloat16 *>(layer.w), layer, x, y);
    else
        linear_of(static_cast<const float *>(layer.w), layer, x, y);
}

inline void pool(const Map &x, const Range &range, bool swish, float *y) {
    const Means mean(y, x);
    for (int64_t c = 0; c < x.C; ++c) {
        Floats sum{};
        for (int64_t p = 0; p < x.size(); p += L) sum += first(clamped(vector_at(x.plane(c) + p), range), x.size() - p);
        mean.set(c, sum);
    }
    if (swish)
        for (int64_t c = 0; c < x.C; c += L) store(y + c, hard_swish(vector_at(y + c)));
}

// min(e / (3 mean(e)), 1) with e = exp((x - max(x)) / temperature), of one plane.
inline void attend(const Map &x, float temperature, float *y) {
    float largest = x.data[0], sum = 0;
    for (int64_t p = 1; p < x.size(); ++p) largest = x.data[p] > largest ? x.data[p] : largest;
    for (int64_t p = 0; p < x.size(); ++p) sum += y[p] = expf((x.data[p] - largest) / temperature);
    const float scale = x.size() / (3 * sum);
    for (int64_t p = 0; p < x.size(); ++p) y[p] = y[p] * scale < 1 ? y[p] * scale : 1;
}

// Every value of a row twice, or, of a smooth one, a quarter of the way to its neighbours; that of the border is its own.
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

// (C, H, W) to (C, 2 H, 2 W).
inline void doubled(const Map &x, bool smooth, const Map &y, float *scratch) {
    for (int64_t c = 0; c < x.C; ++c)
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

inline void picked(const Map &x, const int32_t *rows, const int32_t *columns, const Map &y) {
    for (int64_t c = 0; c < y.C; ++c)
        for (int64_t h = 0; h < y.H; ++h) {
            const float *from = x.plane(c) + rows[h] * x.W;
            float *to = y.plane(c) + h * y.W;
            for (int64_t w = 0; w < y.W; ++w) to[w] = from[columns[w]];
        }
}

extern const Kernels kernels;
const Kernels kernels = {
    [](const Pointwise &conv, const Source &source, const Map &y, const Map &added, float *mean) {
        with(source, [&](const auto &read) { pointwise(conv, read, y, added, Means(mean, y)); });
    },
    [](const Source &source, const Range &range, const Map &y, const Map &added, float *mean) {
        with(source, [&](const auto &read) { elementwise(read, range, y, added, Means(mean, y)); });
    },
    [](const Lines &conv, const Source &source, const Pointwise *expand, const Map &y, float *mean, float *scratch) {
        const auto run = conv.k == 3 ? lines<3> : conv.k == 5 ? lines<5> : lines<7>;
        run(conv, Plain{source}, expand, y, Means(mean, y), scratch);
    },
    stem, convolution, pool, linear, attend, doubled, picked};

}  // namespace PLAN_TARGET
}  // namespace plan
