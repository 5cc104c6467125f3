// Masks and biases as rows of a tensor: read, turned into lanes, and into bits.

typedef uint8_t vb __attribute__((ext_vector_type(ATTN_W)));
typedef uint8_t vb_unaligned __attribute__((ext_vector_type(ATTN_W), aligned(1)));
typedef _Bool vbool __attribute__((ext_vector_type(ATTN_W)));

/// `left` floats of a row, then what hides.
ATTN_INLINE vf load_bias(const float *row, int64_t left) {
  if (__builtin_expect(left >= ATTN_W, 1)) return load(row);
  vf x = splat(-INFINITY);
  for (int64_t i = 0; i < left; i++) x[i] = row[i];
  return x;
}

/// 0 for a visible key and -inf for a hidden one; `left` bytes of a row, then what hides.
ATTN_INLINE vf load_mask(const uint8_t *row, int64_t left) {
  vb bytes = 0;
  if (__builtin_expect(left >= ATTN_W, 1)) {
    bytes = *(const vb_unaligned *)row;
  } else {
    for (int64_t i = 0; i < left; i++) bytes[i] = row[i];
  }
  return __builtin_convertvector(bytes, vi) == splat_int(0) ? splat(-INFINITY) : splat(0);
}

/// Prefetches what the next block reads of a row.
ATTN_INLINE void prefetch_next(const void *row, int64_t column, int size) {
  for (int64_t k = 0; k < ATTN_BLOCK_KEYS * size; k += ATTN_LINE_BYTES)
    __builtin_prefetch((const char *)row + (column + ATTN_BLOCK_KEYS) * size + k, 0, 2);
}

/// W places of one vector of lanes; rows, slopes and distances are those of its lanes.
ATTN_INLINE void fill_tile(const attn_bias_block *all, const attn_row_bias *rows, vf slopes,
                           vf distances, int32_t t, float *out) {
  const vf unit = splat(ATTN_LOG16E), limit = splat(ATTN_LARGEST * ATTN_LOG16E);
  const int64_t column = all->column + t;
  vf r[ATTN_W];
  for (int i = 0; i < ATTN_W; i++)
    r[i] = rows->bias ? load_bias(rows[i].bias + column, rows[i].columns - column) : splat(0);
  if (rows->bias) transpose(r);
  for (int i = 0; i < ATTN_W && t + i < all->count; i++) {
    vf share = splat(0);
    if (all->offsets)
      share = slope_share(slopes, distances - splat(all->offsets[t + i]), limit);
    r[i] = bias_in_units(r[i], share, unit, limit);
  }
  if (rows->mask) {
    vf hidden[ATTN_W];
    for (int i = 0; i < ATTN_W; i++)
      hidden[i] = load_mask(rows[i].mask + column, rows[i].columns - column);
    transpose(hidden);
    for (int i = 0; i < ATTN_W; i++) r[i] = hidden[i] < splat(0) ? hidden[i] : r[i];
  }
  for (int i = 0; i < ATTN_W && t + i < all->count; i++)
    store(out + (ptrdiff_t)(t + i) * ATTN_L, r[i]);
}

static void fill_bias(const attn_bias_block *all, float *out) {
  for (int32_t lane = all->first_lane; lane < all->first_lane + all->lanes; lane += ATTN_W) {
    const attn_row_bias *rows = all->rows + lane;
    vf slopes, distances;
    for (int i = 0; i < ATTN_W; i++) {
      slopes[i] = rows[i].slope;
      distances[i] = (float)(rows[i].position - all->key);
      if (rows->mask) prefetch_next(rows[i].mask, all->column, 1);
      if (rows->bias) prefetch_next(rows[i].bias, all->column, 4);
    }
    for (int32_t t = 0; t < all->count; t += ATTN_W)
      fill_tile(all, rows, slopes, distances, t, out + lane);
  }
}

static void bias_row(float *row, int64_t count, float scale, float units,
                     const attn_row_bias *all) {
  const vf factor = splat(scale), unit = splat(units), slope = splat(all->slope);
  const vf limit = splat(ATTN_LARGEST * units), position = splat((float)all->position);
  vf place;
  for (int i = 0; i < ATTN_W; i++) place[i] = (float)i;
  for (int64_t j = 0; j < count; j += ATTN_W) {
    const int64_t left = count - j;
    vf x = splat(0);
    if (left >= ATTN_W) {
      x = load(row + j);
    } else {
      for (int64_t i = 0; i < left; i++) x[i] = row[j + i];
    }
    const vf distance = position - (place + splat((float)j));
    vf b = all->bias ? load_bias(all->bias + j, all->columns - j) : splat(0);
    b = bias_in_units(b, slope_share(slope, distance, limit), unit, limit);
    if (all->mask) {
      const vf hidden = load_mask(all->mask + j, all->columns - j);
      b = hidden < splat(0) ? hidden : b;
    }
    // Not by adding: the score of a hidden key may be NaN.
    const vf sum = x * factor + b;
    x = b == splat(-INFINITY) ? b : saturated(sum, limit);
    if (left >= ATTN_W) {
      store(row + j, x);
    } else {
      for (int64_t i = 0; i < left; i++) row[j + i] = x[i];
    }
  }
}

/// One bit a lane.
ATTN_INLINE uint64_t bits_of(vi mask) {
  const vbool lanes = __builtin_convertvector(mask, vbool);
  uint16_t bits = 0;
  __builtin_memcpy(&bits, &lanes, sizeof lanes);
  return bits & ((1u << ATTN_W) - 1);
}

static void key_bits(const attn_row_bias *all, int64_t count, uint64_t *visible,
                     uint64_t *plain) {
  for (int64_t first = 0; first < count; first += 64) {
    uint64_t seen = 0, clear = 0;
    for (int64_t j = first; j < first + 64 && j < count; j += ATTN_W) {
      const int32_t left = count - j < ATTN_W ? (int32_t)(count - j) : ATTN_W;
      // No key is visible beyond the end.
      vi shows, adds = splat_int(0);
      for (int i = 0; i < ATTN_W; i++) shows[i] = i < left ? -1 : 0;
      if (all->mask) shows &= load_mask(all->mask + j, all->columns - j) == splat(0);
      if (all->bias) {
        const vf b = load_bias(all->bias + j, all->columns - j);
        shows &= b != splat(-INFINITY);
        adds = b != splat(0);
      }
      seen |= bits_of(shows) << (j - first);
      clear |= bits_of(shows & ~adds) << (j - first);
    }
    visible[first / 64] = seen;
    plain[first / 64] = clear;
  }
}
