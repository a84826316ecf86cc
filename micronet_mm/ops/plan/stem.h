// The first convolutions, applied to an image. In the namespace of kernels.cpp.
#pragma once

// Compute one row of `channels` middle channels, with a zero before and after it. Even and odd places are stored
// separately.
template <int channels>
INLINE void vertical(const float *const *from, int64_t inputs, const float *w, const float *bias, int64_t W, float *to,
                     int64_t row) {
    for (int64_t v = 0; v < W; v += 2 * L) {
        Floats sums[channels][2];
        for (int s = 0; s < channels; ++s) sums[s][0] = sums[s][1] = all(bias[s]);
        for (int64_t i = 0; i < inputs; ++i) {
            const Floats values[2] = {vector_at(from[i] + v), vector_at(from[i] + v + L)};
            for (int s = 0; s < channels; ++s)
                for (int n = 0; n < 2; ++n) sums[s][n] += all(w[s * inputs + i]) * values[n];
        }
        for (int s = 0; s < channels; ++s) {
            const Floats both[2] = {first(sums[s][0], W - v), first(sums[s][1], W - v - L)};
            store(to + s * row + row / 2 + v / 2, gathered(both, counted<0, 2>()));
            store(to + s * row + 1 + v / 2, gathered(both, counted<1, 2>()));
        }
    }
}

inline void stem(const Stem &conv, const float *image, int64_t C, int64_t H, int64_t W, const Map &y, float *scratch,
                 Share share) {
    constexpr int CHANNELS = 4;  // middle channels at a time
    const int64_t row = conv.row(W), half = row / 2, rows = y.H, places = y.W;
    const Floats low = all(conv.range.low), high = all(conv.range.high);
    float *const inputs = scratch + conv.pointers(C), *const middle = inputs + 3 * C * row;
    const float **const from = reinterpret_cast<const float **>(scratch);  // input rows, in weight order
    zero(inputs, (3 * C + conv.s1 + 1) * row);
    for (int64_t h = 0; h < rows; ++h) {
        // Row 2 h - 1 is already loaded: it was the last input row of the previous output row.
        for (int64_t t = h ? 1 : 0; t < 3; ++t)
            for (int64_t c = 0; c < C; ++c) {
                const int64_t at = 2 * h - 1 + t;
                float *to = inputs + ((2 * h + t) % 3 * C + c) * row;
                const float *pixels = image + (c * H + at) * W, scale = conv.scale[c], shift = conv.shift[c];
                if (at < 0 || at >= H)
                    zero(to, W);
                else
                    for (int64_t w = 0; w < W; ++w) to[w] = pixels[w] * scale + shift;
            }
        for (int64_t t = 0; t < 3; ++t)
            for (int64_t c = 0; c < C; ++c) from[c * 3 + t] = inputs + ((2 * h + t) % 3 * C + c) * row;
        for (int64_t s = share.begin(conv.s1), end = share.end(conv.s1); s < end; s += CHANNELS)
            with_number<CHANNELS>(end - s < CHANNELS ? end - s : CHANNELS, [&](auto channels) {
                vertical<decltype(channels)::value>(from, 3 * C, conv.vertical + s * 3 * C, conv.vertical_bias + s, W,
                                                    middle + s * row, row);
            });
        for (int64_t s = share.begin(conv.s1); s < share.end(conv.s1); ++s) {
            const float *even = middle + s * row, *odd = even + half;
            for (int64_t o = s * conv.s2; o < (s + 1) * conv.s2; ++o) {
                const Floats left = all(conv.horizontal[o * 3]), centre = all(conv.horizontal[o * 3 + 1]),
                             right = all(conv.horizontal[o * 3 + 2]), bias = all(conv.horizontal_bias[o]);
                float *const to = y.plane(o) + h * places;
                for (int64_t v = 0; v < places; v += L)
                    store(to + v, clamped(bias + left * vector_at(even + v) + centre * vector_at(odd + v) +
                                              right * vector_at(even + v + 1), low, high));
            }
        }
    }
}
