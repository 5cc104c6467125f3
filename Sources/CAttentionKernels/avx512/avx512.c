// AVX-512: 32 registers of 16 floats; a tile of 8 x 3 accumulators, 3 operands and a broadcast.
#if defined(__x86_64__)
#include <immintrin.h>

#include "attention_kernels.h"
// AVX512_BF16 instructions come from ATTN_PAIR_DOT and ATTN_PAIR alone, so only functions of
// ATTN_BF16_PAIRS need a processor that has them.
#pragma clang attribute push(                                                     \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx512bf16"))), \
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
#define ATTN_FROM_HALF(x) ((vf)_mm512_cvtph_ps((__m256i)(x)))
#define ATTN_TO_HALF(x)                                                                       \
  ((halves)_mm512_cvtps_ph((__m512)(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
// Compressed in registers: compressing stores are microcode on some processors.
#define ATTN_LANE_BITS(chosen) _mm512_movepi32_mask((__m512i)(chosen))
#define ATTN_COMPRESS(bits, x) ((vf)_mm512_maskz_compress_ps(bits, (__m512)(x)))
// 32 pairs of products an instruction.
#define ATTN_PAIR_DOT(acc, a, b) \
  ((vf)_mm512_dpbf16_ps((__m512)(acc), (__m512bh)(a), (__m512bh)(b)))
#define ATTN_PAIR(low, high)                                                         \
  ((vi)_mm512_permutexvar_epi16(                                                     \
      _mm512_loadu_si512(opaque((const float *)(const void *)attn_interleave)),      \
      (__m512i)_mm512_cvtne2ps_pbh((__m512)(high), (__m512)(low))))
static const uint16_t attn_interleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                             21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                             11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
