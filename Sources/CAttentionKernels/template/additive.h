// Additive scores (Bahdanau 2014): the sum over hidden units of weight tanh(a + b), where a belongs to a
// query and b to a key.
//
// tanh(a + b) = 1 - 2 / (1 + e^2a e^2b): the exponentials are taken of queries and keys once, and a pair costs
// a product and a division a unit. Four units share a division over their common denominator. The error of a
// tanh taken so is absolute, 3e-7 + 2^-23 (|a| + |b|) at most, so that small sums and exponentials that would
// overflow go through tanh_vector. A lane's own query and key decide, and no row's bits depend on the rows
// beside it.
//
// A panel's queries are, with u units rounded up to a multiple of ATTN_ADDITIVE_UNITS: [u][L] e^2a, [u][L]
// weights times -2, [u][L] a, [L] the sum of the weights, [L] the largest |a|. A key's row: [u] e^2b, [u] b, the
// largest |b|.

/// Largest |a| and |b| whose exponentials are multiplied.
#define ATTN_ADDITIVE_MOST 32.0f
/// Least sum of the largest |a| and |b| at which an absolute error is a small one.
#define ATTN_ADDITIVE_LEAST 0x1p-5f
/// 1 + e^2x where tanh is 1 in fp32; products of four stay finite. |x| below 9.7 does not reach it.
#define ATTN_ADDITIVE_FULL 0x1p28f
#define ATTN_ADDITIVE_OPEN 9.7f

/// e^2x. For |x| up to ATTN_ADDITIVE_MOST; what is beyond is not used.
ATTN_INLINE vf additive_power(vf x) { return exp16_vector(x * splat(2 * ATTN_LOG16E)); }

/// sum[v] += weights / (1 + e^2a e^2b), four units a division. `open` where no denominator needs to be bounded.
ATTN_INLINE void additive_products(const float *queries, ptrdiff_t units, const float *key,
                                   const int open, const int vectors, vf sum[ATTN_VECTORS]) {
  const float *weights = queries + units * ATTN_L;
  for (ptrdiff_t t = 0; t < units; t += 4)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      vf w[4], d[4];
#pragma clang loop unroll(full)
      for (int u = 0; u < 4; u++) {
        const ptrdiff_t place = (t + u) * ATTN_L + v * ATTN_W;
        w[u] = load(weights + place);
        d[u] = load(queries + place) * splat(key[t + u]) + splat(1);
        // A NaN stays one: it is the second of the two.
        if (!open) d[u] = smaller(splat(ATTN_ADDITIVE_FULL), d[u]);
      }
      const vf n = w[0] * d[1] + w[1] * d[0], m = w[2] * d[3] + w[3] * d[2];
      const vf p = d[0] * d[1], q = d[2] * d[3];
      sum[v] += (n * q + m * p) / (p * q);
    }
}

/// sum[v] += weights tanh(a + b), to the relative error of tanh_vector.
ATTN_INLINE void additive_tanhs(const float *queries, ptrdiff_t units, const float *key,
                                const int vectors, vf sum[ATTN_VECTORS]) {
  const float *weights = queries + units * ATTN_L, *a = weights + units * ATTN_L;
  for (ptrdiff_t t = 0; t < units; t++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const ptrdiff_t place = t * ATTN_L + v * ATTN_W;
      sum[v] += load(weights + place) * tanh_vector(load(a + place) + splat(key[units + t]), 1);
    }
}

/// Scores of one key, [vectors].
ATTN_INLINE void additive_key(const float *queries, ptrdiff_t units, const float *key,
                              float *scores, const int vectors) {
  const float *totals = queries + 3 * units * ATTN_L, *sizes = totals + ATTN_L;
  const vf key_size = splat(key[2 * units]);
  vi apart[ATTN_VECTORS], some = splat_int(0), all = splat_int(-1), open = splat_int(-1);
  vf sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf size = load(sizes + v * ATTN_W);
    apart[v] = (size <= splat(ATTN_ADDITIVE_MOST)) & (key_size <= splat(ATTN_ADDITIVE_MOST)) &
               (size + key_size >= splat(ATTN_ADDITIVE_LEAST));
    some |= apart[v];
    all &= apart[v];
    open &= size + key_size <= splat(ATTN_ADDITIVE_OPEN);
    sum[v] = splat(0);
  }
  if (any(some)) {
    if (!any(~open))
      additive_products(queries, units, key, 1, vectors, sum);
    else
      additive_products(queries, units, key, 0, vectors, sum);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum[v] += load(totals + v * ATTN_W);
  }
  if (__builtin_expect(any(~all), 0)) {
    vf direct[ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) direct[v] = splat(0);
    additive_tanhs(queries, units, key, vectors, direct);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum[v] = apart[v] ? sum[v] : splat(-0.5f) * direct[v];
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) store(scores + v * ATTN_W, sum[v]);
}

ATTN_INLINE void additive_keys_of(const float *queries, ptrdiff_t units, const float *const *keys,
                                  int32_t rows, float *scores, const int vectors) {
  for (ptrdiff_t r = 0; r < rows; r++)
    additive_key(queries, units, keys[r], scores + r * vectors * ATTN_W, vectors);
}

/// Scores [rows][vectors] of the keys of a tile. Out of line: a key costs hundreds of instructions.
static __attribute__((noinline)) void additive_tile(const float *queries, ptrdiff_t units,
                                                    const float *const *keys, int32_t rows,
                                                    int32_t vectors, float *scores) {
  ATTN_FOR_VECTORS(vectors, additive_keys_of, queries, units, keys, rows, scores)
}

/// Exponentials and sizes of a panel whose a, weights and sums of weights are in place. A lane whose size is
/// infinite already keeps it.
static void additive_queries(float *queries, int32_t units) {
  const ptrdiff_t count = units;
  float *sizes = queries + (3 * count + 1) * ATTN_L;
  for (ptrdiff_t lane = 0; lane < ATTN_L; lane += ATTN_W) {
    vf size = load(sizes + lane);
    for (ptrdiff_t t = 0; t < count; t++) {
      const vf a = load(queries + (2 * count + t) * ATTN_L + lane);
      size = larger(magnitude(a), size);
      store(queries + t * ATTN_L + lane, additive_power(a));
    }
    store(sizes + lane, size);
  }
}

/// Rows of keys, [2 units + 1] each, from `columns` numbers each.
static void additive_keys(const float *const *rows, int32_t count, int32_t columns, int32_t units,
                          float *out) {
  for (ptrdiff_t r = 0; r < count; r++, out += 2 * units + 1) {
    float *b = out + units;
    vf largest = splat(0);
    for (ptrdiff_t t = 0; t < units; t++) b[t] = t < columns ? rows[r][t] : 0;
    ptrdiff_t t = 0;
    for (; t + ATTN_W <= units; t += ATTN_W) {
      const vf x = load(b + t);
      largest = larger(magnitude(x), largest);
      store(out + t, additive_power(x));
    }
    for (; t < units; t++) {
      const vf x = splat(b[t]);
      largest = larger(magnitude(x), largest);
      out[t] = additive_power(x)[0];
    }
    b[units] = max_lanes(largest);
  }
}
