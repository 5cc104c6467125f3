// What happens to scores between their products and the bounds.

/// Adds biases to scores [rows][vectors]. Out of line, as soften is.
static __attribute__((noinline)) void add_bias(float *scores, const float *bias, int32_t rows,
                                               int32_t vectors) {
  for (ptrdiff_t r = 0; r < rows; r++)
    for (ptrdiff_t v = 0; v < vectors; v++) {
      float *p = scores + (r * vectors + v) * ATTN_W;
      store(p, biased(load(p), load(bias + r * ATTN_L + v * ATTN_W)));
    }
}

/// What happens to a tile of scores before the bounds: a softcap above 0, and a bias [rows][L].
ATTN_INLINE void adjust_tile(float softcap, const float *bias,
                             vf acc[2 * ATTN_TILE][ATTN_VECTORS], const int rows,
                             const int vectors) {
  float scores[2 * ATTN_TILE * ATTN_L];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(scores + (r * vectors + v) * ATTN_W, acc[r][v]);
  if (softcap > 0) soften(scores, rows * vectors, softcap);
  if (bias) add_bias(scores, bias, rows, vectors);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = load(scores + (r * vectors + v) * ATTN_W);
}
