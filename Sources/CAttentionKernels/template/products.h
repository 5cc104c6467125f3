// Products without the exponential.

ATTN_INLINE void dots_tile(const float *queries, const float *const *keys, int32_t head_dim,
                           const int rows, const int vectors, float *weights) {
  vf acc[ATTN_TILE][ATTN_VECTORS];
  dot_tile(queries, keys, head_dim, rows, vectors, acc);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(weights + r * ATTN_L + v * ATTN_W, acc[r][v]);
}

ATTN_INLINE void dots_vectors(float *weights, const float *queries, const float *const *keys,
                              int32_t count, int32_t head_dim, const int vectors) {
  ptrdiff_t t = 0;
  for (; t + ATTN_TILE <= count; t += ATTN_TILE)
    dots_tile(queries, keys + t, head_dim, ATTN_TILE, vectors, weights + t * ATTN_L);
  for (; t + ATTN_TILE / 2 <= count; t += ATTN_TILE / 2)
    dots_tile(queries, keys + t, head_dim, ATTN_TILE / 2, vectors, weights + t * ATTN_L);
  for (; t < count; t++)
    dots_tile(queries, keys + t, head_dim, 1, vectors, weights + t * ATTN_L);
}

static void dots(const float *queries, const float *const *keys, int32_t count, int32_t head_dim,
                 int32_t vectors, float *weights) {
  ATTN_FOR_VECTORS(vectors, dots_vectors, weights, queries, keys, count, head_dim)
}

static void accumulate(const float *const *values, const float *weights, int64_t weight_stride,
                       int32_t count, int32_t columns, int32_t vectors, float *output) {
  ATTN_FOR_VECTORS(vectors, value_columns, output, NULL, values, weights, weight_stride, count,
                   columns, NULL)
}

static void accumulate_masked(const float *const *values, const float *weights,
                              int64_t weight_stride, int32_t count, int32_t columns,
                              int32_t vectors, int32_t first_key, const int32_t *lower,
                              const int32_t *upper, float *output) {
  const lane_bounds bounds = {lower, upper, first_key};
  ATTN_FOR_VECTORS(vectors, value_columns, output, NULL, values, weights, weight_stride, count,
                   columns, &bounds)
}
