// Online softmax of a few query rows over a chunk of keys (Milakov & Gimelshein 2018).

/// Whether mask and bias leave a key visible to a row.
ATTN_INLINE int shows_key(const attn_row_bias *row, int32_t key) {
  if (key >= row->columns || (row->mask && !row->mask[key])) return 0;
  return !row->bias || row->bias[key] != -INFINITY;
}

/// Whether mask and bias leave any key of the chunk visible to any row: a chunk that they hide
/// is not read.
static int shows_any(const attn_decode *all, const attn_decode_chunk *chunk) {
  if (!all->biases || (!all->biases->mask && !all->biases->bias)) return 1;
  for (int32_t row = 0; row < all->rows; row++)
    for (int32_t t = 0; t < chunk->count; t++)
      if (shows_key(all->biases + row, chunk->numbers[t])) return 1;
  return 0;
}

/// Adds bias and slopes to a row's scores and hides what mask and bias hide. Writes whole vectors.
static void adjust_scores(const attn_row_bias *row, const attn_decode_chunk *chunk,
                          float *scores) {
  const vf unit = splat(ATTN_LOG16E), limit = splat(ATTN_LARGEST * ATTN_LOG16E);
  const vf slope = splat(row->slope);
  float bias[ATTN_W] = {0}, distance[ATTN_W] = {0};
  for (int32_t t = 0; t < chunk->count; t += ATTN_W) {
    for (int32_t i = 0; i < ATTN_W && t + i < chunk->count; i++) {
      const int32_t key = chunk->numbers[t + i];
      bias[i] = !shows_key(row, key) ? -INFINITY : row->bias ? row->bias[key] : 0;
      distance[i] = (float)(row->position - key);
    }
    const vf share = slope_share(slope, load(distance), limit);
    store(scores + t, biased(load(scores + t), bias_in_units(load(bias), share, unit, limit)));
  }
}

/// The scales that follow rows of integers, and 0 up to the next multiple of W.
static void read_scales(const void *const *rows, int32_t count, int32_t columns, float *scales) {
  for (int32_t t = 0; t < count; t++)
    __builtin_memcpy(scales + t, (const char *)rows[t] + ((columns + 3) & ~3), sizeof *scales);
  for (int32_t t = count; t % ATTN_W; t++) scales[t] = 0;
}

/// Turns a row's scores into weights 16^(score - maximum), -0 for hidden keys, and brings what has
/// been summed to the new maximum. Scales of keys and values, or NULL, are those of the chunk.
/// Returns whether any of the chunk's keys is hidden from the row.
ATTN_INLINE int weigh_row(const attn_decode *all, const attn_decode_chunk *chunk, int32_t row,
                          const float *key_scales, const float *value_scales) {
  float *scores = all->scores + row * (ptrdiff_t)ATTN_DECODE_SCORES;
  float *own = scores + chunk->first;
  if (key_scales)
    for (int32_t t = 0; t < chunk->count; t += ATTN_W)
      store(own + t, load(own + t) * load(key_scales + t) * splat(all->factor));
  const int32_t end = chunk->first + chunk->count;
  if (all->softcap > 0) soften(scores, (end + ATTN_W - 1) / ATTN_W, all->softcap);
  if (all->biases) adjust_scores(all->biases + row, chunk, own);

  const int32_t low = chunk->lower[row] - chunk->base, high = chunk->upper[row] - chunk->base;
  const int32_t from = low > chunk->first ? low : chunk->first, to = high < end ? high : end;
  vi place;
  for (int i = 0; i < ATTN_W; i++) place[i] = i;
  vf peak = splat(-INFINITY);
  for (int32_t t = 0; t < end; t += ATTN_W) {
    const vi seen = (place + t >= splat_int(from)) & (place + t < splat_int(to));
    const vf x = seen ? load(scores + t) : splat(-INFINITY);
    store(scores + t, x);
    peak = larger(x, peak);
  }
  const float old = all->maxima[row], top = max_lanes(peak), maximum = top > old ? top : old;
  if (maximum != old) {
    const float factor = exp16_vector(splat(old - maximum))[0];
    all->maxima[row] = maximum;
    all->sums[row] *= factor;
    scale_row(all->output + row * (ptrdiff_t)all->value_dim, all->value_dim, factor);
  }
  const vf reference = splat(maximum == -INFINITY ? 0 : maximum);
  vf sum = splat(0);
  int32_t visible = 0;
  for (int32_t t = 0; t < end; t += ATTN_W) {
    const vf x = load(scores + t);
    const vi hidden = x == splat(-INFINITY);
    const vf p = exp16_vector(x - reference);
    sum += p;
    store(scores + t, hidden ? splat(-0.0f) : p);
    visible += ATTN_W + __builtin_reduce_add(hidden);
  }
  all->sums[row] += sum_lanes(sum);
  // The -0 of a hidden key stays one.
  if (chunk->factors)
    for (int32_t t = 0; t < chunk->count; t += ATTN_W)
      store(own + t, load(own + t) * load(chunk->factors + t));
  if (value_scales)
    for (int32_t t = 0; t < chunk->count; t += ATTN_W) {
      const vf weight = load(own + t);
      // A hidden key's scale may be a NaN.
      store(own + t, (vi)weight < 0 ? weight : weight * load(value_scales + t));
    }
  return visible < chunk->count;
}

/// Values of a chunk some of which are not finite and some hidden: 0 times infinity is not 0. For
/// correctness, not for speed.
static __attribute__((noinline)) void add_hidden_values(const attn_decode *all,
                                                        const attn_decode_chunk *chunk) {
  switch (all->storage) {
    case ATTN_FLOAT16: add_chunk_values(all, chunk, ATTN_FLOAT16, 1); break;
    case ATTN_BFLOAT16: add_chunk_values(all, chunk, ATTN_BFLOAT16, 1); break;
    default: add_chunk_values(all, chunk, ATTN_FLOAT32, 1); break;
  }
}

ATTN_INLINE void decode_stored(const attn_decode *all, const attn_decode_chunk *chunk,
                               const attn_storage storage) {
  const int integers = storage == ATTN_INT8_PER_TOKEN || storage == ATTN_INT8_PER_CHANNEL;
  score_chunk(all, chunk, storage);
  float key_scales[ATTN_DECODE_KEYS], value_scales[ATTN_DECODE_KEYS];
  const int scaled = all->storage == ATTN_INT8_PER_TOKEN;
  if (scaled) {
    read_scales(chunk->keys, chunk->count, all->head_dim, key_scales);
    read_scales(chunk->values, chunk->count, all->value_dim, value_scales);
  }
  int hides = 0;
  for (int32_t row = 0; row < all->rows; row++)
    hides |= weigh_row(all, chunk, row, scaled ? key_scales : 0, scaled ? value_scales : 0);
  if (!integers && hides && !stored_values_finite(all, chunk, storage))
    add_hidden_values(all, chunk);
  else
    add_chunk_values(all, chunk, storage, 0);
}

static void decode(const attn_decode *all, const attn_decode_chunk *chunk) {
  if (!shows_any(all, chunk)) return;
  switch (all->storage) {
    case ATTN_FLOAT32: decode_stored(all, chunk, ATTN_FLOAT32); break;
    case ATTN_FLOAT16: decode_stored(all, chunk, ATTN_FLOAT16); break;
    case ATTN_BFLOAT16: decode_stored(all, chunk, ATTN_BFLOAT16); break;
    default: decode_stored(all, chunk, ATTN_INT8_PER_CHANNEL); break;
  }
}
