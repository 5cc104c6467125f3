// The machine's own limits: what the kernels are held against.

#define ATTN_FMA_CHAINS (ATTN_VECTORS * ATTN_TILE)

static float fma_rounds(int64_t rounds) {
  vf acc[ATTN_FMA_CHAINS];
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) acc[i] = splat((float)i);
  vf a = splat(0.999999f), b = splat(1e-6f);
  for (int64_t n = 0; n < rounds; n++)
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_FMA_CHAINS; i++) {
      acc[i] = acc[i] * a + b;
      ATTN_KEEP(acc[i]);
    }
  vf total = splat(0);
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) total += acc[i];
  return sum_lanes(total);
}

#if ATTN_HAS_PAIRS
static float pair_rounds(int64_t rounds) {
  vf acc[ATTN_FMA_CHAINS];
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) acc[i] = splat((float)i);
  // Two products of opposite sign: the sums stay where they are.
  vi a = splat_int(0x3f803f80), b = splat_int((int32_t)0x3f80bf80);
  for (int64_t n = 0; n < rounds; n++)
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_FMA_CHAINS; i++) {
      acc[i] = ATTN_PAIR_DOT(acc[i], a, b);
      ATTN_KEEP(acc[i]);
    }
  vf total = splat(0);
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) total += acc[i];
  return sum_lanes(total);
}
#endif

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
