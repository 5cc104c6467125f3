// The bound on scores.

/// tanh(x / grain) * grain, relative error 2e-7; NaN stays NaN. Near 0 an odd polynomial (Moshier
/// 1989, Cephes), which keeps the relative error that 1 - 2 / (e^2x + 1) would lose there.
ATTN_INLINE vf tanh_vector(vf x, const float grain) {
  const vf scaled = x * splat(1 / grain);
  const vf size = smaller(splat(20), scaled > splat(0) ? scaled : -scaled);
  const vf far = splat(1) - splat(2) / (exp16_vector(size * splat(2 * ATTN_LOG16E)) + splat(1));
  const vf square = scaled * scaled;
  vf near = splat(-5.70498872745e-3f);
  near = near * square + splat(2.06390887954e-2f);
  near = near * square + splat(-5.37397155531e-2f);
  near = near * square + splat(1.33314422036e-1f);
  near = near * square + splat(-3.33332819422e-1f);
  near = near * square * x + x;
  return size > splat(0.625f) ? splat(grain) * (scaled > splat(0) ? far : -far) : near;
}

ATTN_INLINE void soften_row(float *row, int64_t count, float scale, float cap,
                            const float grain) {
  const vf factor = splat(scale * grain / cap), bound = splat(cap / grain);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W)
    store(row + j, bound * tanh_vector(load(row + j) * factor, grain));
  for (; j < count; j++) row[j] = (bound * tanh_vector(splat(row[j]) * factor, grain))[0];
}

/// x = cap * tanh(x * scale / cap). A grain keeps x / cap of a very large cap from being denormal.
static void softcap_row(float *row, int64_t count, float scale, float cap) {
  if (cap > 0x1p64f)
    soften_row(row, count, scale, cap, 0x1p64f);
  else
    soften_row(row, count, scale, cap, 1);
}

/// The same for whole vectors of scores. Out of line: few problems have a cap, and its constants
/// would push accumulators out of the registers of those that have none.
static __attribute__((noinline)) void soften(float *scores, int32_t vectors, float cap) {
  softcap_row(scores, (int64_t)vectors * ATTN_W, 1, cap);
}
