#if defined(__x86_64__)
#include "attention_kernels.h"
#include "avx512_shape.h"
// AVX512_BF16 instructions come from ATTN_PAIR_DOT and ATTN_PAIR alone, so only functions of
// ATTN_BF16_PAIRS need a processor that has them.
#pragma clang attribute push(                                                     \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx512bf16"))), \
    apply_to = function)
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
#define ATTN_INT8_NAME avx512
#define ATTN_FP16_NAME avx512
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
