// Products without the exponential.

/// weights[r][v] = keys[r] . queries of vector v, with bounds 0 where a lane does not see the key.
ATTN_INLINE void dots_tile(const float *queries, const float *const *keys, int32_t head_dim,
                           const lane_bounds *bounds, int32_t place, float *weights,
                           const int rows, const int vectors) {
  vf acc[ATTN_TILE][ATTN_VECTORS];
  dot_tile(queries, keys, head_dim, rows, vectors, acc);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      if (bounds) acc[r][v] = sees(bounds, v, place + r) ? acc[r][v] : splat(0);
      store(weights + r * ATTN_L + v * ATTN_W, acc[r][v]);
    }
}

ATTN_INLINE void dots_vectors(const float *queries, const float *const *keys, int32_t count,
                              int32_t head_dim, const lane_bounds *bounds, int32_t place,
                              float *weights, const int vectors) {
  ptrdiff_t t = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; t + rows <= count; t += rows)
      dots_tile(queries, keys + t, head_dim, bounds, place + (int32_t)t, weights + t * ATTN_L,
                rows, vectors);
}

static void dots(const float *queries, const float *const *keys, int32_t count, int32_t head_dim,
                 int32_t vectors, float *weights) {
  ATTN_FOR_VECTORS(vectors, dots_vectors, queries, keys, count, head_dim, NULL, 0, weights)
}

static void attend_linear(const attn_panel *panel, const attn_block *block) {
  const float *queries = panel->queries, *const *keys = (const float *const *)block->keys;
  float *weights = panel->weights;
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W;
    const lane_bounds bounds = {block->lower + lane, block->upper + lane, block->first_key};
    ATTN_FOR_VECTORS(piece->vectors, dots_vectors, queries + lane,
                     keys + piece->first, piece->count, panel->head_words,
                     piece->masked ? &bounds : NULL, piece->first,
                     weights + (ptrdiff_t)piece->first * ATTN_L + lane)
  }
  ATTN_FOR_VECTORS(panel->vectors, add_values, panel, block, ATTN_FP32, 1)
}

static void accumulate(const float *const *values, const float *weights, int64_t weight_stride,
                       int32_t count, int32_t columns, int32_t vectors, float *output,
                       attn_prefetch_list *prefetch) {
  const attn_piece piece = {0, count, 0, vectors, 0};
  const weighted_values all = {values, weights, weight_stride, &piece, 1, prefetch, NULL};
  ATTN_FOR_VECTORS(vectors, value_columns, &all, columns, output, NULL, ATTN_FP32, 0)
}
