// Depthwise convolutions, vertical and then horizontal. In the namespace of kernels.cpp.
#pragma once

// Short rows stay in registers. Each tap of the horizontal filter reads the lanes in a different order.
template <int k, int n>
struct Narrow {
    // Whether a row fits in n vectors. One vector can hold several short rows.
    static bool fits(const Map &x) { return x.W <= n * L; }

    const Lines &conv;
    const Map &x, &y;
    const int64_t rows, outputs;  // input rows at a time, vectors for their output rows
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

    INLINE void run(const float *padded, int64_t middle, int64_t o, Floats &sum) const {
        Floats down[k], taps[n][k];
        for (int t = 0; t < k; ++t) down[t] = all(conv.down(t, middle));
        const Floats bias = all(conv.horizontal_bias[o]);
        float *const to = y.plane(o);
        for (int64_t v = 0; v < outputs; ++v)
            for (int t = 0; t < k; ++t) taps[v][t] = (Floats)((Ints)all(conv.across(t, o)) & kept[v][t]);
        for (int64_t h = 0; h < y.H; h += rows) {
            const float *from = padded + h * conv.stride * x.W;
            Floats values[n];
            for (int v = 0; v < n; ++v) {
                values[v] = all(conv.vertical_bias[middle]);
                for (int t = 0; t < k; ++t) values[v] += down[t] * vector_at(from + t * x.W + v * L);
            }
            const int64_t count = (rows < y.H - h ? rows : y.H - h) * y.W;
            for (int64_t v = 0; v < outputs; ++v) {
                Floats value = bias;
                for (int t = 0; t < k; ++t) value += taps[v][t] * gathered(values, places[v][t]);
                value = clamped(value, conv.range);
                store(to + h * y.W + v * L, value);
                sum += first(value, count - v * L);
            }
        }
    }
};

// Longer rows are stored in a buffer with zeros on both sides. With stride 2, even and odd places are stored
// separately.
template <int k>
struct Wide {
    const Lines &conv;
    const Map &x, &y;
    const int64_t pitch, half;
    const float *const zeros;
    float *const buffer;

    Wide(const Lines &conv, const Map &x, const Map &y, const float *zeros, float *buffer)
        : conv(conv), x(x), y(y), pitch(conv.row(x)), half(pitch / 2), zeros(zeros), buffer(buffer) {}

    INLINE void down(const float *plane, int64_t middle, int64_t begin, int64_t end) const {
        constexpr int margin = k / 2;
        const int64_t H = x.H, W = x.W, stride = conv.stride, pitch = this->pitch;
        const float *const zeros = this->zeros;
        Floats taps[k];
        for (int t = 0; t < k; ++t) taps[t] = all(conv.down(t, middle));
        const Floats bias = all(conv.vertical_bias[middle]);
        float *row = buffer;
        // Place i + margin of the padded row has the parity of i if the margin is even.
        float *first_half = margin % 2 ? row + half + (margin - 1) / 2 : row + margin / 2;
        float *second_half = margin % 2 ? row + (margin + 1) / 2 : row + half + margin / 2;
        for (int64_t h = begin; h < end; ++h, row += pitch, first_half += pitch, second_half += pitch) {
            const float *from[k];
            for (int t = 0; t < k; ++t) {
                const int64_t at = h * stride + t - margin;
                from[t] = at < 0 || at >= H ? zeros : plane + at * W;
            }
            const auto value = [&](int64_t v) {
                Floats sum = bias;
                for (int t = 0; t < k; ++t) sum += taps[t] * vector_at(from[t] + v);
                return first(sum, W - v);
            };
            if (stride == 1) {
                for (int64_t v = 0; v < W; v += L) store(row + margin + v, value(v));
                continue;
            }
            for (int64_t v = 0; v < W; v += 2 * L) {
                const Floats both[2] = {value(v), v + L < W ? value(v + L) : Floats{}};
                store(first_half + v / 2, gathered(both, counted<0, 2>()));
                store(second_half + v / 2, gathered(both, counted<1, 2>()));
            }
        }
    }

    INLINE void across(int64_t o, int64_t begin, int64_t end, Floats &sum) const {
        const int64_t W = y.W, pitch = this->pitch;
        const Floats low = all(conv.range.low), high = all(conv.range.high), bias = all(conv.horizontal_bias[o]);
        Floats taps[k], found = sum;
        int64_t places[k];
        for (int t = 0; t < k; ++t) {
            taps[t] = all(conv.across(t, o));
            places[t] = conv.stride == 1 ? t : t % 2 * half + t / 2;
        }
        const float *row = buffer;
        float *to = y.plane(o) + begin * W;
        for (int64_t h = begin; h < end; ++h, row += pitch, to += W)
            for (int64_t v = 0; v < W; v += L) {
                Floats value = bias;
                for (int t = 0; t < k; ++t) value += taps[t] * vector_at(row + places[t] + v);
                value = clamped(value, low, high);
                store(to + v, value);
                found += first(value, W - v);
            }
        sum = found;
    }
};

template <int k>
void lines(const Lines &conv, const Plain &read, const Map &y, const Means &mean, float *scratch, Share share) {
    const Map &x = read.source.x;
    const int64_t C = x.C, size = x.size(), between = conv.middle();
    float *const padded = scratch, *const rows = scratch + conv.padded(x);
    const auto narrow = [&](const auto &filters) {
        zero(padded, conv.padded(x));
        for (int64_t c = share.begin(C); c < share.end(C); ++c) {
            std::memcpy(padded + k / 2 * x.W, read.at(c).from, size * sizeof(float));
            for (int64_t o = c; o < y.C; o += C) {
                Floats sum{};
                filters.run(padded, o % between, o, sum);
                mean.set(o, sum);
            }
        }
    };
    // Only the widest instructions permute two vectors at once.
    if (Narrow<k, 1>::fits(x)) {
        narrow(Narrow<k, 1>(conv, x, y));
    } else if (VECTOR_BYTES == 64 && Narrow<k, 2>::fits(x)) {
        narrow(Narrow<k, 2>(conv, x, y));
    } else {
        const Wide<k> filters(conv, x, y, padded, rows);
        zero(padded, rounded(x.W, L)), zero(rows, Lines::ROWS * conv.row(x));
        for (int64_t c = share.begin(C); c < share.end(C); ++c)
            for (int64_t begin = 0; begin < y.H; begin += Lines::ROWS) {
                const int64_t end = begin + Lines::ROWS < y.H ? begin + Lines::ROWS : y.H;
                for (int64_t m = c; m < between; m += C) {
                    filters.down(read.at(c).from, m, begin, end);
                    for (int64_t o = m; o < y.C; o += between) {
                        Floats sum{};
                        filters.across(o, begin, end, sum);
                        mean.add(o, sum, begin);
                    }
                }
            }
    }
}
