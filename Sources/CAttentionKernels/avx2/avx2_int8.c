// Products of 8-bit integers (AVX_VNNI): 32 an instruction. Tiles are of whole words.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avxvnni"))), apply_to = function)
#define ATTN_NAME avx2
#define ATTN_W 8
#define ATTN_VECTORS 2
#define ATTN_TILE 4
#define ATTN_KEEP(x) __asm__("" : "+x"(x))
#define ATTN_OVERLAP 0
#define ATTN_FROM_HALF(x) ((vf)_mm256_cvtph_ps((__m128i)(x)))
#define ATTN_TO_HALF(x) ((halves)_mm256_cvtps_ph((__m256)(x), _MM_FROUND_TO_NEAREST_INT))
#define ATTN_QUAD_DOT(acc, a, b) \
  ((vf)_mm256_dpbusd_avx_epi32((__m256i)(acc), (__m256i)(b), (__m256i)(a)))
#define ATTN_TO_INT(x) ((vi)_mm256_cvtps_epi32((__m256)(x)))
#include "../template/scaled_kernels.h"
#pragma clang attribute pop
#endif
