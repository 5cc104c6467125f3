// The machine's own limits: what the kernels are held against.

#define ATTN_FMA_CHAINS (ATTN_VECTORS * ATTN_TILE)

/// Rounds of independent products on registers.
ATTN_INLINE float product_rounds(int64_t rounds, vf a, vf b, const attn_format format) {
  vf acc[ATTN_FMA_CHAINS];
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) acc[i] = splat((float)i);
  for (int64_t n = 0; n < rounds; n++)
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_FMA_CHAINS; i++) {
      acc[i] = format == ATTN_FP32 ? acc[i] * a + b : add_words(a, b, acc[i], format);
      ATTN_KEEP(acc[i]);
    }
  vf total = splat(0);
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) total += acc[i];
  return sum_lanes(total);
}

static float read_floats(const float *x, int64_t count) {
  // Integer adds: memory-bound without the latency of a floating-point chain.
  vi sum[8] = {};
  int64_t j = 0;
  for (; j + 8 * ATTN_W <= count; j += 8 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 8; u++) sum[u] += load_int((const int32_t *)(x + j + u * ATTN_W));
  vi total = (sum[0] + sum[1]) + (sum[2] + sum[3]) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  uint32_t bits = 0;
  for (int i = 0; i < ATTN_W; i++) bits += (uint32_t)total[i];
  for (; j < count; j++) {
    uint32_t word;
    __builtin_memcpy(&word, x + j, sizeof word);
    bits += word;
  }
  return (float)bits;
}
