// A depthwise convolution after an expanding convolution, in vectors of channels. No lane is idle, even for short rows,
// and the filters need no permutation of lanes. The result is written back as one plane per channel. In the namespace
// of kernels.cpp.
#pragma once

// Lane indices that interleave two vectors. In each block of `of` lanes, take `width` lanes from each vector in turn,
// from the lower or upper half.
template <int width, int of, bool upper>
struct Zipped {
    int32_t lanes[L];
    constexpr Zipped() : lanes{} {
        for (int l = 0; l < L; ++l) {
            const int within = l % of, pair = within / (2 * width), second = within / width % 2;
            lanes[l] = second * L + l / of * of + upper * of / 2 + pair * width + within % width;
        }
    }
};
template <int width, int of>
INLINE void zip(Floats &lower, Floats &upper) {
    static constexpr Zipped<width, of, false> low;
    static constexpr Zipped<width, of, true> high;
    const Floats both[2] = {lower, upper};
    lower = gathered(both, vector_at(low.lanes)), upper = gathered(both, vector_at(high.lanes));
}

// Transpose L vectors: value l of vector i becomes value i of vector l. First transpose 4 x 4 blocks, then exchange
// blocks.
INLINE void transpose(Floats (&rows)[L]) {
    for (int64_t r = 0; r < L; r += 4) {
        zip<1, 4>(rows[r], rows[r + 2]), zip<1, 4>(rows[r + 1], rows[r + 3]);
        zip<1, 4>(rows[r], rows[r + 1]), zip<1, 4>(rows[r + 2], rows[r + 3]);
    }
    for (int64_t j = 0; j < 4; ++j) {
        if constexpr (L == 16) zip<4, L>(rows[j], rows[j + 8]), zip<4, L>(rows[j + 4], rows[j + 12]);
        if constexpr (L >= 8) zip<4, L>(rows[j], rows[j + 4]);
        if constexpr (L == 16) zip<4, L>(rows[j + 8], rows[j + 12]);
    }
}

// Number of vectors of channels, and of places, at a time. The sums stay in registers and are enough to hide the
// latency of additions.
constexpr int SIDE_BY_SIDE = 2, PLACES = VECTOR_BYTES == 64 ? 8 : 5;

// Compute `count` places for vectors of channels from the values `from` of each input. `pitch` is the distance between
// vectors of the output. `apart` is the distance between the weights of consecutive inputs.
template <int vectors>
INLINE void expand(const float *const *from, int64_t inputs, const float *w, int64_t apart, const Floats (&bias)[vectors],
                   const Range &range, int64_t count, float *to, int64_t pitch) {
    const auto some = [=](auto number, int64_t begin) {
        constexpr int places = decltype(number)::value;
        Floats sums[vectors][places];
        for (int n = 0; n < vectors; ++n)
            for (int v = 0; v < places; ++v) sums[n][v] = bias[n];
        for (int64_t i = 0; i < inputs; ++i) {
            const float *values = from[i] + begin;
            Floats weights[vectors];
            for (int n = 0; n < vectors; ++n) weights[n] = vector_at(w + i * apart + n * L);
            for (int v = 0; v < places; ++v)
                for (int n = 0; n < vectors; ++n) sums[n][v] += all(values[v]) * weights[n];
        }
        for (int n = 0; n < vectors; ++n)
            for (int v = 0; v < places; ++v) store(to + n * pitch + (begin + v) * L, clamped(sums[n][v], range));
    };
    int64_t p = 0;
    for (; p + PLACES <= count; p += PLACES) some(Number<PLACES>{}, p);
    with_number<PLACES - 1>(count - p, [=](auto left) { some(left, p); });
}

// Filter a vector of channels, starting at channel c. `hidden` has rows of `places` places, including the rows above
// and below. The result is `count` rows of W places in planes with distance `apart`. Return the sums of the planes.
template <int k, int stride>
INLINE Floats filter(const Lines &conv, int64_t c, const float *hidden, int64_t places, int64_t count, int64_t W,
                     float *middle, float *out, float *planes, int64_t apart) {
    constexpr int margin = k / 2;
    const int64_t C = conv.C, row = places * L, pitch = row + (k - 1) * L;
    Floats taps[k];
    for (int t = 0; t < k; ++t) taps[t] = vector_at(conv.vertical + t * C + c);
    Floats bias = vector_at(conv.vertical_bias + c);
    float *between = middle + margin * L;
    for (int64_t h = 0; h < count; ++h, hidden += stride * row, between += pitch)
        for (int64_t p = 0; p < row; p += L) {
            Floats value = bias;
            for (int t = 0; t < k; ++t) value += taps[t] * vector_at(hidden + t * row + p);
            store(between + p, value);
        }
    for (int t = 0; t < k; ++t) taps[t] = vector_at(conv.horizontal + t * C + c);
    bias = vector_at(conv.horizontal_bias + c);
    const Floats low = all(conv.range.low), high = all(conv.range.high);
    Floats sum{};
    float *to = out;
    for (int64_t h = 0, done = 0; h < count; ++h, middle += pitch) {
        for (int64_t v = 0; v < W; ++v, to += L) {
            Floats value = bias;
            for (int t = 0; t < k; ++t) value += taps[t] * vector_at(middle + (v * stride + t) * L);
            value = clamped(value, low, high);
            store(to, value);
            sum += value;
        }
        // Transpose as soon as L places are ready, while the next row is computed.
        for (const int64_t ready = h + 1 < count ? (h + 1) * W - L : count * W - 1; done <= ready; done += L, out += L * L) {
            Floats values[L];
            for (int64_t l = 0; l < L; ++l) values[l] = vector_at(out + l * L);
            transpose(values);
            for (int64_t l = 0; l < L; ++l) store(planes + l * apart + done, values[l]);
        }
    }
    return sum;
}

// Filter `vectors` vectors of channels, starting at channel c, in strips of rows. `w` and `from` belong to these
// channels. The rows of the previous strip that the filters still need are kept.
template <int k, int stride, int vectors>
INLINE void filter_channels(const Lines &conv, const Pointwise &expanding, const float *w, const float **from, int64_t c,
                            const Map &x, const Map &y, const Means &mean, float *scratch) {
    const int64_t H = y.H, W = y.W, strip = conv.strip(x, L), row = x.W * L, room = ((strip - 1) * stride + k) * row;
    float *const middle = scratch, *const hidden = middle + strip * (row + (k - 1) * L), *const out = hidden + vectors * room;
    Floats biases[vectors], sums[vectors] = {};
    for (int n = 0; n < vectors; ++n) biases[n] = vector_at(expanding.bias + c + n * L);
    for (int64_t begin = 0, made = 0; begin < H; begin += strip) {
        const int64_t count = strip < H - begin ? strip : H - begin, top = begin * stride - k / 2;
        const int64_t bottom = top + (count - 1) * stride + k, end = bottom < x.H ? bottom : x.H;
        for (int n = 0; n < vectors; ++n) {
            float *const rows = hidden + n * room;
            if (begin)
                std::memmove(rows, rows + strip * stride * row, (made - top) * row * sizeof(float));
            else
                zero(rows, -top * row);
            zero(rows + (end - top) * row, (bottom - end) * row);
        }
        expand<vectors>(from, expanding.inputs, w, expanding.outputs, biases, expanding.range, (end - made) * x.W,
                        hidden + (made - top) * row, room);
        for (int64_t i = 0; i < expanding.inputs; ++i) from[i] += (end - made) * x.W;
        made = end;
        for (int n = 0; n < vectors; ++n)
            sums[n] += filter<k, stride>(conv, c + n * L, hidden + n * room, x.W, count, W, middle, out,
                                         y.plane(c + n * L) + begin * W, y.pitch());
    }
    for (int n = 0; n < vectors; ++n)
        if (mean.to) store(mean.to + c + n * L, sums[n] * all(mean.factor));
}

template <int k, int stride>
void expanded_lines(const Lines &conv, const Pointwise &expand, const Plain &read, const Map &y, const Means &mean,
                    float *scratch, Share share) {
    const Map &x = read.source.x;
    const int64_t inputs = expand.inputs, outputs = expand.outputs, most = outputs / L < SIDE_BY_SIDE ? 1 : SIDE_BY_SIDE;
    const float **const from = reinterpret_cast<const float **>(scratch);
    scratch += expand.pointers();
    zero(scratch, conv.strip(x, L) * (x.W + k - 1) * L);
    for (int64_t g = share.begin(expand.groups); g < share.end(expand.groups); ++g)
        for (int64_t o = 0; o < outputs; o += most * L)
            with_number<SIDE_BY_SIDE>(outputs - o <= L ? 1 : most, [&](auto vectors) {
                constexpr int count = decltype(vectors)::value;
                // If fewer channels are left, the last vectors begin earlier.
                const int64_t first = o + count * L <= outputs ? o : outputs - count * L;
                for (int64_t i = 0; i < inputs; ++i) from[i] = read.at(g * inputs + i).from;
                filter_channels<k, stride, count>(conv, expand, expand.w + g * inputs * outputs + first, from,
                                                  g * outputs + first, x, y, mean, scratch);
            });
}
