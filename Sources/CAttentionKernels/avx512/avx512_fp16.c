// Products of fp16 numbers (AVX512_FP16): 32 an instruction.
#if defined(__x86_64__)
#include "avx512_shape.h"
#pragma clang attribute push(                                                                \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx512vnni,avx512fp16"))), \
    apply_to = function)
#include "avx512_scaled.h"
#define ATTN_HAS_HALVES
// Spelled out: the compiler would add onto a factor that is no longer needed and copy the sum back.
static inline __attribute__((always_inline)) __m512 half_fma(__m512 acc, __m512 a, __m512 b) {
  __asm__("vfmadd231ph %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
  return acc;
}
#define ATTN_HALF_FMA(acc, a, b) ((vf)half_fma((__m512)(acc), (__m512)(a), (__m512)(b)))
#define ATTN_HALF_ADD(a, b) ((vf)_mm512_add_ph((__m512h)(a), (__m512h)(b)))
#include "../template/scaled_kernels.h"
#pragma clang attribute pop
#endif
