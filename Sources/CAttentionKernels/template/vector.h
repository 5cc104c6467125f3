// A vector of W floats, and the little arithmetic the kernels share.
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "attention_kernels.h"

#pragma STDC FP_CONTRACT ON

#define ATTN_PASTE_(a, b) a##b
#define ATTN_PASTE(a, b) ATTN_PASTE_(a, b)
#define ATTN_STRING_(a) #a
#define ATTN_STRING(a) ATTN_STRING_(a)
#define ATTN_INLINE static inline __attribute__((always_inline))
#define ATTN_L (ATTN_VECTORS * ATTN_W)

typedef float vf __attribute__((ext_vector_type(ATTN_W)));
typedef int32_t vi __attribute__((ext_vector_type(ATTN_W)));
typedef float vf_unaligned __attribute__((ext_vector_type(ATTN_W), aligned(4)));
typedef int32_t vi_unaligned __attribute__((ext_vector_type(ATTN_W), aligned(4)));

ATTN_INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
ATTN_INLINE vi load_int(const int32_t *p) { return *(const vi_unaligned *)p; }
ATTN_INLINE void store(float *p, vf x) { *(vf_unaligned *)p = x; }
ATTN_INLINE vf splat(float x) { return (vf)x; }
ATTN_INLINE vi splat_int(int32_t x) { return (vi)x; }
/// max that returns b when either is NaN, as the x86 instruction does; written so that it is one.
ATTN_INLINE vf larger(vf a, vf b) { return a > b ? a : b; }
ATTN_INLINE vf smaller(vf a, vf b) { return a < b ? a : b; }
ATTN_INLINE vf broadcast(const float *p) {
  vf x = splat(*p);
  ATTN_KEEP(x);
  return x;
}
/// The same pointer, of which the compiler no longer knows where it points: what is read through it
/// is loaded where it is used. Otherwise it would be held in registers across the product loops,
/// and accumulators spilled inside those.
ATTN_INLINE const float *opaque(const float *p) {
  __asm__ volatile("" : "+r"(p));
  return p;
}
ATTN_INLINE int any(vi mask) { return __builtin_reduce_or(mask) != 0; }
ATTN_INLINE float sum_lanes(vf x) {
  float s = 0;
  for (int i = 0; i < ATTN_W; i++) s += x[i];
  return s;
}
ATTN_INLINE float max_lanes(vf x) {
  float m = x[0];
  for (int i = 1; i < ATTN_W; i++) m = x[i] > m ? x[i] : m;
  return m;
}
