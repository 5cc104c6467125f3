// The bound on scores.

/// tanh(x), relative error 2e-7; NaN stays NaN. Near 0 an odd polynomial (Moshier 1989, Cephes),
/// which keeps the relative error that 1 - 2 / (e^2x + 1) would lose there.
ATTN_INLINE vf tanh_vector(vf x) {
  const vf size = smaller(splat(20), x > splat(0) ? x : -x);
  const vf far = splat(1) - splat(2) / (exp2_vector(size * splat(2.88539008f)) + splat(1));
  const vf square = x * x;
  vf near = splat(-5.70498872745e-3f);
  near = near * square + splat(2.06390887954e-2f);
  near = near * square + splat(-5.37397155531e-2f);
  near = near * square + splat(1.33314422036e-1f);
  near = near * square + splat(-3.33332819422e-1f);
  near = near * square * x + x;
  return size > splat(0.625f) ? (x > splat(0) ? far : -far) : near;
}

/// cap * tanh(x / cap) for whole vectors of scores. Out of line: few problems have a cap, and its
/// constants would push accumulators out of the registers of those that have none.
static __attribute__((noinline)) void soften(float *scores, int32_t vectors, float cap) {
  const vf factor = splat(1 / cap), bound = splat(cap);
  for (int32_t i = 0; i < vectors; i++)
    store(scores + i * ATTN_W, bound * tanh_vector(load(scores + i * ATTN_W) * factor));
}

static void softcap_row(float *row, int64_t count, float scale, float cap) {
  const vf factor = splat(scale / cap), bound = splat(cap);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W)
    store(row + j, bound * tanh_vector(load(row + j) * factor));
  for (; j < count; j++) row[j] = (bound * tanh_vector(splat(row[j]) * factor))[0];
}
