// Vectors of the widest registers that the compiler may use.
#pragma once
#include <cstdint>

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
    typedef T loose __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
};
template <typename T>
constexpr int64_t LANES = VECTOR_BYTES / sizeof(T);

template <typename T>
inline typename Vector<T>::type load(const T *from) {
    return *(const typename Vector<T>::loose *)from;
}
template <typename T>
inline void store(T *to, typename Vector<T>::type value) {
    *(typename Vector<T>::loose *)to = value;
}
template <typename T>
inline T sum_of(typename Vector<T>::type value) {
    T sum = 0;
    for (int64_t l = 0; l < LANES<T>; ++l) sum += value[l];
    return sum;
}
