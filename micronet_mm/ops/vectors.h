// Vectors for the widest registers that the compiler may use.
//
// The code uses vectors explicitly because compilers do not vectorize every loop, such as loops with a select for AVX2.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
#else
constexpr int VECTOR_BYTES = 16;
#endif

template <typename T>
struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES)));
};
template <typename T>
constexpr int64_t LANES = VECTOR_BYTES / sizeof(T);

// A value of 16 bits; computations use float.
struct bfloat16 {
    uint16_t bits;
};

// A vector of half the size: a vector of float, stored as bfloat16.
typedef uint16_t Halves __attribute__((vector_size(VECTOR_BYTES / 2)));
typedef typename Vector<uint32_t>::type Bits;

// V is a vector, or T for a single value.
template <typename V, typename T>
inline V load(const T *from) {
    V value;
    std::memcpy(&value, from, sizeof(V));
    return value;
}
template <typename V>
inline V load(const bfloat16 *from);
template <>
inline float load<float>(const bfloat16 *from) {
    const uint32_t bits = uint32_t(from->bits) << 16;
    return load<float>(&bits);
}
template <>
inline Vector<float>::type load<Vector<float>::type>(const bfloat16 *from) {
    const Bits bits = __builtin_convertvector(load<Halves>(&from->bits), Bits) << 16;
    return load<Vector<float>::type>(&bits);
}

template <typename T>
inline typename Vector<T>::type vector_at(const T *from) {
    return load<typename Vector<T>::type>(from);
}

template <typename T, typename V>
inline void store(T *to, V value) {
    std::memcpy(to, &value, sizeof(V));
}
// Round to nearest even; keep NaN.
inline void store(bfloat16 *to, float value) {
    const uint32_t bits = load<uint32_t>(&value), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    to->bits = value != value ? uint16_t(0x7fc0) : uint16_t(rounded);
}
inline void store(bfloat16 *to, Vector<float>::type value) {
    const Bits bits = load<Bits>(&value), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    const Bits nan = Bits{} + 0x7fc0;
    store(&to->bits, __builtin_convertvector(value != value ? nan : rounded, Halves));
}

template <typename T>
inline T sum_of(typename Vector<T>::type value) {
    T sum = 0;
    for (int64_t l = 0; l < LANES<T>; ++l) sum += value[l];
    return sum;
}

// Call body(zero, i) for the positions i of [0, count): first in steps of a vector, then one by one for the rest. zero
// is a vector or a single value.
template <typename T, typename F>
inline void in_vectors(int64_t count, F body) {
    int64_t i = 0;
    for (; i + LANES<T> <= count; i += LANES<T>) body(typename Vector<T>::type{}, i);
    for (; i < count; ++i) body(T(0), i);
}

// A sum of vectors and single values.
template <typename T>
struct Sums {
    typename Vector<T>::type lanes{};
    T rest = 0;

    void add(typename Vector<T>::type value) { lanes += value; }
    void add(T value) { rest += value; }
    T total() const { return sum_of<T>(lanes) + rest; }
};
