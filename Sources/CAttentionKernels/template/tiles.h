// Register tiles: products of keys with queries and of values with weights.

/// The range of keys each lane of some vectors sees.
typedef struct lane_bounds {
  const int32_t *lower;
  const int32_t *upper;
  /// The key that t = 0 stands for.
  int32_t first_key;
} lane_bounds;

ATTN_INLINE vi sees(const lane_bounds *bounds, int vector, int32_t t) {
  const vi key = splat_int(bounds->first_key + t);
  return (key >= load_int(bounds->lower + vector * ATTN_W)) &
         (key < load_int(bounds->upper + vector * ATTN_W));
}

/// Calls `f` with the number of vectors as a constant, so that each count is its own code.
#if ATTN_VECTORS == 3
#define ATTN_FOR_VECTORS(vectors, f, ...)  \
  switch (vectors) {                       \
    case 1: f(__VA_ARGS__, 1); break;      \
    case 2: f(__VA_ARGS__, 2); break;      \
    default: f(__VA_ARGS__, 3); break;     \
  }
#else
#define ATTN_FOR_VECTORS(vectors, f, ...)  \
  switch (vectors) {                       \
    case 1: f(__VA_ARGS__, 1); break;      \
    default: f(__VA_ARGS__, 2); break;     \
  }
#endif

/// One step of a tile of S^T: acc[r][v] += keys[r][t] * queries[t] of vector v.
ATTN_INLINE void dot_step(const float *queries, const float *const key[ATTN_TILE], ptrdiff_t t,
                          const int rows, const int vectors, vf acc[ATTN_TILE][ATTN_VECTORS]) {
  vf q[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) q[v] = load(queries + t * ATTN_L + v * ATTN_W);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf k = broadcast(key[r] + t);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = k * q[v] + acc[r][v];
  }
}

/// acc[r][v] = keys[r] . queries of vector v: the tile of S^T, `rows` keys by `vectors` vectors.
ATTN_INLINE void dot_tile(const float *queries, const float *const *keys, int32_t head_dim,
                          const int rows, const int vectors,
                          vf acc[ATTN_TILE][ATTN_VECTORS]) {
  const float *key[ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = keys[r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  for (ptrdiff_t t = 0; t < head_dim; t++) dot_step(queries, key, t, rows, vectors, acc);
}

/// output[r][v] += sum over t of values[t][r] * weights[t][v]: the tile of O^T, `rows` value
/// columns by `vectors` vectors. With bounds, a lane takes part only in the keys it sees. With
/// sums, the weights themselves are added up too, on pipes the products leave idle. Each call sums
/// from zero and adds its sum to the output: over a long sequence rounding errors then grow with
/// the number of blocks, not of keys.
ATTN_INLINE void value_tile(const float *const *values, ptrdiff_t column, const float *weights,
                            ptrdiff_t weight_stride, int32_t count, const int rows,
                            const int vectors, const lane_bounds *bounds, float *output,
                            float *sums) {
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  vf sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = splat(0);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) acc[r][v] = splat(0);
  }
  for (ptrdiff_t t = 0; t < count; t++) {
    const float *value = values[t] + column;
    vf p[ATTN_VECTORS];
    vi seen[ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      p[v] = load(weights + t * weight_stride + v * ATTN_W);
      if (sums) sum[v] += p[v];
      if (bounds) seen[v] = sees(bounds, v, (int32_t)t);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const vf x = broadcast(value + r);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        const vf next = x * p[v] + acc[r][v];
        acc[r][v] = bounds ? (seen[v] ? next : acc[r][v]) : next;
      }
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      float *out = output + r * ATTN_L + v * ATTN_W;
      store(out, load(out) + acc[r][v]);
    }
  }
}

/// One key of value_column: acc[v] += value * weights of vector v.
ATTN_INLINE void column_step(const float *value, const float *weights, int32_t t,
                             const int vectors, const lane_bounds *bounds,
                             vf acc[ATTN_VECTORS], vf sum[ATTN_VECTORS]) {
  const vf x = broadcast(value);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf p = load(weights + v * ATTN_W);
    const vf next = x * p + acc[v];
    acc[v] = bounds ? (sees(bounds, v, t) ? next : acc[v]) : next;
    sum[v] += p;
  }
}

/// value_tile for a single column: four partial sums, since one chain per vector would wait for
/// itself at every step.
ATTN_INLINE void value_column(const float *const *values, ptrdiff_t column, const float *weights,
                              ptrdiff_t weight_stride, int32_t count, const int vectors,
                              const lane_bounds *bounds, float *output, float *sums) {
  vf acc[4][ATTN_VECTORS], sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = acc[0][v] = acc[1][v] = acc[2][v] = acc[3][v] = splat(0);
  }
  ptrdiff_t t = 0;
  for (; t + 4 <= count; t += 4)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++)
      column_step(values[t + u] + column, weights + (t + u) * weight_stride, (int32_t)(t + u),
                  vectors, bounds, acc[u], sum);
  for (; t < count; t++)
    column_step(values[t] + column, weights + t * weight_stride, (int32_t)t, vectors, bounds,
                acc[0], sum);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *out = output + v * ATTN_W;
    store(out, load(out) + ((acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v])));
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
  }
}

/// value_tile over all columns. One vector of lanes takes twice the rows: its accumulators are
/// few, and more of them hide the latency of the fused multiply-add.
ATTN_INLINE void value_columns(float *output, float *sums, const float *const *values,
                               const float *weights, ptrdiff_t weight_stride, int32_t count,
                               int32_t columns, const lane_bounds *bounds, const int vectors) {
  int32_t c = 0;
  const int wide = vectors == 1 ? 2 * ATTN_TILE : ATTN_TILE;
  const int sizes[3] = {wide, ATTN_TILE, ATTN_TILE / 2};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    const int rows = sizes[i];
    if (sums && c == 0 && rows <= columns) {
      value_tile(values, 0, weights, weight_stride, count, rows, vectors, bounds, output, sums);
      c = rows;
    }
    for (; c + rows <= columns; c += rows)
      value_tile(values, c, weights, weight_stride, count, rows, vectors, bounds,
                 output + (ptrdiff_t)c * ATTN_L, NULL);
  }
  for (; c < columns; c++)
    value_column(values, c, weights, weight_stride, count, vectors, bounds,
                 output + (ptrdiff_t)c * ATTN_L, c == 0 ? sums : NULL);
}
