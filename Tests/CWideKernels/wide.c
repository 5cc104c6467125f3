#include "wide_kernels.h"

// As the template has it.
#pragma STDC FP_CONTRACT ON
// Vectors of 64 bytes are passed between inlined functions only.
#pragma clang diagnostic ignored "-Wpsabi"

#if defined(__x86_64__)
// Fused multiply-adds, as in the table it stands for.
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#endif
#define ATTN_NAME wide
#define ATTN_W 16
#define ATTN_VECTORS 3
#define ATTN_TILE 8
#define ATTN_KEEP(x) (void)(x)
#define ATTN_OVERLAP 1
#define ATTN_PERMUTE_32(low, index, high) wide_permute(low, (wide_words)(index), high)

typedef float wide_floats __attribute__((ext_vector_type(ATTN_W)));
typedef uint32_t wide_words __attribute__((ext_vector_type(ATTN_W)));

/// vpermt2ps. Out of line: unrolled into every exponential it would take minutes to compile.
static __attribute__((noinline)) void wide_look_up(const float *table, uint32_t *places) {
  for (int i = 0; i < ATTN_W; i++)
    __builtin_memcpy(places + i, table + places[i] % (2 * ATTN_W), sizeof *places);
}
static inline __attribute__((always_inline)) wide_floats wide_permute(
    wide_floats low, wide_words index, wide_floats high) {
  struct { wide_floats low, high; } table = {low, high};
  wide_look_up((const float *)&table, (uint32_t *)&index);
  return (wide_floats)index;
}

/// vdpbf16ps: two fused multiply-adds, the upper halves first.
static inline __attribute__((always_inline)) wide_floats wide_dot(
    wide_floats acc, wide_words a, wide_words b) {
  acc = (wide_floats)(a & 0xffff0000) * (wide_floats)(b & 0xffff0000) + acc;
  return (wide_floats)(a << 16) * (wide_floats)(b << 16) + acc;
}

/// A number of vcvtne2ps2bf16, in the upper half of its word.
static inline __attribute__((always_inline)) wide_words wide_round(wide_floats x) {
  const wide_words bits = (wide_words)x, magnitude = bits & 0x7fffffff;
  const wide_words rounded = bits + 0x7fff + ((bits >> 16) & 1);
  // A NaN becomes quiet, a denormal number zero.
  const wide_words number = magnitude < 0x00800000 ? bits & 0x80000000 : rounded;
  return (magnitude > 0x7f800000 ? bits | 0x400000 : number) & 0xffff0000;
}

#define ATTN_PAIR_DOT(acc, a, b) wide_dot(acc, (wide_words)(a), (wide_words)(b))
#define ATTN_PAIR(low, high) ((vi)(wide_round(low) >> 16 | wide_round(high)))
#include "../../Sources/CAttentionKernels/template/kernels.h"
#if defined(__x86_64__)
#pragma clang attribute pop
#endif

const attn_kernels *attn_wide_kernels(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return NULL;
#endif
  return &attn_kernels_wide;
}
