// Readers of maps, and the means of written maps. In the namespace of kernels.cpp.
#pragma once

// Compute the mean of each plane while it is written, if requested.
struct Means {
    float *to;  // (C) or null
    float factor;
    INLINE Means(float *to, const Map &y) : to(to), factor(1.0f / y.size()) {}
    INLINE void set(int64_t c, Floats sum) const {
        if (to) to[c] = total(sum) * factor;
    }
    // Add the sum of a part of the plane. `before` is 0 for the first part.
    INLINE void add(int64_t c, Floats sum, int64_t before) const {
        if (to) to[c] = (before ? to[c] : 0) + total(sum) * factor;
    }
};

// Reads channels directly.
struct Plain {
    const Source &source;

    struct Channel {
        const float *from;
        Floats operator()(int64_t p) const { return vector_at(from + p); }
    };
    Channel at(int64_t i) const { return {source.x.plane(source.order ? source.order[i] : i)}; }
    // Values [begin, begin + count) of channel i, computed in `room` if needed. Channel `next` is read next.
    const float *values(int64_t i, int64_t, int64_t begin, int64_t, float *) const { return at(i).from + begin; }
};

// Reads channels through Shift-Max.
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
                best = k ? greater(best, sum) : sum;
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
    const float *values(int64_t i, int64_t next, int64_t begin, int64_t count, float *room) const {
        const Channel channel = at(i), ahead = at(next);
        for (int64_t p = 0; p < count; p += L) {
            for (int j = 0; j < J; ++j) __builtin_prefetch(ahead.from[j] + begin + p);
            store(room + p, channel(begin + p));
        }
        return room;
    }
};

// Call run(read) with the reader for this source.
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

template <typename Read>
void elementwise(const Read &read, const Range &range, const Map &y, const Map &added, const Means &mean, Share share) {
    const int64_t size = y.size();
    const float *const factor = read.source.factor;
    const Floats low = all(range.low), high = all(range.high);
    for (int64_t c = share.begin(y.C); c < share.end(y.C); ++c) {
        const auto channel = read.at(c);
        const float *const more = added.data ? added.plane(c) : nullptr;
        float *const to = y.plane(c);
        Floats sum{};
        for (int64_t p = 0; p < size; p += L) {
            Floats value = channel(p);
            if (factor) value *= vector_at(factor + p);
            value = clamped(value, low, high);
            if (more) value += vector_at(more + p);
            store(to + p, value);
            sum += first(value, size - p);
        }
        mean.set(c, sum);
    }
}
