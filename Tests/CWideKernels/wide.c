#include "wide_kernels.h"

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

#define ATTN_BF16 attn_bf16_wide
extern const attn_bf16_kernels ATTN_BF16;
#include "../../Sources/CAttentionKernels/template/kernels.h"

/// vdpbf16ps: two fused multiply-adds, the upper halves first.
static inline __attribute__((always_inline)) vf wide_dot(vf acc, vi a, vi b) {
  const vi upper = splat_int((int32_t)0xffff0000);
  acc = (vf)(a & upper) * (vf)(b & upper) + acc;
  return (vf)(a << 16) * (vf)(b << 16) + acc;
}

/// vcvtne2ps2bf16, its numbers interleaved.
static inline __attribute__((always_inline)) vi wide_pair(vf low, vf high) {
  return __builtin_convertvector(to_brain(low), vi) |
         __builtin_convertvector(to_brain(high), vi) << 16;
}

#define ATTN_BF16_DOT(acc, a, b) wide_dot(acc, a, b)
#define ATTN_BF16_PAIR(low, high) wide_pair(low, high)
#include "../../Sources/CAttentionKernels/template/bf16.h"
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
