// Register tiles: products of values with weights.

/// Calls `f` with a piece's vectors [first, first + count) of a panel of `vectors` as constants, so
/// that each is its own code. Pieces begin at the panel's first vector or end at its last.
#define ATTN_FOR_PIECE_VECTORS(piece, vectors, f, ...)                        \
  if ((piece)->vectors == (vectors)) {                                        \
    f(__VA_ARGS__, 0, (vectors));                                             \
  } else if ((vectors) > 2 && (piece)->vectors == 2) {                        \
    if ((piece)->first_vector == 0) {                                         \
      f(__VA_ARGS__, 0, 2);                                                   \
    } else {                                                                  \
      f(__VA_ARGS__, (vectors)-2, 2);                                         \
    }                                                                         \
  } else if ((piece)->first_vector == 0) {                                    \
    f(__VA_ARGS__, 0, 1);                                                     \
  } else {                                                                    \
    f(__VA_ARGS__, (vectors)-1, 1);                                           \
  }

/// Values and the weights of their keys, in lanes.
typedef struct weighted_values {
  /// Rows of words, of a key or of two.
  const float *const *values;
  const float *weights;
  /// Floats from one word of weights to the next.
  ptrdiff_t stride;
  const attn_piece *pieces;
  int32_t piece_count;
  attn_prefetch_list *prefetch;
  /// The block, for the bounds and biases of masked pieces, where the products must heed them, else
  /// NULL.
  const attn_block *bounds;
  /// [L] what sums are multiplied by before they are added to the output; NULL for 1.
  const float *factors;
} weighted_values;

/// output + sum, of whatever format the sum is, times the lane's factor if there is one.
ATTN_INLINE vf add_value_sum(vf output, vf sum, const float *factors, int vector,
                             const attn_format format) {
  if (!factors) return output + sum;
  return fp32_sum(sum, format) * load(factors + vector * ATTN_W) + output;
}

/// Which lanes of a vector see the key at a place of a masked piece.
ATTN_INLINE vi sees_place(const attn_block *block, const attn_piece *piece, int vector,
                          ptrdiff_t place) {
  const lane_bounds bounds = {block->lower, block->upper, block->first_key};
  vi seen = splat_int(-1);
  if (piece->masked & ATTN_BY_BOUNDS) seen = sees(&bounds, vector, (int32_t)place);
  if (piece->masked & ATTN_BY_BIAS)
    seen &= load(block->bias + place * ATTN_L + vector * ATTN_W) != splat(-INFINITY);
  return seen;
}

/// acc + x * p, if `bounded` only of the keys that a lane sees, to the same bits: the weight of the
/// others is 0, but 0 times infinity is not. The word is number `t` of the piece.
ATTN_INLINE vf add_product(const weighted_values *all, const attn_piece *piece, ptrdiff_t t,
                           int vector, vf x, vf p, vf acc, const attn_format format,
                           const int bounded) {
  if (!bounded || !piece->masked) return add_words(x, p, acc, format);
  const ptrdiff_t place = piece->first + t * word_keys(format);
  vi seen = sees_place(all->bounds, piece, vector, place);
  if (format == ATTN_BF16_PAIRS) {
    seen = (seen & splat_int(0xffff)) |
           (sees_place(all->bounds, piece, vector, place + 1) & splat_int((int32_t)0xffff0000));
    x = (vf)((vi)x & seen);
  }
  return seen != splat_int(0) ? add_words(x, p, acc, format) : acc;
}

/// Prefetches the next line there is, into the second-level cache.
ATTN_INLINE void prefetch_line(attn_prefetch_list *list) {
  if (!list || list->count == 0) return;
  const char *first = list->lines->first;
  __builtin_prefetch(first + ATTN_LINE_BYTES * (ptrdiff_t)list->done, 0, 2);
  if (++list->done < list->lines->count) return;
  list->done = 0;
  list->lines++;
  list->count--;
}

/// acc[r][v] += values[t][column + r] * weights[t] of vector v, for the keys of a piece. With sums,
/// the weights themselves are added up too, on pipes the products leave idle. `whole` is how many
/// vectors the panel has.
ATTN_INLINE void value_keys(const weighted_values *all, const attn_piece *piece,
                            ptrdiff_t column, vf acc[2 * ATTN_TILE][ATTN_VECTORS],
                            vf sum[ATTN_VECTORS], const attn_format format, const int rows,
                            const int sums, const int bounded, const int whole,
                            const int first, const int vectors) {
  // Copies, since what prefetch_line writes might be anything to the compiler.
  const int keys = word_keys(format);
  const float *const *values = all->values + piece->first / keys;
  const float *weights = all->weights + piece->first / keys * all->stride + first * ATTN_W;
  const ptrdiff_t stride = all->stride, count = piece->count / keys;
  attn_prefetch_list *prefetch = all->prefetch;
  for (ptrdiff_t t = 0; t < count; t++) {
    const float *value = values[t] + column;
    // Only where a step is long enough to hide it.
    if (vectors == whole) prefetch_line(prefetch);
    vf p[ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      p[v] = load(weights + t * stride + v * ATTN_W);
      if (sums) sum[first + v] = add_weights(p[v], sum[first + v], format);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const vf x = broadcast(value + r);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++)
        acc[r][first + v] = add_product(all, piece, t, first + v, x, p[v],
                                        acc[r][first + v], format, bounded);
    }
  }
}

/// output[r][v] += sum over t of values[t][r] * weights[t][v]: the tile of O^T, `rows` value
/// columns by `vectors` vectors. Each call sums from zero and adds its sum to the output: over a
/// long sequence rounding errors then grow with the number of blocks, not of keys.
///
/// Of formats whose rows have scales the sum is multiplied by `factors`, a lane's each.
ATTN_INLINE void value_tile(const weighted_values *all, ptrdiff_t column, float *output,
                            float *sums, const attn_format format, const int rows,
                            const int bounded, const int vectors) {
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  vf sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = splat(0);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) acc[r][v] = splat(0);
  }
  for (int32_t i = 0; i < all->piece_count; i++) {
    const attn_piece *piece = all->pieces + i;
    ATTN_FOR_PIECE_VECTORS(piece, vectors, value_keys, all, piece, column, acc, sum, format,
                           rows, sums != NULL, bounded, vectors)
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      float *out = output + r * ATTN_L + v * ATTN_W;
      store(out, add_value_sum(load(out), acc[r][v], all->factors, v, format));
    }
  }
}

/// One key of column_keys.
ATTN_INLINE void column_step(const weighted_values *all, const attn_piece *piece,
                             ptrdiff_t column, ptrdiff_t t, vf acc[ATTN_VECTORS],
                             vf sum[ATTN_VECTORS], const int bounded, const int first,
                             const int vectors) {
  const vf x = broadcast(all->values[piece->first + t] + column);
  const float *weights = all->weights + (piece->first + t) * all->stride + first * ATTN_W;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf p = load(weights + v * ATTN_W);
    acc[first + v] =
        add_product(all, piece, t, first + v, x, p, acc[first + v], ATTN_FP32, bounded);
    sum[first + v] += p;
  }
}

/// value_keys for a single column: four partial sums, since one chain per vector would wait for
/// itself at every step.
ATTN_INLINE void column_keys(const weighted_values *all, const attn_piece *piece,
                             ptrdiff_t column, vf acc[4][ATTN_VECTORS], vf sum[ATTN_VECTORS],
                             const int bounded, const int first, const int vectors) {
  ptrdiff_t t = 0;
  for (; t + 4 <= piece->count; t += 4)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++)
      column_step(all, piece, column, t + u, acc[u], sum, bounded, first, vectors);
  for (; t < piece->count; t++)
    column_step(all, piece, column, t, acc[0], sum, bounded, first, vectors);
}

/// value_tile for a single column.
ATTN_INLINE void value_column(const weighted_values *all, ptrdiff_t column, float *output,
                              float *sums, const int bounded, const int vectors) {
  vf acc[4][ATTN_VECTORS], sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++)
    sum[v] = acc[0][v] = acc[1][v] = acc[2][v] = acc[3][v] = splat(0);
  for (int32_t i = 0; i < all->piece_count; i++) {
    const attn_piece *piece = all->pieces + i;
    ATTN_FOR_PIECE_VECTORS(piece, vectors, column_keys, all, piece, column, acc, sum, bounded)
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *out = output + v * ATTN_W;
    const vf total = (acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v]);
    store(out, add_value_sum(load(out), total, all->factors, v, ATTN_FP32));
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
  }
}

/// value_tile over all columns. One vector of lanes takes twice the rows: its accumulators are
/// few, and more of them hide the latency of the fused multiply-add.
ATTN_INLINE void value_columns(const weighted_values *all, int32_t columns, float *output,
                               float *sums, const attn_format format, const int bounded,
                               const int vectors) {
  int32_t c = 0;
  const int wide = vectors == 1 ? 2 * ATTN_TILE : ATTN_TILE;
  const int sizes[3] = {wide, ATTN_TILE, ATTN_TILE / 2};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    const int rows = sizes[i];
    if (sums && c == 0 && rows <= columns) {
      value_tile(all, 0, output, sums, format, rows, bounded, vectors);
      c = rows;
    }
    for (; c + rows <= columns; c += rows)
      value_tile(all, c, output + (ptrdiff_t)c * ATTN_L, NULL, format, rows, bounded, vectors);
  }
  for (; format == ATTN_FP32 && c < columns; c++)
    value_column(all, c, output + (ptrdiff_t)c * ATTN_L, c == 0 ? sums : NULL, bounded,
                 vectors);
}

/// add_values where a masked piece has values that are not finite: the same sums in the same order,
/// heeding bounds and biases. For correctness, not for speed.
static __attribute__((noinline)) void add_bounded_values(const attn_panel *panel,
                                                         const weighted_values *all,
                                                         float *sums, attn_format format) {
  const int32_t columns = whole_columns(panel->value_dim, format);
#if ATTN_HAS_PAIRS
  if (format == ATTN_BF16_PAIRS) {
    ATTN_FOR_VECTORS(panel->vectors, value_columns, all, columns, panel->output, sums,
                     ATTN_BF16_PAIRS, 1)
    return;
  }
#endif
  ATTN_FOR_VECTORS(panel->vectors, value_columns, all, columns, panel->output, sums, ATTN_FP32, 1)
}

/// Adds a block's values, weighted, to the panel's output, and with sums its weights to the sums.
ATTN_INLINE void add_values(const attn_panel *panel, const attn_block *block,
                            const attn_format format, const int sums, const int vectors) {
  const float *const *values = (const float *const *)block->values;
  const int32_t columns = whole_columns(panel->value_dim, format), keys = word_keys(format);
  const weighted_values all = {values,        panel->weights,     ATTN_L,
                               block->pieces, block->piece_count, block->prefetch,
                               block,         NULL};
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    if (piece->masked &&
        !all_finite(values + piece->first / keys, piece->count / keys, columns, format)) {
      add_bounded_values(panel, &all, sums ? panel->sums : NULL, format);
      return;
    }
  }
  value_columns(&all, columns, panel->output, sums ? panel->sums : NULL, format, 0, vectors);
}
