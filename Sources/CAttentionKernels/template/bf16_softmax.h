// One block of keys in the online softmax with bf16 products: online_softmax.h and values.h over
// pairs. Scores, maxima, sums and output are fp32; queries, keys, weights and values are bf16.

/// raise_maxima where weights are pairs of bf16: those of the block that were raised are rounded a
/// second time. A lane that does not lag has a factor of 1, which changes no bit.
static __attribute__((noinline)) void bf16_raise_maxima(const attn_bf16_panel *panel,
                                                        ptrdiff_t lane, int32_t vectors,
                                                        int32_t first, int32_t done,
                                                        const float *tile_maxima) {
  for (int32_t v = 0; v < vectors; v++, lane += ATTN_W) {
    const vf old = load(panel->maxima + lane);
    const vf peak = load(tile_maxima + v * ATTN_W);
    const vi lags = peak > old + splat(ATTN_LAG);
    const vf new = lags ? peak : old;
    const vf factor = old == new ? splat(1) : exp16_vector(old - new);
    store(panel->maxima + lane, new);
    if (!any(lags & (old > splat(-INFINITY)))) continue;
    store(panel->sums + lane, load(panel->sums + lane) * factor);
    for (ptrdiff_t t = first / 2; t < done / 2; t++) {
      uint32_t *p = panel->weights + t * ATTN_L + lane;
      const vi pair = load_words(p);
      store_words(p, ATTN_BF16_PAIR((vf)(pair << 16) * factor,
                                    (vf)(pair & splat_int((int32_t)0xffff0000)) * factor));
    }
    for (ptrdiff_t c = 0; c < panel->value_dim; c++) {
      float *p = panel->output + c * ATTN_L + lane;
      store(p, load(p) * factor);
    }
  }
}

/// piece_state for bf16.
typedef struct bf16_state {
  const attn_bf16_panel *panel;
  const attn_bf16_block *block;
  ptrdiff_t lane;
  lane_bounds bounds;
  const float *bias;
  int adjusts;
  vf reference[ATTN_VECTORS];
  /// [2 TILE][L] scores of the tile before.
  float *scores;
} bf16_state;

ATTN_INLINE void bf16_read_references(bf16_state *state, const int vectors) {
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf maxima = load(opaque(state->panel->maxima + state->lane + v * ATTN_W));
    state->reference[v] = maxima == splat(-INFINITY) ? splat(0) : maxima;
  }
}

/// Turns the scores of keys `r` and `r + 1` of a tile into weights 16^(score - reference), at the
/// place `t` of the block.
ATTN_INLINE void bf16_weigh_pair(const bf16_state *state, int32_t r, int32_t t,
                                 const int vectors) {
  const float *scores = state->scores + (ptrdiff_t)r * ATTN_L;
  uint32_t *weights = state->panel->weights + (ptrdiff_t)(t / 2) * ATTN_L + state->lane;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf low = load(scores + v * ATTN_W) - state->reference[v];
    const vf high = load(scores + ATTN_L + v * ATTN_W) - state->reference[v];
    store_words(weights + v * ATTN_W, ATTN_BF16_PAIR(exp16_vector(low), exp16_vector(high)));
  }
}

/// acc[r][v] += keys[r] . queries of vector v over the pair `t`.
ATTN_INLINE void bf16_dot_step(const uint32_t *queries, const uint16_t *const *key, ptrdiff_t t,
                               const int rows, const int vectors, vf (*acc)[ATTN_VECTORS]) {
  vi q[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) q[v] = load_words(queries + t * ATTN_L + v * ATTN_W);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vi k = broadcast_word(load_word(key[r] + 2 * t));
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = ATTN_BF16_DOT(acc[r][v], k, q[v]);
  }
}

/// score_tile over pairs: scores of keys [done, done + rows), while the `pending` keys before them
/// get their weights.
ATTN_INLINE void bf16_score_tile(bf16_state *state, int32_t done, int32_t pending,
                                 const int rows, const int masked, const int vectors) {
  const attn_bf16_panel *panel = state->panel;
  const ptrdiff_t lane = state->lane;
  const uint32_t *queries = panel->queries + lane;
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  const uint16_t *key[2 * ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = state->block->keys[done + r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  const ptrdiff_t words = panel->head_words;
  ptrdiff_t t = 0;
  if (pending) {
    const ptrdiff_t steps = 2 * words / pending;
    for (int32_t r = 0; r < pending; r += 2) {
      for (const ptrdiff_t stop = t + steps; t < stop; t++)
        bf16_dot_step(queries, key, t, rows, vectors, acc);
      bf16_weigh_pair(state, r, done - pending + r, vectors);
    }
  }
  for (; t < words; t++) bf16_dot_step(queries, key, t, rows, vectors, acc);
  const vf factor = splat(panel->factor);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] *= factor;
  if (__builtin_expect(state->adjusts, 0)) {
    const float *bias = state->bias ? state->bias + (ptrdiff_t)done * ATTN_L : NULL;
    adjust_tile(panel->softcap, bias, acc, rows, vectors);
  }

  vi grew = splat_int(0);
  vf peak[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      if (masked) acc[r][v] = sees(&state->bounds, v, done + r) ? acc[r][v] : splat(-INFINITY);
      store(state->scores + r * ATTN_L + v * ATTN_W, acc[r][v]);
      peak[v] = r ? larger(acc[r][v], peak[v]) : acc[0][v];
    }
    grew |= peak[v] > load(panel->maxima + lane + v * ATTN_W) + splat(ATTN_LAG);
  }
  if (__builtin_expect(any(grew), 0)) {
    float tile_maxima[ATTN_L];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(tile_maxima + v * ATTN_W, peak[v]);
    bf16_raise_maxima(panel, lane, vectors, state->block->pieces[0].first, done, tile_maxima);
    bf16_read_references(state, vectors);
  }
}

ATTN_INLINE int32_t bf16_score_tiles(bf16_state *state, int32_t done, int32_t end,
                                     int32_t *pending, const int rows, const int masked,
                                     const int vectors) {
  for (; done + rows <= end; done += rows) {
    bf16_score_tile(state, done, *pending, rows, masked, vectors);
    *pending = rows;
  }
  return done;
}

ATTN_INLINE void bf16_weigh_piece(const attn_bf16_panel *panel, const attn_bf16_block *block,
                                  const attn_piece *piece, const int masked,
                                  const int vectors) {
  const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W;
  const float *bias = piece->masked & ATTN_BY_BIAS ? block->bias + lane : NULL;
  float scores[2 * ATTN_TILE * ATTN_L];
  bf16_state state = {panel,
                      block,
                      lane,
                      {block->lower + lane, block->upper + lane, block->first_key},
                      bias,
                      bias || panel->softcap > 0,
                      {},
                      scores};
  bf16_read_references(&state, vectors);
  const int32_t end = piece->first + piece->count;
  int32_t done = piece->first, pending = 0;
  if (vectors == 1)
    done = bf16_score_tiles(&state, done, end, &pending, 2 * ATTN_TILE, masked, vectors);
  done = bf16_score_tiles(&state, done, end, &pending, ATTN_TILE, masked, vectors);
  done = bf16_score_tiles(&state, done, end, &pending, ATTN_TILE / 2, masked, vectors);
  done = bf16_score_tiles(&state, done, end, &pending, 2, masked, vectors);
  for (int32_t r = 0; r < pending; r += 2)
    bf16_weigh_pair(&state, r, done - pending + r, vectors);
}

/// Whether the lanes of a vector see the key at a place of a masked piece.
ATTN_INLINE vi bf16_sees(const attn_bf16_block *block, const attn_piece *piece, int vector,
                         int32_t place) {
  const lane_bounds bounds = {block->lower, block->upper, block->first_key};
  vi seen = splat_int(-1);
  if (piece->masked & ATTN_BY_BOUNDS) seen = sees(&bounds, vector, place);
  if (piece->masked & ATTN_BY_BIAS)
    seen &= load(block->bias + (ptrdiff_t)place * ATTN_L + vector * ATTN_W) != splat(-INFINITY);
  return seen;
}

/// acc + v[t] p[t] + v[t + 1] p[t + 1], if bounded only the products of the keys that a lane sees,
/// to the same bits: the weight of the others is 0, but 0 times infinity is not.
ATTN_INLINE vf bf16_add_pair(const attn_bf16_block *block, const attn_piece *piece, int32_t place,
                             int vector, vi x, vi p, vf acc, const int bounded) {
  if (!bounded || !piece->masked) return ATTN_BF16_DOT(acc, x, p);
  const vi seen =
      (bf16_sees(block, piece, vector, place) & splat_int(0xffff)) |
      (bf16_sees(block, piece, vector, place + 1) & splat_int((int32_t)0xffff0000));
  const vf next = ATTN_BF16_DOT(acc, x & seen, p);
  return seen != splat_int(0) ? next : acc;
}

/// value_keys over pairs of keys.
ATTN_INLINE void bf16_value_keys(const attn_bf16_panel *panel, const attn_bf16_block *block,
                                 const attn_piece *piece, ptrdiff_t column, ptrdiff_t width,
                                 vf acc[2 * ATTN_TILE][ATTN_VECTORS], vf sum[ATTN_VECTORS],
                                 const int rows, const int sums, const int bounded,
                                 const int whole, const int first, const int vectors) {
  const ptrdiff_t start = piece->first / 2, count = piece->count / 2;
  const uint32_t *value = block->values + start * width + column;
  const uint32_t *weights = panel->weights + start * ATTN_L + first * ATTN_W;
  attn_ahead *ahead = block->ahead;
  for (ptrdiff_t t = 0; t < count; t++, value += width, weights += ATTN_L) {
    if (vectors == whole) ask_ahead(ahead);
    vi p[ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      p[v] = load_words(weights + v * ATTN_W);
      // The rounded weights: what the output is divided by is what it was multiplied with.
      if (sums) sum[first + v] = ATTN_BF16_DOT(sum[first + v], p[v], splat_int(0x3f803f80));
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const vi x = broadcast_word((int32_t)value[r]);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++)
        acc[r][first + v] = bf16_add_pair(block, piece, piece->first + 2 * (int32_t)t, first + v,
                                          x, p[v], acc[r][first + v], bounded);
    }
  }
}

/// value_tile over pairs of keys.
ATTN_INLINE void bf16_value_tile(const attn_bf16_panel *panel, const attn_bf16_block *block,
                                 ptrdiff_t column, ptrdiff_t width, const int rows,
                                 const int sums, const int bounded, const int vectors) {
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  vf sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = splat(0);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) acc[r][v] = splat(0);
  }
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    ATTN_FOR_PIECE_VECTORS(piece, vectors, bf16_value_keys, panel, block, piece, column, width,
                           acc, sum, rows, sums, bounded, vectors)
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *total = panel->sums + v * ATTN_W;
    if (sums) store(total, load(total) + sum[v]);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      float *out = panel->output + (column + r) * ATTN_L + v * ATTN_W;
      store(out, load(out) + acc[r][v]);
    }
  }
}

/// value_columns over pairs of keys.
ATTN_INLINE void bf16_value_columns(const attn_bf16_panel *panel, const attn_bf16_block *block,
                                    const int bounded, const int vectors) {
  const int32_t width = paired_columns(panel->value_dim);
  int32_t c = 0;
  const int sizes[3] = {vectors == 1 ? 2 * ATTN_TILE : ATTN_TILE, ATTN_TILE, ATTN_BF16_COLUMNS};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    const int rows = sizes[i];
    if (c == 0 && rows <= width) {
      bf16_value_tile(panel, block, 0, width, rows, 1, bounded, vectors);
      c = rows;
    }
    for (; c + rows <= width; c += rows)
      bf16_value_tile(panel, block, c, width, rows, 0, bounded, vectors);
  }
}

/// Whether the packed values of a piece hold no infinity and no NaN.
ATTN_INLINE int bf16_all_finite(const uint32_t *values, ptrdiff_t words) {
  const vi low = splat_int(0x7f80), high = splat_int(0x7f800000);
  vi found = splat_int(0);
  ptrdiff_t i = 0;
  for (; i + ATTN_W <= words; i += ATTN_W) {
    const vi pair = load_words(values + i);
    found |= ((pair & low) == low) | ((pair & high) == high);
  }
  for (; i < words; i++) {
    const vi pair = splat_int((int32_t)values[i]);
    found |= ((pair & low) == low) | ((pair & high) == high);
  }
  return !any(found);
}

/// For correctness, not for speed.
static __attribute__((noinline)) void bf16_add_bounded_values(const attn_bf16_panel *panel,
                                                              const attn_bf16_block *block) {
  ATTN_FOR_VECTORS(panel->vectors, bf16_value_columns, panel, block, 1)
}

static void bf16_attend(const attn_bf16_panel *panel, const attn_bf16_block *block) {
  const ptrdiff_t width = paired_columns(panel->value_dim);
  int finite = 1;
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    if (piece->masked & ATTN_BY_BOUNDS) {
      ATTN_FOR_VECTORS(piece->vectors, bf16_weigh_piece, panel, block, piece, 1)
    } else {
      ATTN_FOR_VECTORS(piece->vectors, bf16_weigh_piece, panel, block, piece, 0)
    }
    if (piece->masked)
      finite = finite && bf16_all_finite(block->values + piece->first / 2 * width,
                                         piece->count / 2 * width);
  }
  if (finite) {
    ATTN_FOR_VECTORS(panel->vectors, bf16_value_columns, panel, block, 0)
  } else {
    bf16_add_bounded_values(panel, block);
  }
}

static float bf16_dot_rounds(int64_t rounds) {
  vf acc[ATTN_FMA_CHAINS];
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) acc[i] = splat((float)i);
  // Two products of opposite sign: the sums stay where they are.
  vi a = splat_int(0x3f803f80), b = splat_int((int32_t)0x3f80bf80);
  for (int64_t n = 0; n < rounds; n++)
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_FMA_CHAINS; i++) {
      acc[i] = ATTN_BF16_DOT(acc[i], a, b);
      ATTN_KEEP(acc[i]);
    }
  vf total = splat(0);
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) total += acc[i];
  return sum_lanes(total);
}
