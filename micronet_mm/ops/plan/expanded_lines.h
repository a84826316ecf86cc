// A depthwise convolution behind an expanding one in vectors of channels: however short the rows, no lane is idle, and what
// the filters read needs no other order. Channels part into planes again when the result is written. In the namespace of
// kernels.cpp.
#pragma once

// From each `of` lanes of two vectors by turns `width`, from the lower half or the upper one.
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

// Of L vectors, value l of vector i becomes value i of vector l: within blocks of 4 x 4 values first, and then the blocks.
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

// A row of L channels from the values `from` of each input; `apart` are the weights of an input from those of the next.
INLINE void expand_row(const float *const *from, int64_t inputs, const float *w, int64_t apart, Floats bias,
                       const Range &range, int64_t W, float *to) {
    constexpr int most = 8;  // places at once
    for (int64_t begin = 0, left = (W + most - 1) / most; left > 0; --left) {
        const int64_t count = (W - begin + left - 1) / left;
        with_number<most>(count, [=](auto number) {
            constexpr int wide = decltype(number)::value;
            Floats sums[wide];
            for (int v = 0; v < wide; ++v) sums[v] = bias;
            for (int64_t i = 0; i < inputs; ++i) {
                const float *values = from[i] + begin;
                const Floats weight = vector_at(w + i * apart);
                for (int v = 0; v < wide; ++v) sums[v] += all(values[v]) * weight;
            }
            for (int v = 0; v < wide; ++v) store(to + (begin + v) * L, clamped(sums[v], range));
        });
        begin += count;
    }
}

// Channels c to c + L, which w and from are for.
template <int k, int stride>
INLINE void filter_channels(const Lines &conv, const Pointwise &expand, const float *w, const float **from, int64_t c,
                            const Map &x, const Map &y, const Means &mean, float *scratch) {
    constexpr int margin = k / 2;
    const int64_t C = y.C, H = y.H, W = y.W, rows = x.H, row = x.W * L, inputs = expand.inputs, apart = expand.outputs;
    const Range range = conv.range, hidden_range = expand.range;
    float *const zeros = scratch, *const hidden = zeros + row, *const middle = hidden + k * row,
                 *const out = middle + (k - 1) * L + row;
    float *planes[L];
    for (int64_t l = 0; l < L; ++l) planes[l] = y.plane(c + l);
    Floats down[k], across[k], sum{};
    for (int t = 0; t < k; ++t) down[t] = vector_at(conv.vertical + t * C + c), across[t] = vector_at(conv.horizontal + t * C + c);
    const Floats hidden_bias = vector_at(expand.bias + c), down_bias = vector_at(conv.vertical_bias + c),
                 bias = vector_at(conv.horizontal_bias + c);
    int64_t made = 0;  // rows of what is hidden
    for (int64_t begin = 0; begin < H; begin += L) {
        const int64_t end = begin + L < H ? begin + L : H;
        float *to = out;
        for (int64_t h = begin; h < end; ++h) {
            const int64_t top = h * stride - margin;
            for (; made < rows && made < top + k; ++made) {
                expand_row(from, inputs, w, apart, hidden_bias, hidden_range, x.W, hidden + made % k * row);
                for (int64_t i = 0; i < inputs; ++i) from[i] += x.W;
            }
            const float *read[k];
            for (int t = 0; t < k; ++t) read[t] = top + t < 0 || top + t >= rows ? zeros : hidden + (top + t) % k * row;
            for (int64_t p = 0; p < row; p += L) {
                Floats value = down_bias;
                for (int t = 0; t < k; ++t) value += down[t] * vector_at(read[t] + p);
                store(middle + margin * L + p, value);
            }
            for (int64_t v = 0; v < W; ++v, to += L) {
                Floats value = bias;
                for (int t = 0; t < k; ++t) value += across[t] * vector_at(middle + (v * stride + t) * L);
                value = clamped(value, range);
                store(to, value);
                sum += value;
            }
        }
        for (int64_t p = begin * W, done = 0; p < end * W; p += L, done += L) {
            Floats values[L];
            for (int64_t l = 0; l < L; ++l) values[l] = vector_at(out + (done + l) * L);
            transpose(values);
            for (int64_t l = 0; l < L; ++l) store(planes[l] + p, values[l]);
        }
    }
    if (mean.to) store(mean.to + c, sum * all(mean.factor));
}

template <int k, int stride>
void expanded_lines(const Lines &conv, const Pointwise &expand, const Plain &read, const Map &y, const Means &mean,
                    float *scratch, Share share) {
    const Map &x = read.source.x;
    const float **const from = reinterpret_cast<const float **>(scratch);
    scratch += expand.pointers();
    zero(scratch, ((k + 2) * x.W + k - 1) * L);
    for (int64_t g = share.begin(expand.groups); g < share.end(expand.groups); ++g)
        for (int64_t o = 0; o < expand.outputs; o += L) {
            // The last vector begins earlier if there are fewer channels left.
            const int64_t first = o + L <= expand.outputs ? o : expand.outputs - L;
            for (int64_t i = 0; i < expand.inputs; ++i) from[i] = read.at(g * expand.inputs + i).from;
            filter_channels<k, stride>(conv, expand, expand.w + g * expand.inputs * expand.outputs + first, from,
                                       g * expand.outputs + first, x, y, mean, scratch);
        }
}
