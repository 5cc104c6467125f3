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

int attn_format_supported(const attn_kernels *kernels, attn_format format) {
  if (!kernels->attend[format] || !attn_kernels_supported(kernels)) return 0;
#if defined(__x86_64__)
  if (kernels == &attn_kernels_avx512 && format == ATTN_BF16_PAIRS)
    return __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return 1;
}
