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
#define ATTN_OVERLAP 1
#define ATTN_PERMUTE_32(low, index, high)                                                     \
  ((vf)_mm512_permutex2var_ps((__m512)(low), (__m512i)(index), (__m512)(high)))
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
