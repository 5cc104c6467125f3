// One block of keys in the online softmax (Milakov & Gimelshein 2018; Dao 2022, 2023).

/// Raises the reference exponents that lag behind the tile in hand by more than ATTN_LAG to its
/// maximum, and `headroom` above it, and brings everything accumulated so far to the new reference:
/// words [first, done) of the block's weights, sums and output. Rare: see score_tile. A lane that does not lag keeps its
/// reference, so that no row's bits depend on the rows beside it.
static __attribute__((noinline)) void raise_maxima(const attn_panel *panel, ptrdiff_t lane,
                                                   int32_t vectors, int32_t first, int32_t done,
                                                   const float *tile_maxima, float headroom,
                                                   attn_format format) {
  float *weights = panel->weights;
  for (int32_t v = 0; v < vectors; v++, lane += ATTN_W) {
    const vf old = load(panel->maxima + lane);
    const vf peak = load(tile_maxima + v * ATTN_W);
    const vi lags = peak > old + splat(ATTN_LAG);
    const vf new = lags ? peak + splat(headroom) : old;
    // A row that still sees nothing stays at -inf; everything it holds is zero.
    const vf factor = old == new ? splat(1) : exp16_vector(old - new);
    store(panel->maxima + lane, new);
    // Rows that have seen nothing yet have nothing to bring along.
    if (!any(lags & (old > splat(-INFINITY)))) continue;
    store(panel->sums + lane, load(panel->sums + lane) * factor);
    for (ptrdiff_t t = first; t < done; t++) {
      float *p = weights + t * ATTN_L + lane;
      store(p, scale_weights(load(p), factor, format));
    }
    for (ptrdiff_t c = 0; c < panel->value_dim; c++) {
      float *p = panel->output + c * ATTN_L + lane;
      store(p, load(p) * factor);
    }
  }
}

/// How far above the maximum references are raised where keys have biases: those of a running sum rise from
/// key to key, and references would be raised again and again. Weights are then 2^-12 and not 1, which
/// costs no accuracy in fp32.
#define ATTN_HEADROOM 3.0f

/// What the tiles of a piece share: the panel from the piece's first vector on, what it sees, and
/// the references its weights are relative to.
typedef struct piece_state {
  const attn_panel *panel;
  const attn_block *block;
  ptrdiff_t lane;
  lane_bounds bounds;
  /// Biases of the piece's lanes at place 0 of the block, where it has any, else NULL.
  const float *bias;
  /// Those of the keys, the same for all lanes, at place 0 of the block; else NULL.
  const float *key_bias;
  /// Whether scores are more than products: bounded or biased.
  int adjusts;
  vf reference[ATTN_VECTORS];
  /// [2 TILE][L] scores of the tile before, where they do not lie where its weights will.
  float *scores;
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

/// Where the scores of the tile at a place of the block wait for their exponentials: an fp32 weight
/// takes its score's place.
ATTN_INLINE float *tile_scores(const piece_state *state, int32_t place,
                               const attn_format format) {
  if (format != ATTN_FP32) return state->scores;
  return (float *)state->panel->weights + (ptrdiff_t)place * ATTN_L + state->lane;
}

/// Turns the scores of the keys of a word, from key `r` of the tile at a place on, into weights
/// 16^(score - reference).
ATTN_INLINE void weigh_word(const piece_state *state, int32_t place, int32_t r,
                            const attn_format format, const weight_exponential how,
                            const int vectors) {
  const int keys = word_keys(format);
  const float *scores = tile_scores(state, place, format) + (ptrdiff_t)r * ATTN_L;
  float *weights = (float *)state->panel->weights + (ptrdiff_t)((place + r) / keys) * ATTN_L +
                   state->lane;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    vf p[2];
#pragma clang loop unroll(full)
    for (int k = 0; k < keys; k++)
      p[k] = exp16_by(how, load(scores + k * ATTN_L + v * ATTN_W) - state->reference[v]);
    store(weights + v * ATTN_W, weights_word(p, format));
  }
}

/// Whether exponentials are computed inside the product loop of the next tile; those of pairs always
/// are, since a word needs both its keys. Additive scores leave no pipe idle.
ATTN_INLINE int overlaps(const attn_format format, const int additive, const int vectors) {
  return format != ATTN_FP32 || (ATTN_OVERLAP && !additive && vectors > 1);
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
ATTN_INLINE void score_tile(piece_state *state, int32_t done, int32_t pending,
                            const attn_format format, const int additive,
                            const weight_exponential how, const int rows, const int masked,
                            const int vectors) {
  const int overlap = overlaps(format, additive, vectors), keys = word_keys(format);
  const attn_panel *panel = state->panel;
  const ptrdiff_t lane = state->lane, words = panel->head_words;
  const float *queries = (const float *)panel->queries + lane;
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  const float *key[2 * ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = state->block->keys[done + r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  // An additive row of keys has no products to take.
  ptrdiff_t t = additive ? words : 0;
  if (additive) {
    float scores[ATTN_TILE * ATTN_L];
    additive_tile(queries, words, key, rows, vectors, scores);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) acc[r][v] = load(scores + (r * vectors + v) * ATTN_W);
  }
  if (overlap && pending) {
    const ptrdiff_t steps = words / (pending / keys);
    for (int32_t r = 0; r < pending; r += keys) {
      for (const ptrdiff_t stop = t + steps; t < stop; t++)
        dot_step(queries, key, t, format, rows, vectors, acc);
      weigh_word(state, done - pending, r, format, how, vectors);
    }
  }
  for (; t < words; t++) dot_step(queries, key, t, format, rows, vectors, acc);
  if (format != ATTN_FP32) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) acc[r][v] *= splat(panel->factor);
  }
  if (__builtin_expect(state->adjusts, 0)) {
    const float *bias = state->bias ? state->bias + (ptrdiff_t)done * ATTN_L : NULL;
    adjust_tile(panel->softcap, bias, acc, rows, vectors);
  }
  if (state->key_bias) {
    const float *bias = state->key_bias + done;
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) acc[r][v] += broadcast(bias + r);
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
    raise_maxima(panel, lane, vectors, state->block->pieces[0].first / keys, done / keys,
                 tile_maxima, state->key_bias ? ATTN_HEADROOM : 0, format);
    if (overlap) read_references(state, vectors);
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *scores = tile_scores(state, done, format) + v * ATTN_W;
    if (overlap) {
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) store(scores + r * ATTN_L, acc[r][v]);
    } else {
      const vf reference = load_reference(panel, lane + v * ATTN_W);
      vf sum = splat(0);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf p = exp16_by(how, acc[r][v] - reference);
        store(scores + r * ATTN_L, p);
        sum += p;
      }
      float *sums = panel->sums + lane + v * ATTN_W;
      if (!ATTN_OVERLAP) store(sums, load(sums) + sum);
    }
  }
}

/// Scores all keys before `end` that fill tiles of `rows`; returns how many are done.
ATTN_INLINE int32_t score_tiles(piece_state *state, int32_t done, int32_t end, int32_t *pending,
                                const attn_format format, const int additive,
                                const weight_exponential how, const int rows, const int masked,
                                const int vectors) {
  for (; done + rows <= end; done += rows) {
    score_tile(state, done, *pending, format, additive, how, rows, masked, vectors);
    *pending = rows;
  }
  return done;
}

ATTN_INLINE void weigh_piece(const attn_panel *panel, const attn_block *block,
                             const attn_piece *piece, const attn_format format,
                             const int additive, const weight_exponential how, const int masked,
                             const int vectors) {
  const int keys = word_keys(format);
  const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W;
  const float *bias = piece->masked & ATTN_BY_BIAS ? block->bias + lane : NULL;
  float scores[2 * ATTN_TILE * ATTN_L];
  piece_state state = {panel,
                       block,
                       lane,
                       {block->lower + lane, block->upper + lane, block->first_key},
                       bias,
                       piece->masked & ATTN_BY_KEY_BIAS ? block->key_bias : NULL,
                       bias || panel->softcap > 0,
                       {},
                       scores};
  if (overlaps(format, additive, vectors)) read_references(&state, vectors);
  const int32_t end = piece->first + piece->count;
  int32_t done = piece->first, pending = 0;
  // One vector of lanes takes twice the keys, as in value_columns. A key of additive scores costs so much that
  // the size of a tile makes no difference.
  if (vectors == 1 && !additive)
    done = score_tiles(&state, done, end, &pending, format, additive, how, 2 * ATTN_TILE, masked,
                       vectors);
  if (!additive)
    done = score_tiles(&state, done, end, &pending, format, additive, how, ATTN_TILE, masked, vectors);
  done = score_tiles(&state, done, end, &pending, format, additive, how, ATTN_TILE / 2, masked,
                     vectors);
  done = score_tiles(&state, done, end, &pending, format, additive, how, keys, masked, vectors);
  if (overlaps(format, additive, vectors))
    for (int32_t r = 0; r < pending; r += keys)
      weigh_word(&state, done - pending, r, format, how, vectors);
}

ATTN_INLINE void attend(const attn_panel *panel, const attn_block *block,
                        const attn_format format, const int additive,
                        const weight_exponential how) {
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    if (piece->masked & ATTN_BY_BOUNDS) {
      ATTN_FOR_VECTORS(piece->vectors, weigh_piece, panel, block, piece, format, additive, how, 1)
    } else {
      ATTN_FOR_VECTORS(piece->vectors, weigh_piece, panel, block, piece, format, additive, how, 0)
    }
  }
  ATTN_FOR_VECTORS(panel->vectors, add_values, panel, block, format,
                   format != ATTN_FP32 || ATTN_OVERLAP)
}

static void attend_by_table(const attn_panel *panel, const attn_block *block) {
  attend(panel, block, ATTN_FP32, 0, EXPONENTIAL_BY_TABLE);
}

#ifdef ATTN_SCALE
static void attend_by_scale(const attn_panel *panel, const attn_block *block) {
  attend(panel, block, ATTN_FP32, 0, EXPONENTIAL_BY_SCALE);
}
#endif

#ifdef ATTN_SCALE
static void attend_fp32(const attn_panel *panel, const attn_block *block) {
  (attn_pipes_are_shared() ? attend_by_scale : attend_by_table)(panel, block);
}

static void attend_otherwise(const attn_panel *panel, const attn_block *block) {
  (attn_pipes_are_shared() ? attend_by_table : attend_by_scale)(panel, block);
}

#define ATTN_OTHERWISE attend_otherwise
#else
#define attend_fp32 attend_by_table
#define ATTN_OTHERWISE NULL
#endif

static void attend_additive(const attn_panel *panel, const attn_block *block) {
  attend(panel, block, ATTN_FP32, 1, EXPONENTIAL_BY_TABLE);
}

#if ATTN_HAS_PAIRS
static void attend_pairs(const attn_panel *panel, const attn_block *block) {
  attend(panel, block, ATTN_BF16_PAIRS, 0, EXPONENTIAL_BY_TABLE);
}
#endif
