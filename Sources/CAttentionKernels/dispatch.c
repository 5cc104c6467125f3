#include "attention_kernels.h"

extern const attn_kernels attn_kernels_portable;
#if defined(__x86_64__)
extern const attn_kernels attn_kernels_avx512, attn_kernels_avx2;
#elif defined(__aarch64__)
extern const attn_kernels attn_kernels_neon;
#endif

const attn_kernels *const *attn_kernels_compiled(int32_t *count) {
  static const attn_kernels *const tables[] = {
#if defined(__x86_64__)
      &attn_kernels_avx512, &attn_kernels_avx2,
#elif defined(__aarch64__)
      &attn_kernels_neon,
#endif
      &attn_kernels_portable,
  };
  *count = (int32_t)(sizeof tables / sizeof tables[0]);
  return tables;
}

#if defined(__x86_64__)
#include <cpuid.h>

/// vpdpbusd on 256-bit vectors without AVX-512: bit 4 of EAX of leaf 7, subleaf 1.
static int has_avx_vnni(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

int attn_kernels_supported(const attn_kernels *kernels) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (kernels == &attn_kernels_avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("fma");
  if (kernels == &attn_kernels_avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
#else
  (void)kernels;
#endif
  return 1;
}

int attn_pipes_are_shared(void) {
#if defined(__x86_64__)
  return __builtin_cpu_is("intel") != 0;
#else
  return 0;
#endif
}

int attn_format_supported(const attn_kernels *kernels, attn_format format) {
  if (!kernels->formats[format] || !attn_kernels_supported(kernels)) return 0;
#if defined(__x86_64__)
  const int wide = kernels == &attn_kernels_avx512;
  switch (format) {
    case ATTN_FP32: return 1;
    case ATTN_BF16_PAIRS: return __builtin_cpu_supports("avx512bf16") != 0;
    case ATTN_FP16_PAIRS: return __builtin_cpu_supports("avx512fp16") != 0;
    case ATTN_INT8_SCORES_FP16:
      return __builtin_cpu_supports("avx512fp16") && __builtin_cpu_supports("avx512vnni");
    case ATTN_INT8_QUADS:
    case ATTN_INT8_SCORES_FP32:
      return wide ? __builtin_cpu_supports("avx512vnni") != 0 : has_avx_vnni();
  }
#endif
  return 1;
}
