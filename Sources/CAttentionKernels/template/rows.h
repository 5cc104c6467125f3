// Operations on rows that are not in lanes.

/// W numbers of a row of which `left` are left, then -inf.
ATTN_INLINE vf load_row(const float *row, int64_t left) {
  if (left >= ATTN_W) return load(row);
  vf x = splat(-INFINITY);
  for (int64_t i = 0; i < left; i++) x[i] = row[i];
  return x;
}

ATTN_INLINE void store_row(float *row, int64_t left, vf x) {
  if (left >= ATTN_W) {
    store(row, x);
  } else {
    for (int64_t i = 0; i < left; i++) row[i] = x[i];
  }
}

/// Weights of scores x scale. The largest is taken off before the scale is applied: a difference of
/// products would be that of their roundings, which grow with the scores, and the largest score's own
/// weight must be 1 however large it is.
static float softmax_row(float *row, int64_t count, float scale, float *maximum) {
  // Four vectors at a time, so that four chains of maxima and sums are in flight.
  const vf lowest = splat(-INFINITY), factor = splat(scale);
  vf top[4] = {lowest, lowest, lowest, lowest};
  int64_t j = 0;
  for (; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) top[u] = larger(load(row + j + u * ATTN_W), top[u]);
  for (int64_t i = j; i < count; i += ATTN_W) top[0] = larger(load_row(row + i, count - i), top[0]);
  const float peak = max_lanes(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  *maximum = peak * scale;
  const vf reference = splat(peak == -INFINITY ? 0 : peak);
  vf sum[4] = {splat(0), splat(0), splat(0), splat(0)};
  for (j = 0; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) {
      const vf p = exp16_vector((load(row + j + u * ATTN_W) - reference) * factor);
      store(row + j + u * ATTN_W, p);
      sum[u] += p;
    }
  for (; j < count; j += ATTN_W) {
    // What is not there has a weight of 0.
    const vf p = exp16_vector((load_row(row + j, count - j) - reference) * factor);
    store_row(row + j, count - j, p);
    sum[0] += p;
  }
  return sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

static void scale_row(float *row, int64_t count, float factor) {
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) store(row + j, load(row + j) * splat(factor));
  for (; j < count; j++) row[j] *= factor;
}

static void elu_plus_one(const float *x, int64_t count, float *out) {
  const vf unit = splat(ATTN_LOG16E);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) {
    const vf value = load(x + j);
    // The exponential of the negative part only, so that a large x cannot overflow it; NaN
    // takes the second branch and stays NaN.
    const vf power = exp16_vector(smaller(splat(0), value) * unit);
    store(out + j, value > splat(0) ? value + splat(1) : power);
  }
  for (; j < count; j++) {
    const vf value = splat(x[j]);
    const vf power = exp16_vector(smaller(splat(0), value) * unit);
    out[j] = x[j] > 0 ? x[j] + 1 : power[0];
  }
}
