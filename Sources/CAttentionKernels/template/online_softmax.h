// One block of keys in the online softmax (Milakov & Gimelshein 2018; Dao 2022, 2023).

/// Raises the reference exponents that lag behind the tile in hand by more than ATTN_LAG to its maximum
/// and brings everything accumulated so far to the new reference: the weights of keys
/// [first, done) of the block, sums and output. Rare: see score_tile. A lane that does not lag
/// keeps its reference, so that no row's bits depend on the rows beside it.
static __attribute__((noinline)) void raise_maxima(const attn_panel *panel, ptrdiff_t lane,
                                                   int32_t vectors, int32_t first, int32_t done,
                                                   const float *tile_maxima) {
  for (int32_t v = 0; v < vectors; v++, lane += ATTN_W) {
    const vf old = load(panel->maxima + lane);
    const vf peak = load(tile_maxima + v * ATTN_W);
    const vi lags = peak > old + splat(ATTN_LAG);
    const vf new = lags ? peak : old;
    // A row that still sees nothing stays at -inf; everything it holds is zero.
    const vf factor = old == new ? splat(1) : exp16_vector(old - new);
    store(panel->maxima + lane, new);
    // Rows that have seen nothing yet have nothing to bring along.
    if (!any(lags & (old > splat(-INFINITY)))) continue;
    store(panel->sums + lane, load(panel->sums + lane) * factor);
    for (ptrdiff_t t = first; t < done; t++) {
      float *p = panel->weights + t * ATTN_L + lane;
      store(p, load(p) * factor);
    }
    for (ptrdiff_t c = 0; c < panel->value_dim; c++) {
      float *p = panel->output + c * ATTN_L + lane;
      store(p, load(p) * factor);
    }
  }
}

/// What the tiles of a piece share: the panel from the piece's first vector on, what it sees, and
/// the references its weights are relative to.
typedef struct piece_state {
  const attn_panel *panel;
  const attn_block *block;
  ptrdiff_t lane;
  lane_bounds bounds;
  /// Biases of the piece's lanes at place 0 of the block, where it has any, else NULL.
  const float *bias;
  /// Whether scores are more than products: bounded or biased.
  int adjusts;
  vf reference[ATTN_VECTORS];
} piece_state;

/// The reference of a vector of rows; a row that has seen nothing yet is measured against 0, since
/// -inf - (-inf) would be NaN.
ATTN_INLINE vf load_reference(const attn_panel *panel, ptrdiff_t lane) {
  const vf maxima = load(opaque(panel->maxima + lane));
  return maxima == splat(-INFINITY) ? splat(0) : maxima;
}

ATTN_INLINE void read_references(piece_state *state, const int vectors) {
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++)
    state->reference[v] = load_reference(state->panel, state->lane + v * ATTN_W);
}

/// Turns a key's scores, stored by score_tile, into weights 16^(score - reference).
ATTN_INLINE void weigh_key(const piece_state *state, int32_t t, const int vectors) {
  float *weights = state->panel->weights + (ptrdiff_t)t * ATTN_L + state->lane;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    store(weights + v * ATTN_W,
          exp16_vector(load(weights + v * ATTN_W) - state->reference[v]));
  }
}

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

/// Scores of keys [done, done + rows) of the block and their weights 16^(score - reference), 0 for a
/// key that a lane does not see.
///
/// With overlap, the scores are only stored, and the `pending` keys before them, scored by the call
/// before, get their weights meanwhile: exponentials run mostly on pipes that the products leave
/// idle. Without, the weights are computed from the registers. They are summed here only where
/// registers do not suffice for it in the product with the values (ATTN_OVERLAP).
///
/// The reference trails the maximum: it moves only when a score exceeds it by more than ATTN_LAG, so
/// that almost every tile leaves the accumulator alone (weights stay below 256, which costs no
/// accuracy in fp32).
ATTN_INLINE void score_tile(piece_state *state, int32_t done, int32_t pending, const int rows,
                            const int masked, const int vectors) {
  const int overlap = ATTN_OVERLAP && vectors > 1;
  const attn_panel *panel = state->panel;
  const ptrdiff_t lane = state->lane;
  const float *queries = panel->queries + lane;
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  const float *key[2 * ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = state->block->keys[done + r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  ptrdiff_t t = 0;
  if (overlap && pending) {
    const ptrdiff_t steps = panel->head_dim / pending;
    for (int32_t p = done - pending; p < done; p++) {
      for (const ptrdiff_t stop = t + steps; t < stop; t++)
        dot_step(queries, key, t, rows, vectors, acc);
      weigh_key(state, p, vectors);
    }
  }
  for (; t < panel->head_dim; t++) dot_step(queries, key, t, rows, vectors, acc);
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
      peak[v] = r ? larger(acc[r][v], peak[v]) : acc[0][v];
    }
    grew |= peak[v] > load(panel->maxima + lane + v * ATTN_W) + splat(ATTN_LAG);
  }
  if (__builtin_expect(any(grew), 0)) {
    float tile_maxima[ATTN_L];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(tile_maxima + v * ATTN_W, peak[v]);
    raise_maxima(panel, lane, vectors, state->block->pieces[0].first, done, tile_maxima);
    if (overlap) read_references(state, vectors);
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *weights = panel->weights + (ptrdiff_t)done * ATTN_L + lane + v * ATTN_W;
    if (overlap) {
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) store(weights + r * ATTN_L, acc[r][v]);
    } else {
      const vf reference = load_reference(panel, lane + v * ATTN_W);
      vf sum = splat(0);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf p = exp16_vector(acc[r][v] - reference);
        store(weights + r * ATTN_L, p);
        sum += p;
      }
      float *sums = panel->sums + lane + v * ATTN_W;
      if (!ATTN_OVERLAP) store(sums, load(sums) + sum);
    }
  }
}

/// Scores all keys before `end` that fill tiles of `rows`; returns how many are done.
ATTN_INLINE int32_t score_tiles(piece_state *state, int32_t done, int32_t end, int32_t *pending,
                                const int rows, const int masked, const int vectors) {
  for (; done + rows <= end; done += rows) {
    score_tile(state, done, *pending, rows, masked, vectors);
    *pending = rows;
  }
  return done;
}

ATTN_INLINE void weigh_piece(const attn_panel *panel, const attn_block *block,
                             const attn_piece *piece, const int masked, const int vectors) {
  const int overlap = ATTN_OVERLAP && vectors > 1;
  const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W;
  const float *bias = piece->masked & ATTN_BY_BIAS ? block->bias + lane : NULL;
  piece_state state = {panel,
                       block,
                       lane,
                       {block->lower + lane, block->upper + lane, block->first_key},
                       bias,
                       bias || panel->softcap > 0,
                       {}};
  if (overlap) read_references(&state, vectors);
  const int32_t end = piece->first + piece->count;
  int32_t done = piece->first, pending = 0;
  // One vector of lanes takes twice the keys, as in value_columns.
  if (vectors == 1)
    done = score_tiles(&state, done, end, &pending, 2 * ATTN_TILE, masked, vectors);
  done = score_tiles(&state, done, end, &pending, ATTN_TILE, masked, vectors);
  done = score_tiles(&state, done, end, &pending, ATTN_TILE / 2, masked, vectors);
  done = score_tiles(&state, done, end, &pending, 1, masked, vectors);
  if (overlap)
    for (int32_t t = done - pending; t < done; t++) weigh_key(&state, t, vectors);
}

static void attend(const attn_panel *panel, const attn_block *block) {
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    if (piece->masked & ATTN_BY_BOUNDS) {
      ATTN_FOR_VECTORS(piece->vectors, weigh_piece, panel, block, piece, 1)
    } else {
      ATTN_FOR_VECTORS(piece->vectors, weigh_piece, panel, block, piece, 0)
    }
  }
  ATTN_FOR_VECTORS(panel->vectors, add_values, panel, block, ATTN_OVERLAP)
}
