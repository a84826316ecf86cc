// Convolutions over channels and places. In the namespace of kernels.cpp.
//
// A strip of the input is copied once. Its rows are stored in one line with zeros between them. Then each tap reads the
// same line with another offset. Outputs are computed for whole vectors of the line. Outputs at the zeros are dropped
// when rows are stored. The strip and its weights stay in the second cache. The sums of a part of the outputs stay in
// registers.
#pragma once

constexpr int64_t AHEAD = 768;  // prefetch distance of weights, in floats; they were last read long ago

// Compute `outputs` outputs at `wide` vectors of places, starting at p. `step` is the distance between the weights of
// consecutive taps.
template <int outputs, int wide>
INLINE void convolved(const Convolution &conv, const float *x, int64_t apart, const int64_t *taps, const float *w,
                      int64_t step, int64_t p, Floats (&sums)[outputs][wide]) {
    const int64_t count = conv.rows.k * conv.columns.k;
    for (int o = 0; o < outputs; ++o)
        for (int v = 0; v < wide; ++v) sums[o][v] = Floats{};
    x += p;
    for (int64_t i = 0; i < conv.inputs; ++i, x += apart)
        for (int64_t t = 0; t < count; ++t, w += step) {
            __builtin_prefetch(w + AHEAD);
            Floats values[wide];
            for (int v = 0; v < wide; ++v) values[v] = vector_at(x + taps[t] + v * L);
            for (int o = 0; o < outputs; ++o)
                for (int v = 0; v < wide; ++v) sums[o][v] += all(w[o]) * values[v];
        }
}

template <int outputs>
void part_of(const Convolution &conv, const float *x, int64_t apart, const int64_t *taps, const float *w, int64_t step,
             const float *bias, int64_t places, float *to, int64_t line) {
    constexpr int wide = outputs * 4 <= REGISTERS ? 4 : REGISTERS / outputs;
    const auto run = [&](auto number, int64_t p) {
        constexpr int n = decltype(number)::value;
        Floats sums[outputs][n];
        convolved<outputs, n>(conv, x, apart, taps, w, step, p, sums);
        for (int o = 0; o < outputs; ++o)
            for (int v = 0; v < n; ++v)
                store(to + o * line + p + v * L, clamped(sums[o][v] + all(bias[o]), conv.range));
    };
    int64_t p = 0;
    for (; p + wide * L <= rounded(places, L); p += wide * L) run(Number<wide>{}, p);
    for (; p < places; p += L) run(Number<1>{}, p);
}

// Copy `count` rows of a phase of a channel to a plane, starting at `row`, with zeros around them.
INLINE void strip_of(const Convolution &conv, const float *from, const Map &x, int64_t row, int64_t count, int64_t down,
                     int64_t across, int64_t pitch, float *to, int64_t plane) {
    const auto within = [=](int64_t place) { return place < pitch ? place : pitch; };
    const int64_t begin = within(conv.columns.first(across)), end = within(conv.columns.end(across, x.W));
    const int64_t stride = conv.columns.stride;
    float *const stop = to + plane;
    for (int64_t r = row; r < row + count; ++r, to += pitch) {
        const int64_t h = r * conv.rows.stride + down - conv.rows.before;
        if (h < 0 || h >= x.H || begin >= end) {
            zero(to, pitch);
            continue;
        }
        const float *values = from + h * x.W + across - conv.columns.before;
        zero(to, begin);
        if (stride == 1)
            std::memcpy(to + begin, values + begin, (end - begin) * sizeof(float));
        else
            for (int64_t c = begin; c < end; ++c) to[c] = values[c * stride];
        zero(to + end, pitch - end);
    }
    zero(to, stop - to);
}

inline void convolution(const Convolution &conv, const Map &x, const int32_t *order, const Map &y, const Map &added,
                        float *scratch, Share share) {
    // With narrow vectors only half a part fits into registers.
    constexpr int most = VECTOR_BYTES == 64 ? Convolution::PART : Convolution::PART / 2;
    const int64_t pitch = conv.pitch(x.W, y.W), plane = conv.plane(x, y), line = conv.line(x, y);
    const int64_t strip = conv.strip(x, y), apart = conv.phases() * plane, count = conv.rows.k * conv.columns.k;
    const int64_t parts = (conv.outputs + Convolution::PART - 1) / Convolution::PART;
    float *const read = scratch, *const made = scratch + conv.inputs * apart;
    int64_t taps[7 * 7];
    for (int64_t t = 0; t < count; ++t) {
        const int64_t down = t / conv.columns.k, across = t % conv.columns.k, stride = conv.rows.stride;
        taps[t] = (down % stride * conv.columns.phases() + across % conv.columns.stride) * plane + down / stride * pitch +
                  across / conv.columns.stride;
    }
    for (int64_t g = 0; g < conv.groups; ++g)
        for (int64_t row = 0; row < y.H; row += strip) {
            const int64_t rows = strip < y.H - row ? strip : y.H - row;
            for (int64_t i = 0; i < conv.inputs; ++i) {
                const int64_t c = g * conv.inputs + i;
                for (int64_t phase = 0; phase < conv.phases(); ++phase)
                    strip_of(conv, x.plane(order ? order[c] : c), x, row, rows + conv.rows.reach(),
                             phase / conv.columns.phases(), phase % conv.columns.phases(), pitch,
                             read + i * apart + phase * plane, plane);
            }
            for (int64_t part = share.begin(parts); part < share.end(parts); ++part) {
                const int64_t from = part * conv.outputs / parts, step = (part + 1) * conv.outputs / parts - from;
                const int64_t c = g * conv.outputs + from;
                const float *w = conv.w + c * conv.inputs * count;
                for (int64_t o = 0; o < step; o += most)
                    with_number<most>(step - o < most ? step - o : most, [&](auto outputs) {
                        part_of<decltype(outputs)::value>(conv, read, apart, taps, w + o, step, conv.bias + c + o,
                                                          rows * pitch, made + o * line, line);
                    });
                for (int64_t o = 0; o < step; ++o)
                    for (int64_t h = 0; h < rows; ++h)
                        for (int64_t v = 0; v < y.W; v += L) {
                            const int64_t at = (row + h) * y.W + v;
                            Floats value = vector_at(made + o * line + h * pitch + v);
                            if (added.data) value += vector_at(added.plane(c + o) + at);
                            store(y.plane(c + o) + at, value);
                        }
            }
        }
}
