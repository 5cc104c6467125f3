// AVX-512: 32 registers of 16 floats; a tile of 8 x 3 accumulators, 3 operands and a broadcast.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma"))), \
                             apply_to = function)
#define ATTN_NAME avx512
#define ATTN_W 16
#define ATTN_VECTORS 3
#define ATTN_TILE 8
// Without this the compiler folds the broadcast into each of the three multiply-adds that use it
// (an embedded broadcast), and the loop is bound by loads.
#define ATTN_KEEP(x) __asm__("" : "+v"(x))
// x - floor(x) and p * 2^floor(x) are one instruction each; -inf gives 0 and NaN stays.
#define ATTN_EXP2_VECTOR(x, k)                                                                 \
  ((vf)_mm512_scalef_ps((__m512)polynomial((vf)_mm512_reduce_ps((__m512)(x), 0x01), k),        \
                        (__m512)(x)))
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
