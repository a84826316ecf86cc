// 1 x 1 group convolutions. In the namespace of kernels.cpp.
#pragma once

constexpr int OUTPUTS = VECTOR_BYTES == 64 ? 12 : 6;  // outputs at a time; their sums stay in registers
#ifdef __aarch64__
constexpr int REGISTERS = 20;  // registers for sums, out of 32
#else
constexpr int REGISTERS = VECTOR_BYTES == 64 ? 24 : 12;
#endif

// Compute `outputs` outputs at `wide` vectors of positions, starting at p. The input channels begin at from[0],
// from[1], ... `apart` is the distance between the weights of consecutive inputs.
template <int outputs, int wide>
INLINE void accumulate(const float *const *from, int64_t inputs, const float *w, int64_t apart, int64_t p,
                       Floats (&sums)[outputs][wide]) {
    for (int o = 0; o < outputs; ++o)
        for (int v = 0; v < wide; ++v) sums[o][v] = Floats{};
    for (int64_t i = 0; i < inputs; ++i, w += apart) {
        const float *channel = from[i] + p;
        Floats values[wide];
        for (int v = 0; v < wide; ++v) values[v] = vector_at(channel + v * L);
        for (int o = 0; o < outputs; ++o)
            for (int v = 0; v < wide; ++v) sums[o][v] += all(w[o]) * values[v];
    }
}

// Turn sums into outputs: add bias and `added`, clamp, store, and compute means. Planes have the distance `pitch`.
// Loops take a copy of this structure. Otherwise the compiler must assume that a store changes it.
struct Finish {
    const float *bias, *factor, *added;
    float *y, *means;
    int64_t pitch, size;
    Range range;

    INLINE void operator()(Floats value, int64_t n, int64_t p, Floats &mean) const {
        if (factor) value *= vector_at(factor + p);
        value = clamped(value + all(bias[n]), range);
        if (added) value += vector_at(added + n * pitch + p);
        store(y + n * pitch + p, value);
        if (means) mean += first(value, size - p);
    }
};

template <int outputs, int wide>
INLINE void products(const float *const *from, int64_t inputs, const float *w, int64_t apart, int64_t p, int64_t begin,
                     const Finish &finish, Floats (&means)[outputs]) {
    Floats sums[outputs][wide];
    accumulate<outputs, wide>(from, inputs, w, apart, p, sums);
    for (int n = 0; n < outputs; ++n)
        for (int v = 0; v < wide; ++v) finish(sums[n][v], n, begin + p + v * L, means[n]);
}

// Compute `count` positions, starting at `begin`.
template <int outputs>
void outputs_of(const float *const *from, int64_t inputs, const float *w, int64_t apart, int64_t begin, int64_t count,
                Finish finish, float factor) {
    constexpr int wide = outputs * 4 <= REGISTERS ? 4 : outputs >= REGISTERS ? 1 : REGISTERS / outputs;
    Floats means[outputs] = {};
    int64_t p = 0;
    for (; p + wide * L <= count; p += wide * L) products<outputs, wide>(from, inputs, w, apart, p, begin, finish, means);
    for (; p < count; p += L) products<outputs, 1>(from, inputs, w, apart, p, begin, finish, means);
    if (finish.means)
        for (int n = 0; n < outputs; ++n) finish.means[n] = (begin ? finish.means[n] : 0) + total(means[n]) * factor;
}

template <typename Read>
void pointwise(const Pointwise &conv, const Read &read, const Map &y, const Map &added, const Means &mean, float *scratch,
               Share share) {
    const int64_t parts = (conv.outputs + OUTPUTS - 1) / OUTPUTS, end = rounded(y.size(), L), chunk = conv.chunk(y.size());
    const float **const from = reinterpret_cast<const float **>(scratch);
    float *const room = scratch + conv.pointers();
    // A thread takes parts of groups, so that several threads have work even with only one group.
    const int64_t first = share.begin(conv.groups * parts), last = share.end(conv.groups * parts);
    for (int64_t g = first / parts; g * parts < last; ++g)
        for (int64_t begin = 0; begin < end; begin += chunk) {
            const int64_t count = begin + chunk < end ? chunk : end - begin;
            for (int64_t i = 0; i < conv.inputs; ++i)
                from[i] = read.values(g * conv.inputs + i, g * conv.inputs + (i + 1) % conv.inputs, begin, count,
                                      room + i * chunk);
            for (int64_t part = 0; part < parts; ++part) {
                if (g * parts + part < first || g * parts + part >= last) continue;
                const int64_t o = part * conv.outputs / parts, next = (part + 1) * conv.outputs / parts;
                const int64_t c = g * conv.outputs + o;
                const Finish finish{conv.bias + c, read.source.factor, added.data ? added.plane(c) : nullptr, y.plane(c),
                                    mean.to ? mean.to + c : nullptr, y.pitch(), y.size(), conv.range};
                with_number<OUTPUTS>(next - o, [&](auto outputs) {
                    outputs_of<decltype(outputs)::value>(from, conv.inputs, conv.w + g * conv.inputs * conv.outputs + o,
                                                         conv.outputs, begin, count, finish, mean.factor);
                });
            }
        }
}
