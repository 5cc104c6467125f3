// Products without the exponential.

/// weights[r][v] = keys[r] . queries of vector v.
ATTN_INLINE void dots_tile(const float *queries, const float *const *keys, int32_t head_dim,
                           float *weights, const int rows, const int vectors) {
  vf acc[ATTN_TILE][ATTN_VECTORS];
  dot_tile(queries, keys, head_dim, rows, vectors, acc);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(weights + r * ATTN_L + v * ATTN_W, acc[r][v]);
}

ATTN_INLINE void dots_vectors(const float *queries, const float *const *keys, int32_t count,
                              int32_t head_dim, float *weights, const int vectors) {
  ptrdiff_t t = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; t + rows <= count; t += rows)
      dots_tile(queries, keys + t, head_dim, weights + t * ATTN_L, rows, vectors);
}

static void dots(const float *queries, const float *const *keys, int32_t count, int32_t head_dim,
                 int32_t vectors, float *weights) {
  ATTN_FOR_VECTORS(vectors, dots_vectors, queries, keys, count, head_dim, weights)
}

static void accumulate(const float *const *values, const float *weights, int64_t weight_stride,
                       int32_t count, int32_t columns, int32_t vectors, float *output,
                       attn_prefetch_list *prefetch) {
  const attn_piece piece = {0, count, 0, vectors, 0};
  const weighted_values all = {values, weights, weight_stride, &piece, 1, prefetch, NULL, NULL};
  ATTN_FOR_VECTORS(vectors, value_columns, &all, columns, output, NULL, ATTN_FP32, 0)
}
