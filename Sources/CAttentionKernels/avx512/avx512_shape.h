// What all AVX-512 tables have in common: 32 registers of 16 floats; a tile of 8 x 3 accumulators, 3 operands
// and a broadcast.
#include <immintrin.h>

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
// x less the largest multiple of 1/128 below it; a sum rounded down; x times 2 to the power rounded down.
#define ATTN_BELOW_128TH(x) \
  ((vf)_mm512_reduce_ps((__m512)(x), 7 << 4 | _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))
#define ATTN_ADD_DOWN(x, y)                             \
  ((vf)_mm512_add_round_ps((__m512)(x), (__m512)(y), \
                           _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))
#define ATTN_SCALE(x, power) ((vf)_mm512_scalef_ps((__m512)(x), (__m512)(power)))
#define ATTN_FROM_HALF(x) ((vf)_mm512_cvtph_ps((__m256i)(x)))
#define ATTN_TO_HALF(x)                                                                       \
  ((halves)_mm512_cvtps_ph((__m512)(x), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))
