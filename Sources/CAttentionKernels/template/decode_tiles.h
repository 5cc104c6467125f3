// Products of a few query rows with rows of keys and values: vectors run along the columns.
//
// Each stored row is widened once for up to four query rows. Which tile a row falls into changes
// none of its bits: a score always is one chain of products a lane, folded in halves, and an output
// element one chain over the keys of a chunk.

/// Value vectors of a tile for one query row; a tile has as many for two and half of them for four.
#if ATTN_VECTORS == 3
#define ATTN_DECODE_VECTORS 8
#else
#define ATTN_DECODE_VECTORS 4
#endif

/// -1 in the last n lanes: load_int(decode_lanes + n + 16 - W).
static const int32_t decode_lanes[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                         0,  0,  0,  0,  0,  -1, -1, -1, -1, -1, -1,
                                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

ATTN_INLINE ptrdiff_t stored_size(const attn_storage storage) {
  return storage == ATTN_FLOAT32 ? 4 : storage == ATTN_FLOAT16 || storage == ATTN_BFLOAT16 ? 2 : 1;
}

/// W elements to fp32, scales not applied.
ATTN_INLINE vf load_stored(const char *p, const attn_storage storage) {
  switch (storage) {
    case ATTN_FLOAT32: return load((const float *)p);
    case ATTN_FLOAT16: return from_half(*(const halves_unaligned *)p);
    case ATTN_BFLOAT16: return from_brain(*(const halves_unaligned *)p);
    default: return from_int8(*(const bytes_unaligned *)p, splat(1));
  }
}

/// The last n < W elements of a row of `columns`, in the last n lanes; 0 in the others.
ATTN_INLINE vf load_tail(const char *row, ptrdiff_t columns, ptrdiff_t n,
                         const attn_storage storage) {
  const ptrdiff_t size = stored_size(storage);
  if (columns >= ATTN_W) {
    const vi x = (vi)load_stored(row + (columns - ATTN_W) * size, storage);
    return (vf)(x & load_int(decode_lanes + n + 16 - ATTN_W));
  }
  char part[4 * ATTN_W] = {0};
  for (ptrdiff_t i = 0; i < n * size; i++) part[(ATTN_W - n) * size + i] = row[i];
  return load_stored(part, storage);
}

static void decode_query(const float *row, int32_t columns, float factor,
                         const float *column_scales, float *out) {
  const int32_t n = columns % ATTN_W, whole = columns - n;
  for (int32_t t = columns; t < (columns + 15) / 16 * 16; t++) out[t] = 0;
  for (int32_t t = 0; t < columns; t++) {
    const float x = row[t] * factor * (column_scales ? column_scales[t] : 1);
    out[t < whole ? t : t + ATTN_W - n] = x;
  }
  for (int32_t t = whole; n && t < whole + ATTN_W - n; t++) out[t] = 0;
}

#define ATTN_SHUFFLE __builtin_shufflevector
#if ATTN_W == 16
#define ATTN_FOLD_8(a, b)                                                                   \
  (ATTN_SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +             \
   ATTN_SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define ATTN_FOLD_4(a, b)                                                                   \
  (ATTN_SHUFFLE(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +           \
   ATTN_SHUFFLE(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
#define ATTN_FOLD_2(a, b)                                                                   \
  (ATTN_SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +           \
   ATTN_SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
#define ATTN_FOLD_1(a, b)                                                                   \
  (ATTN_SHUFFLE(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +          \
   ATTN_SHUFFLE(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#elif ATTN_W == 8
#define ATTN_FOLD_4(a, b)                          \
  (ATTN_SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +  \
   ATTN_SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#define ATTN_FOLD_2(a, b)                          \
  (ATTN_SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +  \
   ATTN_SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15))
#define ATTN_FOLD_1(a, b)                          \
  (ATTN_SHUFFLE(a, b, 0, 8, 2, 10, 4, 12, 6, 14) + \
   ATTN_SHUFFLE(a, b, 1, 9, 3, 11, 5, 13, 7, 15))
#else
#define ATTN_FOLD_2(a, b) (ATTN_SHUFFLE(a, b, 0, 1, 4, 5) + ATTN_SHUFFLE(a, b, 2, 3, 6, 7))
#define ATTN_FOLD_1(a, b) (ATTN_SHUFFLE(a, b, 0, 4, 2, 6) + ATTN_SHUFFLE(a, b, 1, 5, 3, 7))
#endif

/// The sums of the lanes of W vectors, vector i's in lane i: every vector is folded in halves.
ATTN_INLINE vf fold(vf x[ATTN_W]) {
#if ATTN_W == 16
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) x[i] = ATTN_FOLD_8(x[i], x[i + 8]);
#endif
#if ATTN_W >= 8
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++) x[i] = ATTN_FOLD_4(x[i], x[i + 4]);
#endif
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++) x[i] = ATTN_FOLD_2(x[i], x[i + 2]);
  return ATTN_FOLD_1(x[0], x[1]);
}

/// One step along the columns of score_rows.
ATTN_INLINE void score_step(const vf *key, const float *query, ptrdiff_t stride, vf *acc,
                            const int rows, const int keys) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf q = load(query + r * stride);
#pragma clang loop unroll(full)
    for (int k = 0; k < keys; k++)
      acc[r * (ATTN_W / rows) + k] = key[k] * q + acc[r * (ATTN_W / rows) + k];
  }
}

/// scores[r][k] = keys[k] . queries[r] for `rows` rows and W / rows keys, of which the last may be
/// repeated.
///
/// With `prefetches` the keys come from memory: they are read one after the other, in the order in
/// which they lie there, and with each of its lines the same line of next[k], needed soon, is
/// prefetched; narrow keys for four query rows two at a time, since loads of queries then are the limit.
/// Otherwise they are cached, and some at a time take fewer of these loads.
ATTN_INLINE void score_rows(const attn_decode *all, const char *const *keys,
                            const char *const *next, const float *queries, float *scores,
                            const attn_storage storage, const int rows,
                            const int prefetches) {
  const ptrdiff_t size = stored_size(storage), d = all->head_dim, stride = all->query_stride;
  const int count = ATTN_W / rows, streamed = rows == 4 && storage != ATTN_FLOAT32 ? 2 : 1;
  const int most = prefetches ? streamed : 4, together = count < most ? count : most;
  vf acc[ATTN_W], key[ATTN_W];
#pragma clang loop unroll(full)
  for (int i = 0; i < ATTN_W; i++) acc[i] = splat(0);
#pragma clang loop unroll(full)
  for (int first = 0; first < count; first += together) {
    ptrdiff_t t = 0;
    for (; t + ATTN_W <= d; t += ATTN_W) {
      if (prefetches && (t * size & (ATTN_LINE_BYTES - 1)) == 0)
#pragma clang loop unroll(full)
        for (int k = 0; k < together; k++) __builtin_prefetch(next[first + k] + t * size, 0, 3);
#pragma clang loop unroll(full)
      for (int k = 0; k < together; k++)
        key[k] = load_stored(keys[first + k] + t * size, storage);
      score_step(key, queries + t, stride, acc + first, rows, together);
    }
    if (t < d) {
#pragma clang loop unroll(full)
      for (int k = 0; k < together; k++) key[k] = load_tail(keys[first + k], d, d - t, storage);
      score_step(key, queries + t, stride, acc + first, rows, together);
    }
  }
  const vf sums = fold(acc);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int k = 0; k < count; k++)
      scores[r * (ptrdiff_t)ATTN_DECODE_SCORES + k] = sums[r * count + k];
}

/// score_rows for W keys; the first rows of a chunk prefetch.
ATTN_INLINE void score_tile_rows(const attn_decode *all, const char *const *keys,
                                 const char *const *next, ptrdiff_t row, float *scores,
                                 const attn_storage storage, const int rows) {
  const float *queries = all->queries + row * all->query_stride;
  scores += row * ATTN_DECODE_SCORES;
  for (int k = 0; k < ATTN_W; k += ATTN_W / rows)
    if (row == 0)
      score_rows(all, keys + k, next + k, queries, scores + k, storage, rows, 1);
    else
      score_rows(all, keys + k, next + k, queries, scores + k, storage, rows, 0);
}

/// Scores of all rows with the keys of a chunk.
ATTN_INLINE void score_chunk(const attn_decode *all, const attn_decode_chunk *chunk,
                             const attn_storage storage) {
  const char *const *rows = (const char *const *)chunk->keys;
  for (int32_t t = 0; t < chunk->count; t += ATTN_W) {
    const char *const *keys, *const *next, *own[ATTN_W], *later[ATTN_W];
    // Copied only at the edges: between a tile's products and the next one's little may come, or
    // memory idles.
    if (t + ATTN_W <= chunk->count && t + ATTN_W + chunk->prefetch_distance <= chunk->available) {
      keys = rows + t;
      next = keys + chunk->prefetch_distance;
    } else {
      for (int32_t k = 0; k < ATTN_W; k++) {
        const int32_t place = t + k, after = place + chunk->prefetch_distance;
        own[k] = rows[place < chunk->count ? place : chunk->count - 1];
        later[k] = rows[after < chunk->available ? after : chunk->available - 1];
      }
      keys = own;
      next = later;
    }
    float *scores = all->scores + chunk->first + t;
    int32_t row = 0;
    for (; row + 4 <= all->rows; row += 4)
      score_tile_rows(all, keys, next, row, scores, storage, 4);
    for (; row + 2 <= all->rows; row += 2)
      score_tile_rows(all, keys, next, row, scores, storage, 2);
    if (row < all->rows)
      score_tile_rows(all, keys, next, row, scores, storage, 1);
  }
}

/// acc + weight * x; with bounds only if the key is visible: the weight of a hidden one is -0.
ATTN_INLINE vf add_weighted(const float *weight, vf x, vf acc, const int bounded) {
  if (bounded && __builtin_signbit(*weight)) return acc;
  return x * splat(*weight) + acc;
}

/// output[r][column...] += sum over t of weights[r][t] * values[t][column...] for `rows` rows and
/// `vectors` vectors of columns, summed from zero and then added. `tail`: the last columns, fewer
/// than a vector. The first rows of a chunk prefetch.
ATTN_INLINE void add_value_tile(const attn_decode *all, const attn_decode_chunk *chunk,
                                ptrdiff_t row, ptrdiff_t column, const attn_storage storage,
                                const int rows, const int vectors, const int tail,
                                const int bounded) {
  const ptrdiff_t size = stored_size(storage), e = all->value_dim;
  const char *const *values = (const char *const *)chunk->values;
  const float *weights = all->scores + row * (ptrdiff_t)ATTN_DECODE_SCORES + chunk->first;
  const ptrdiff_t count = chunk->count, last = chunk->available - 1, distance = chunk->prefetch_distance;
  vf acc[4][ATTN_DECODE_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  for (ptrdiff_t t = 0; t < count; t++) {
    const char *value = values[t];
    vf x[ATTN_DECODE_VECTORS];
    if (row == 0 && !tail) {
      const char *next = values[t + distance < last ? t + distance : last];
#pragma clang loop unroll(full)
      for (ptrdiff_t line = 0; line < vectors * ATTN_W * size; line += ATTN_LINE_BYTES)
        __builtin_prefetch(next + column * size + line, 0, 3);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      x[v] = tail ? load_tail(value, e, e - column, storage)
                  : load_stored(value + (column + v * ATTN_W) * size, storage);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++)
        acc[r][v] =
            add_weighted(weights + r * (ptrdiff_t)ATTN_DECODE_SCORES + t, x[v], acc[r][v], bounded);
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    float *out = all->output + (row + r) * e;
    if (tail) {
      // Lane i holds column e - W + i.
      for (ptrdiff_t i = ATTN_W - (e - column); i < ATTN_W; i++) out[e - ATTN_W + i] += acc[r][0][i];
      continue;
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      float *place = out + column + v * ATTN_W;
      store(place, load(place) + acc[r][v]);
    }
  }
}

/// add_value_tile over all columns.
ATTN_INLINE void add_value_rows(const attn_decode *all, const attn_decode_chunk *chunk,
                                ptrdiff_t row, const attn_storage storage, const int rows,
                                const int bounded) {
  const int widest = rows == 4 ? ATTN_DECODE_VECTORS / 2 : ATTN_DECODE_VECTORS;
  const ptrdiff_t e = all->value_dim;
  ptrdiff_t c = 0;
  for (; c + widest * ATTN_W <= e; c += widest * ATTN_W)
    add_value_tile(all, chunk, row, c, storage, rows, widest, 0, bounded);
  for (; c + 2 * ATTN_W <= e; c += 2 * ATTN_W)
    add_value_tile(all, chunk, row, c, storage, rows, 2, 0, bounded);
  for (; c + ATTN_W <= e; c += ATTN_W)
    add_value_tile(all, chunk, row, c, storage, rows, 1, 0, bounded);
  if (c < e) add_value_tile(all, chunk, row, c, storage, rows, 1, 1, bounded);
}

/// Adds the chunk's values, weighted, to the output of all rows.
ATTN_INLINE void add_chunk_values(const attn_decode *all, const attn_decode_chunk *chunk,
                                  const attn_storage storage, const int bounded) {
  int32_t row = 0;
  for (; row + 4 <= all->rows; row += 4) add_value_rows(all, chunk, row, storage, 4, bounded);
  for (; row + 2 <= all->rows; row += 2) add_value_rows(all, chunk, row, storage, 2, bounded);
  if (row < all->rows) add_value_rows(all, chunk, row, storage, 1, bounded);
}

/// Whether the chunk's values hold no infinity and no NaN.
ATTN_INLINE int stored_values_finite(const attn_decode *all, const attn_decode_chunk *chunk,
                                     const attn_storage storage) {
  const ptrdiff_t size = stored_size(storage), e = all->value_dim;
  const vi exponent = splat_int(0x7f800000);
  vi found = splat_int(0);
  for (int32_t t = 0; t < chunk->count; t++) {
    const char *value = chunk->values[t];
    ptrdiff_t c = 0;
    for (; c + ATTN_W <= e; c += ATTN_W)
      found |= ((vi)load_stored(value + c * size, storage) & exponent) == exponent;
    if (c < e) found |= ((vi)load_tail(value, e, e - c, storage) & exponent) == exponent;
  }
  return !any(found);
}
