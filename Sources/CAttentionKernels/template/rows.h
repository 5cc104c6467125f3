// Operations on rows that are not in lanes.

static float softmax_row(float *row, int64_t count, float scale, float *maximum) {
  // Four vectors at a time, so that four chains of maxima and sums are in flight.
  const vf lowest = splat(-INFINITY), factor = splat(scale);
  vf top[4] = {lowest, lowest, lowest, lowest};
  int64_t j = 0;
  for (; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) top[u] = larger(load(row + j + u * ATTN_W) * factor, top[u]);
  float peak = max_lanes(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  for (int64_t i = j; i < count; i++) peak = row[i] * scale > peak ? row[i] * scale : peak;
  *maximum = peak;
  const vf reference = splat(peak == -INFINITY ? 0 : peak);
  vf sum[4] = {splat(0), splat(0), splat(0), splat(0)};
  for (j = 0; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) {
      const vf p = exp2_vector(load(row + j + u * ATTN_W) * factor - reference);
      store(row + j + u * ATTN_W, p);
      sum[u] += p;
    }
  float total = sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; j < count; j++) {
    const vf p = exp2_vector(splat(row[j]) * factor - reference);
    row[j] = p[0];
    total += p[0];
  }
  return total;
}

static void scale_row(float *row, int64_t count, float factor) {
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) store(row + j, load(row + j) * splat(factor));
  for (; j < count; j++) row[j] *= factor;
}

static void elu_plus_one(const float *x, int64_t count, float *out) {
  const vf log2e = splat(1.44269504f);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) {
    const vf value = load(x + j);
    // The exponential of the negative part only, so that a large x cannot overflow it; NaN
    // takes the second branch and stays NaN.
    const vf power = exp2_vector(smaller(splat(0), value) * log2e);
    store(out + j, value > splat(0) ? value + splat(1) : power);
  }
  for (; j < count; j++) {
    const vf value = splat(x[j]);
    const vf power = exp2_vector(smaller(splat(0), value) * log2e);
    out[j] = x[j] > 0 ? x[j] + 1 : power[0];
  }
}
