// AVX2 with FMA: 16 registers of 8 floats; a tile of 6 x 2 accumulators, 2 operands, a broadcast.
#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#define ATTN_NAME avx2
#define ATTN_INT8_NAME avx2
#define ATTN_W 8
#define ATTN_VECTORS 2
#define ATTN_TILE 6
#define ATTN_KEEP(x) __asm__("" : "+x"(x))
#define ATTN_OVERLAP 0
#define ATTN_FROM_HALF(x) ((vf)_mm256_cvtph_ps((__m128i)(x)))
#define ATTN_TO_HALF(x) ((halves)_mm256_cvtps_ph((__m256)(x), _MM_FROUND_TO_NEAREST_INT))
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
