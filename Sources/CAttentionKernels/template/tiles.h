// Register tiles: products of keys with queries.

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
ATTN_INLINE void dot_step(const float *queries, const float *const *key, ptrdiff_t t,
                          const attn_format format, const int rows, const int vectors,
                          vf (*acc)[ATTN_VECTORS]) {
  vf q[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) q[v] = load(queries + t * ATTN_L + v * ATTN_W);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf k = broadcast(key[r] + t);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = add_words(k, q[v], acc[r][v], format);
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
  for (ptrdiff_t t = 0; t < head_dim; t++)
    dot_step(queries, key, t, ATTN_FP32, rows, vectors, acc);
}
