// One block of keys in the online softmax, with operands whose rows have scales: fp16 numbers and 8-bit
// integers (SageAttention: Zhang 2024, arXiv 2410.02367).
//
// Weights are taken relative to the block's own maximum, a row's each: with so few bits they would vanish
// where a block's keys are all far below the row's maximum. What the block adds up to is brought to the
// row's reference when it is added to the output. A value's scale goes into its key's weight before that is
// rounded. The sum of weights is of those before rounding, without the scales of values: what rounding
// loses of many small weights then has the mean of the rest for its value, not 0.

/// Words of fp16 that are added up one by one before their sum is added to those before them: rounding
/// errors then are those of few large numbers and many small ones.
#define ATTN_HALF_WORDS 8

/// Weights of fp16 are 2^7 times as large, so that those of 2^-21 still are normal numbers; those of 8 bits
/// are out of 255.
#define ATTN_HALF_WEIGHT 128.0f
#define ATTN_BYTE_WEIGHT 255.0f

/// What a weight of 1 is as it is summed.
ATTN_INLINE float weight_unit(const attn_format format) {
  return value_format(format) == ATTN_INT8_QUADS ? ATTN_BYTE_WEIGHT : 1;
}

/// What the product of a weight and a value is in sums: 1 / 16 of a scale is in the values' shifts.
ATTN_INLINE float product_unit(const attn_format format) {
  const attn_format values = value_format(format);
  if (values == ATTN_FP16_PAIRS) return ATTN_HALF_WEIGHT * row_limit(values) / 16;
  return values == ATTN_INT8_QUADS ? ATTN_BYTE_WEIGHT * row_limit(values) / 16 : 1;
}

/// The largest score, in base 16, beside which the scales of values still show: what rounding takes of them is
/// 3e-4 of a weight.
#define ATTN_LARGE_SCORE 4096.0f

/// 16^(x - reference) times a unit for x <= reference, relative error 7.5e-5. Without `large` references are
/// at most ATTN_LARGE_SCORE, and one operation is saved.
#ifdef ATTN_FRACTION
ATTN_INLINE vf weight_of(vf x, vf reference, float unit, const int large) {
  const vf y = large ? (x - reference) * splat(4) : x * splat(4) - reference * splat(4),
           f = ATTN_FRACTION(y);
  // Minimax in relative error for 2^f, 0 <= f < 1.
  vf p = splat(unit * 0.07802452f) * f + splat(unit * 0.22606716f);
  p = p * f + splat(unit * 0.69583354f);
  p = p * f + splat(unit * 0.99992522f);
  return ATTN_TIMES_POWER(p, y);
}
#else
ATTN_INLINE vf weight_of(vf x, vf reference, float unit, const int large) {
  (void)large;
  return exp16_vector(x - reference) * splat(unit);
}
#endif

/// A word of the weights of one, two or four keys, in units of weight_unit.
///
/// Bits of fp16 are moved from fp32 numbers 2^-112 times as large.
ATTN_INLINE vf pack_weights(const vf weights[4], const attn_format format) {
  if (value_format(format) == ATTN_FP32) return weights[0];
  if (value_format(format) == ATTN_FP16_PAIRS) {
    // To nearest, halves up. They are not negative, and their exponents fit.
    const words half = (words)splat_int(0x1000);
    const vf unit = splat(ATTN_HALF_WEIGHT / ATTN_HALF_BIAS);
    const words low = ((words)(weights[0] * unit) + half) >> 13;
    const words high = ((words)(weights[1] * unit) + half) << 3;
    return (vf)(low | (high & (words)splat_int((int32_t)0xffff0000)));
  }
  words word = (words)ATTN_TO_INT(weights[0]);
#pragma clang loop unroll(full)
  for (int k = 1; k < 4; k++) word |= (words)ATTN_TO_INT(weights[k]) << (8 * k);
  return (vf)word;
}

/// What the stages of a block share.
typedef struct scaled_block {
  const attn_panel *panel;
  const attn_block *block;
  /// [L] largest score of the block, later what its weights are relative to.
  float peaks[ATTN_L];
  /// [L] what the block's sums are multiplied by.
  float factors[ATTN_L];
  /// [L] sum of the block's weights, key by key: what pieces they come in, which a row's neighbours have a say
  /// in, shows in no bit.
  float sums[ATTN_L];
  /// [L] 1 for a lane that takes the block by itself, with the scales of values behind its weights; 0 otherwise.
  float apart[ATTN_L];
  /// Whether the scales of values come in once weights are known, and not with the scores: beside large scores
  /// and biases they would vanish, and where they are very different so would weights.
  int late;
} scaled_block;

/// Adds what is stored of fp16 sums.
ATTN_INLINE void add_half_sums(const float *stored, const int rows, const int vectors,
                               vf (*acc)[ATTN_VECTORS]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      acc[r][v] = ATTN_HALF_ADD(acc[r][v], load(stored + r * ATTN_L + v * ATTN_W));
}

/// Scores of keys [place, place + rows) of a piece, -inf for a key that a lane does not see, in the place of
/// their weights.
ATTN_INLINE void scaled_score_tile(scaled_block *state, const attn_piece *piece, int32_t place,
                                   const attn_format format, const int rows, const int masked,
                                   const int late, const int vectors) {
  const attn_panel *panel = state->panel;
  const attn_block *block = state->block;
  const attn_key_scales *scales = block->scales;
  const attn_format products = score_format(format);
  const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W, words_of_row = panel->head_words;
  const float *queries = (const float *)panel->queries + lane;
  const float *key[2 * ATTN_TILE];
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = block->keys[place + r];
    vf start = splat(0);
    if (products == ATTN_INT8_QUADS) start = broadcast((const float *)(const void *)(scales->offsets + place + r));
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = start;
  }
  float *scores = (float *)panel->weights + (ptrdiff_t)place * ATTN_L + lane;
  ptrdiff_t t = 0;
  const int begun = products == ATTN_FP16_PAIRS && words_of_row > ATTN_HALF_WORDS;
  while (begun && words_of_row - t > ATTN_HALF_WORDS) {
    for (const ptrdiff_t stop = t + ATTN_HALF_WORDS; t < stop; t++)
      dot_step(queries, key, t, products, rows, vectors, acc);
    if (t > ATTN_HALF_WORDS) add_half_sums(scores, rows, vectors, acc);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        store(scores + r * ATTN_L + v * ATTN_W, acc[r][v]);
        acc[r][v] = splat(0);
      }
  }
  for (; t < words_of_row; t++) dot_step(queries, key, t, products, rows, vectors, acc);
  if (begun) add_half_sums(scores, rows, vectors, acc);

  const float *bias = piece->masked & ATTN_BY_BIAS ? block->bias + (ptrdiff_t)place * ATTN_L + lane : NULL;
  const float *key_bias = piece->masked & ATTN_BY_KEY_BIAS ? block->key_bias + place : NULL;
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf scale = broadcast(scales->scales + place + r);
    vf shift = broadcast(scales->shifts + place + r);
    if (!late) shift += broadcast(scales->value_shifts + place + r);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      const vf sum = fp32_sum(acc[r][v], products);
      acc[r][v] = sum * load(panel->query_scales + lane + v * ATTN_W) * scale + shift;
    }
  }
  if (late || bias) adjust_tile(panel->softcap, bias, acc, rows, vectors);
  if (key_bias) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) acc[r][v] += broadcast(key_bias + r);
  }
  const lane_bounds bounds = {block->lower + lane, block->upper + lane, block->first_key};
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *peak = state->peaks + lane + v * ATTN_W;
    vf largest = load(peak);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      if (masked) acc[r][v] = sees(&bounds, v, place + r) ? acc[r][v] : splat(-INFINITY);
      largest = larger(acc[r][v], largest);
      store(scores + r * ATTN_L + v * ATTN_W, acc[r][v]);
    }
    store(peak, largest);
  }
}

ATTN_INLINE void score_scaled_piece(scaled_block *state, const attn_piece *piece, const attn_format format,
                                    const int masked, const int late, const int vectors) {
  const int32_t end = piece->first + piece->count;
  const int sizes[4] = {vectors == 1 ? 2 * ATTN_TILE : ATTN_TILE, ATTN_TILE, ATTN_TILE / 2,
                        word_keys(format)};
  int32_t place = piece->first;
#pragma clang loop unroll(full)
  for (int i = 0; i < 4; i++)
    for (const int rows = sizes[i]; place + rows <= end; place += rows)
      scaled_score_tile(state, piece, place, format, rows, masked, late, vectors);
}

/// Brings the panel's reference to the block's maxima where these exceed it, and everything added up so far
/// with it.
static __attribute__((noinline)) void settle_references(scaled_block *state, ptrdiff_t columns) {
  const attn_panel *panel = state->panel;
  for (ptrdiff_t lane = 0; lane < panel->vectors * ATTN_W; lane += ATTN_W) {
    const vf old = load(panel->maxima + lane), peak = load(state->peaks + lane);
    const vf new = larger(peak, old);
    // A row that still sees nothing stays at -inf; what it sees nothing of adds nothing.
    const vi empty = peak == splat(-INFINITY);
    store(state->factors + lane, empty ? splat(0) : exp16_vector(peak - new));
    store(state->peaks + lane, empty ? splat(0) : peak);
    const vi grew = (new != old) & (old > splat(-INFINITY));
    store(panel->maxima + lane, new);
    if (!any(grew)) continue;
    const vf factor = grew ? exp16_vector(old - new) : splat(1);
    store(panel->sums + lane, load(panel->sums + lane) * factor);
    for (ptrdiff_t c = 0; c < columns; c++) {
      float *p = panel->output + c * ATTN_L + lane;
      store(p, load(p) * factor);
    }
  }
}

/// Turns a piece's scores into weights, which are added to the sums. With `late` weights, not words, are
/// stored, without the scales of values; `late_weights` follows.
ATTN_INLINE void weigh_scaled_piece(scaled_block *state, const attn_piece *piece, const attn_format format,
                                    const int late, const int vectors) {
  const int keys = late ? 1 : word_keys(format);
  const attn_panel *panel = state->panel;
  const ptrdiff_t lane = (ptrdiff_t)piece->first_vector * ATTN_W;
  const float *value_weights = state->block->scales->value_weights;
  const float unit = late ? 1 : weight_unit(format);
  vf reference[ATTN_VECTORS], sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    reference[v] = load(state->peaks + lane + v * ATTN_W);
    sum[v] = load(state->sums + lane + v * ATTN_W);
  }
  for (ptrdiff_t place = piece->first; place < piece->first + piece->count; place += keys) {
    float *scores = (float *)panel->weights + place * ATTN_L + lane;
    float *word = (float *)panel->weights + place / keys * ATTN_L + lane;
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      vf weights[4];
#pragma clang loop unroll(full)
      for (int k = 0; k < keys; k++) {
        weights[k] = weight_of(load(scores + k * ATTN_L + v * ATTN_W), reference[v], unit, late);
        sum[v] += late ? weights[k] : weights[k] * splat(value_weights[place + k]);
      }
      store(word + v * ATTN_W, late ? weights[0] : pack_weights(weights, format));
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) store(state->sums + lane + v * ATTN_W, sum[v]);
}

/// Adds the sums of a block's weights to the panel's.
ATTN_INLINE void add_scaled_sums(const scaled_block *state, const attn_format format) {
  const float unit = state->late ? 1 : weight_unit(format);
  for (ptrdiff_t lane = 0; lane < state->panel->vectors * ATTN_W; lane += ATTN_W) {
    float *sums = state->panel->sums + lane;
    const vf factor = load(state->factors + lane) * splat(1 / unit);
    store(sums, load(state->sums + lane) * factor + load(sums));
  }
}

/// Brings the scales of values into the weights of a block, relative to the largest product of the two in a
/// row, and packs them. What a row is relative to goes into its factor. For correctness, not for speed.
static __attribute__((noinline)) void late_weights(scaled_block *state, attn_format format) {
  const attn_block *block = state->block;
  const attn_key_scales *scales = block->scales;
  const int keys = word_keys(format);
  // A power of two: which keys of a block a panel reads then shows in no bit.
  const float unit = weight_unit(format),
              largest_scale = __builtin_ceilf(4 * scales->largest_value_shift) / 4;
  float relative[ATTN_BLOCK_KEYS];
  for (int32_t i = 0; i < block->piece_count; i++)
    for (int32_t t = block->pieces[i].first; t < block->pieces[i].first + block->pieces[i].count; t++)
      relative[t] = scales->is_zero[t] ? 0 : exp16_vector(splat(scales->value_shifts[t] - largest_scale))[0];
  vf largest[ATTN_VECTORS];
  for (int v = 0; v < ATTN_VECTORS; v++) largest[v] = splat(0);
  for (int pass = 0; pass < 2; pass++) {
    for (int32_t i = 0; i < block->piece_count; i++) {
      const attn_piece *piece = block->pieces + i;
      for (ptrdiff_t t = piece->first; t < piece->first + piece->count; t += keys)
        for (int v = piece->first_vector; v < piece->first_vector + piece->vectors; v++) {
          float *place = (float *)state->panel->weights + t * ATTN_L + v * ATTN_W;
          vf weights[4];
          for (int k = 0; k < keys; k++) {
            const vf weight = load(place + k * ATTN_L);
            // A value that is no number makes that of the rows that see it.
            const int missing = relative[t + k] != relative[t + k];
            weights[k] = missing ? splat(0) : weight * splat(relative[t + k]);
            if (pass == 0) {
              float *sum = state->panel->sums + v * ATTN_W;
              if (missing) store(sum, weight > splat(0) ? splat(NAN) : load(sum));
              largest[v] = larger(weights[k], largest[v]);
            } else {
              weights[k] = largest[v] > splat(0) ? weights[k] / largest[v] * splat(unit) : splat(0);
            }
          }
          if (pass == 0) continue;
          vf word = weights[0];
          if (value_format(format) == ATTN_INT8_QUADS) word = pack_weights(weights, ATTN_INT8_QUADS);
          if (value_format(format) == ATTN_FP16_PAIRS) word = pack_weights(weights, ATTN_FP16_PAIRS);
          store((float *)state->panel->weights + t / keys * ATTN_L + v * ATTN_W, word);
        }
    }
  }
  const vf scale = exp16_vector(splat(largest_scale));
  for (int v = 0; v < ATTN_VECTORS; v++) {
    float *factor = state->factors + v * ATTN_W;
    store(factor, load(factor) * largest[v] * scale);
  }
}

/// Scores of all keys of a block.
ATTN_INLINE void score_scaled_block(scaled_block *state, const attn_format format) {
  const attn_block *block = state->block;
  for (int v = 0; v < ATTN_VECTORS; v++) store(state->peaks + v * ATTN_W, splat(-INFINITY));
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    const int bounded = piece->masked & ATTN_BY_BOUNDS;
    if (state->late && bounded) {
      ATTN_FOR_VECTORS(piece->vectors, score_scaled_piece, state, piece, format, 1, 1)
    } else if (state->late) {
      ATTN_FOR_VECTORS(piece->vectors, score_scaled_piece, state, piece, format, 0, 1)
    } else if (bounded) {
      ATTN_FOR_VECTORS(piece->vectors, score_scaled_piece, state, piece, format, 1, 0)
    } else {
      ATTN_FOR_VECTORS(piece->vectors, score_scaled_piece, state, piece, format, 0, 0)
    }
  }
}

/// How far the scales of the values that lanes see are apart, of values that are not 0.
ATTN_INLINE vf value_range(const scaled_block *state, ptrdiff_t lane) {
  const attn_block *block = state->block;
  vf least = splat(INFINITY), largest = splat(-INFINITY);
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    const ptrdiff_t first = (ptrdiff_t)piece->first_vector * ATTN_W;
    if (lane < first || lane >= first + piece->vectors * ATTN_W) continue;
    for (ptrdiff_t t = piece->first; t < piece->first + piece->count; t++) {
      if (block->scales->is_zero[t]) continue;
      const vf shift = splat(block->scales->value_shifts[t]);
      const vi seen = load((const float *)state->panel->weights + t * ATTN_L + lane) > splat(-INFINITY);
      least = (seen & (shift < least)) ? shift : least;
      largest = (seen & (shift > largest)) ? shift : largest;
    }
  }
  return largest - least;
}

/// Finds the lanes that take a scored block by themselves: their scores are so large that the scales of values
/// vanish beside them, or those scales are very different. A row's own keys decide, and none of its neighbours'.
static __attribute__((noinline)) int find_apart(scaled_block *state) {
  vi found = splat_int(0);
  for (ptrdiff_t lane = 0; lane < state->panel->vectors * ATTN_W; lane += ATTN_W) {
    const vf peak = load(state->peaks + lane);
    vi apart = ((peak > splat(ATTN_LARGE_SCORE)) | (peak < splat(-ATTN_LARGE_SCORE))) &
               (peak > splat(-INFINITY));
    if (state->block->scales->values_differ)
      apart |= value_range(state, lane) > splat(ATTN_EVEN_SHIFTS);
    store(state->apart + lane, apart ? splat(1) : splat(0));
    found |= apart;
  }
  return any(found);
}

/// Leaves out of a scored block the lanes that take it by themselves, or all others.
static __attribute__((noinline)) void leave_out(scaled_block *state, float which) {
  const attn_block *block = state->block;
  for (ptrdiff_t lane = 0; lane < state->panel->vectors * ATTN_W; lane += ATTN_W) {
    const vi out = load(state->apart + lane) == splat(which);
    store(state->peaks + lane, out ? splat(-INFINITY) : load(state->peaks + lane));
    for (int32_t i = 0; i < block->piece_count; i++) {
      const attn_piece *piece = block->pieces + i;
      for (ptrdiff_t place = piece->first; place < piece->first + piece->count; place++) {
        float *score = (float *)state->panel->weights + place * ATTN_L + lane;
        store(score, out ? splat(-INFINITY) : load(score));
      }
    }
  }
}

/// Turns a block's scores into weights and adds up the values.
ATTN_INLINE void add_scaled_block(scaled_block *state, const attn_format format) {
  const attn_panel *panel = state->panel;
  const attn_block *block = state->block;
  const int32_t columns = whole_columns(panel->value_dim, format);
  settle_references(state, columns);
  for (int v = 0; v < ATTN_VECTORS; v++) store(state->sums + v * ATTN_W, splat(0));
  for (int32_t i = 0; i < block->piece_count; i++) {
    const attn_piece *piece = block->pieces + i;
    if (state->late) {
      ATTN_FOR_VECTORS(piece->vectors, weigh_scaled_piece, state, piece, format, 1)
    } else {
      ATTN_FOR_VECTORS(piece->vectors, weigh_scaled_piece, state, piece, format, 0)
    }
  }
  add_scaled_sums(state, format);
  if (state->late) late_weights(state, format);
  for (int v = 0; v < ATTN_VECTORS; v++) {
    float *factor = state->factors + v * ATTN_W;
    store(factor, load(factor) * splat(1 / product_unit(format)));
  }
  const weighted_values all = {(const float *const *)block->values, panel->weights, ATTN_L,
                               block->pieces, block->piece_count, block->prefetch, NULL,
                               state->factors};
  ATTN_FOR_VECTORS(panel->vectors, value_columns, &all, columns, panel->output, NULL,
                   value_format(format), 0)
}

/// Whether every lane sees every key.
ATTN_INLINE int sees_all(const attn_panel *panel, const attn_block *block) {
  const attn_piece *piece = block->pieces;
  return block->piece_count == 1 && !piece->masked && piece->vectors == panel->vectors;
}

ATTN_INLINE void attend_scaled(const attn_panel *panel, const attn_block *block, const attn_format format) {
  const int differs = block->scales->values_differ && sees_all(panel, block);
  scaled_block state = {panel, block, {}, {}, {}, {}, panel->softcap > 0 || differs};
  int divided = 0;
  for (;;) {
    score_scaled_block(&state, format);
    if (divided)
      leave_out(&state, 0);
    else if (!state.late && find_apart(&state))
      leave_out(&state, (float)(divided = 1));
    add_scaled_block(&state, format);
    if (!divided || state.late) return;
    state.late = 1;
  }
}
