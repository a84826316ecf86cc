// Vectors of floats, and operations on their lanes. In the namespace of kernels.cpp.
#pragma once

typedef typename Vector<float>::type Floats;
typedef typename Vector<int32_t>::type Ints;
constexpr int64_t L = LANES<float>;

INLINE Floats all(float value) { return value - Floats{}; }

// Lane by lane; b if a and b do not compare. On x86 this is one instruction. On ARM the code names the instruction,
// because GCC assumes that the intrinsic sets flags, and loads would wait for it.
INLINE Floats lesser(Floats a, Floats b) {
#ifdef __aarch64__
    asm("fminnm %0.4s, %1.4s, %2.4s" : "=w"(a) : "w"(a), "w"(b));
    return a;
#else
    return a < b ? a : b;
#endif
}
INLINE Floats greater(Floats a, Floats b) {
#ifdef __aarch64__
    asm("fmaxnm %0.4s, %1.4s, %2.4s" : "=w"(a) : "w"(a), "w"(b));
    return a;
#else
    return a > b ? a : b;
#endif
}
INLINE Floats clamped(Floats value, Floats low, Floats high) { return greater(lesser(value, high), low); }
INLINE Floats clamped(Floats value, const Range &range) { return clamped(value, all(range.low), all(range.high)); }
INLINE void zero(float *from, int64_t count) { std::memset(from, 0, count * sizeof(float)); }

// Lane l of the result is value places[l] of the vectors. Values are numbered through all vectors; their number is a
// power of two.
INLINE Floats gathered(const Floats (&from)[1], Ints places) {
#ifdef __aarch64__
    // Compilers emit one instruction for a constant order, but move other orders lane by lane. The table instruction
    // takes byte indices.
    if (!__builtin_constant_p(places[0]))
        return (Floats)vqtbl1q_u8((uint8x16_t)from[0], (uint8x16_t)((places & (L - 1)) * 0x04040404 + 0x03020100));
#endif
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
// start, start + step, ..., loaded from memory, because compilers do not optimize a loop that sets sixteen lanes.
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

// Set lanes from `count` on to zero.
INLINE Floats first(Floats value, int64_t count) {
    if (count >= L) return value;
    return (Floats)((Ints)value & (counted<0, 1>() < int32_t(count)));
}

// The sum of all lanes, in a logarithmic number of steps.
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

// Call run(Number<count>) for a count from 1 to most.
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
