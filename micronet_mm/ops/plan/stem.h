// The first convolutions, of an image. In the namespace of kernels.cpp.
#pragma once

inline void stem(const Stem &conv, const float *image, int64_t C, int64_t H, int64_t W, const Map &y, float *scratch,
                 Share share) {
    constexpr int wide = 4;  // vectors at once
    const int64_t row = conv.row(W), half = row / 2, rows = y.H, places = y.W;
    const Floats low = all(conv.range.low), high = all(conv.range.high);
    float *const inputs = scratch + conv.pointers(C), *const middle = inputs + 3 * C * row;
    const float **const from = reinterpret_cast<const float **>(scratch);  // rows that an output row reads, as weights lie
    zero(inputs, (3 * C + conv.s1 + 1) * row);
    for (int64_t h = 0; h < rows; ++h) {
        // Row 2 h - 1 was the last of those that the row above has read.
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
        for (int64_t s = share.begin(conv.s1); s < share.end(conv.s1); ++s) {
            // A zero before the row, and behind it: places of even and of odd number apart.
            float *even = middle + s * row, *odd = even + half;
            const float *const vertical = conv.vertical + s * C * 3;
            const Floats bias = all(conv.vertical_bias[s]);
            for (int64_t v = 0; v < W; v += wide * L) {
                Floats sums[wide];
                for (int n = 0; n < wide; ++n) sums[n] = bias;
                for (int64_t i = 0; i < 3 * C; ++i)
                    for (int n = 0; n < wide; ++n) sums[n] += all(vertical[i]) * vector_at(from[i] + v + n * L);
                for (int n = 0; n < wide; n += 2) {
                    const Floats both[2] = {first(sums[n], W - v - n * L), first(sums[n + 1], W - v - (n + 1) * L)};
                    store(odd + (v + n * L) / 2, gathered(both, counted<0, 2>()));
                    store(even + 1 + (v + n * L) / 2, gathered(both, counted<1, 2>()));
                }
            }
        }
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
