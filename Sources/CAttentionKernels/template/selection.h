// Scores that keys are selected by, and the choice of the best of them.

/// A tile of scores: `rows` query rows from `first` on with `vectors` vectors of keys. The products of
/// one head are held beside the sums over heads, so that no score is written before it is whole.
ATTN_INLINE void index_tile(const attn_index *index, ptrdiff_t first, const float *keys, float *out,
                            ptrdiff_t out_stride, const int rows, const int vectors) {
  vf sum[ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum[r][v] = splat(0);
  for (ptrdiff_t head = 0; head < index->heads; head++) {
    const float *query[ATTN_TILE];
    vf acc[ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      query[r] = index->queries + head * index->query_head_stride + (first + r) * index->query_stride;
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
    }
    for (ptrdiff_t c = 0; c < index->columns; c++) {
      vf key[ATTN_VECTORS];
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) key[v] = load(keys + c * ATTN_L + v * ATTN_W);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf x = broadcast(query[r] + c);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) acc[r][v] += x * key[v];
      }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const vf weight = splat(
          index->weights[head * index->weight_head_stride + (first + r) * index->weight_stride]);
      // A NaN stays one: it must not become a 0.
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[r][v] += weight * larger(splat(0), acc[r][v]);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(out + (first + r) * out_stride + v * ATTN_W, sum[r][v]);
}

ATTN_INLINE void index_vectors(const attn_index *index, const float *keys, float *out,
                               int64_t out_stride, const int vectors) {
  ptrdiff_t first = 0;
  // Two sets of accumulators share the registers of one tile.
  const int sizes[2] = {ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 2; i++)
    for (const int rows = sizes[i]; first + rows <= index->rows; first += rows)
      index_tile(index, first, keys, out, out_stride, rows, vectors);
}

static void index_scores(const attn_index *index, const float *keys, int32_t vectors, float *out,
                         int64_t out_stride) {
  ATTN_FOR_VECTORS(vectors, index_vectors, index, keys, out, out_stride)
}

static int64_t count_from(const float *x, int64_t count, float least) {
  const vf limit = splat(least);
  vi sum = splat_int(0);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) sum -= load(x + j) >= limit;
  int64_t total = __builtin_reduce_add(sum);
  for (; j < count; j++) total += x[j] >= least;
  return total;
}

/// Writes the chosen lanes of a vector of scores and of their keys one behind the other; what is written
/// behind them is overwritten by the next. Returns how many.
ATTN_INLINE int64_t compress(vi chosen, vf x, vi key, float *scores, int32_t *keys) {
#ifdef ATTN_COMPRESS
  const uint32_t bits = ATTN_LANE_BITS(chosen);
  store(scores, ATTN_COMPRESS(bits, x));
  *(vi_unaligned *)keys = (vi)ATTN_COMPRESS(bits, (vf)key);
  return __builtin_popcount(bits);
#else
  if (!any(chosen)) return 0;
  int64_t count = 0;
  for (int i = 0; i < ATTN_W; i++) {
    scores[count] = x[i];
    keys[count] = key[i];
    count -= chosen[i];
  }
  return count;
#endif
}

static int64_t keep_from(const float *x, const int32_t *from, int32_t first, int64_t count,
                         float least, float *scores, int32_t *keys) {
  const vf limit = splat(least), infinite = splat(INFINITY);
  vi place;
  for (int i = 0; i < ATTN_W; i++) place[i] = i;
  int64_t kept = 0, j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) {
    const vf all = load(x + j), score = all == all ? all : infinite;
    const vi key = from ? load_int(from + j) : place + (first + (int32_t)j);
    kept += compress(score >= limit, score, key, scores + kept, keys + kept);
  }
  for (; j < count; j++) {
    const float score = x[j] == x[j] ? x[j] : INFINITY;
    scores[kept] = score;
    keys[kept] = from ? from[j] : first + (int32_t)j;
    kept += score >= least;
  }
  return kept;
}
