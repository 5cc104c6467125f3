// What tables of scaled rows have in common.
#define ATTN_QUAD_DOT(acc, a, b) \
  ((vf)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(b), (__m512i)(a)))
#define ATTN_TO_INT(x) ((vi)_mm512_cvtps_epi32((__m512)(x)))
// Rounding down to integers.
#define ATTN_FRACTION(x) ((vf)_mm512_reduce_ps((__m512)(x), 1))
#define ATTN_TIMES_POWER(p, x) ((vf)_mm512_scalef_ps((__m512)(p), (__m512)(x)))
