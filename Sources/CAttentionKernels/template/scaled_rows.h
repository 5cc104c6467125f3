// Rows of fp32 numbers as operands whose rows have scales.

/// The floats from `p` on, zeros behind them, less `mean` where there is one.
ATTN_INLINE vf load_row(const float *p, const float *mean, ptrdiff_t c, ptrdiff_t columns) {
  if (c + ATTN_W <= columns) return mean ? load(p + c) - load(mean + c) : load(p + c);
  vf x = splat(0), m = splat(0);
  const size_t bytes = sizeof(float) * (size_t)(columns - c);
  __builtin_memcpy(&x, p + c, bytes);
  if (mean) __builtin_memcpy(&m, mean + c, bytes);
  return x - m;
}

/// The largest magnitude of a row; NaN where an element is not finite.
ATTN_INLINE float row_magnitude(const float *row, const float *mean, ptrdiff_t columns) {
  vi largest = splat_int(0);
  for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
    const vi x = (vi)load_row(row, mean, c, columns) & splat_int(0x7fffffff);
    largest = x > largest ? x : largest;
  }
  int32_t bits = __builtin_reduce_max(largest);
  if (bits >= 0x7f800000) bits = 0x7fc00000;
  float magnitude;
  __builtin_memcpy(&magnitude, &bits, sizeof magnitude);
  return magnitude;
}

/// The numbers that a row's largest magnitude becomes in a format, whose products then are in its range.
ATTN_INLINE float row_limit(const attn_format format) { return format == ATTN_INT8_QUADS ? 127 : 1; }

// Rows of integers are mixed before they are rounded, since what a rounding costs goes by the largest element:
// queries and keys alike, by an orthogonal matrix, which changes no product (QuaRot: Ashkboos 2024, arXiv
// 2404.00456). It is Hadamard's, in blocks of a power of two of the columns, and so needs additions alone.

/// The least block that is worth mixing, and the longest row.
#define ATTN_LEAST_MIXED 16
#define ATTN_MOST_MIXED 1024

#if ATTN_W == 16
#define ATTN_SWAP_LANES(x, h)                                                                             \
  __builtin_shufflevector(x, x, 0 ^ (h), 1 ^ (h), 2 ^ (h), 3 ^ (h), 4 ^ (h), 5 ^ (h), 6 ^ (h), 7 ^ (h),   \
                          8 ^ (h), 9 ^ (h), 10 ^ (h), 11 ^ (h), 12 ^ (h), 13 ^ (h), 14 ^ (h), 15 ^ (h))
#else
#define ATTN_SWAP_LANES(x, h)                                                                             \
  __builtin_shufflevector(x, x, 0 ^ (h), 1 ^ (h), 2 ^ (h), 3 ^ (h), 4 ^ (h), 5 ^ (h), 6 ^ (h), 7 ^ (h))
#endif

/// Sums of lanes h apart in the lower, differences in the higher of them.
#define ATTN_MIX_LANES(x, h, lane)                                                      \
  (x) * (vf)(((((lane) & splat_int(h)) != 0) & splat_int(INT32_MIN)) | (vi)splat(1)) + \
      ATTN_SWAP_LANES(x, h)

/// Sums and differences of elements 1, 2, 4, ... apart within a vector.
ATTN_INLINE vf mix_lanes(vf x) {
  vi lane;
  for (int i = 0; i < ATTN_W; i++) lane[i] = i;
  x = ATTN_MIX_LANES(x, 1, lane);
  x = ATTN_MIX_LANES(x, 2, lane);
  x = ATTN_MIX_LANES(x, 4, lane);
#if ATTN_W == 16
  x = ATTN_MIX_LANES(x, 8, lane);
#endif
  return x;
}

/// Hadamard's matrix times `size` elements, a power of two of them: sums and differences of elements 1, 2, 4, ...
/// apart.
ATTN_INLINE void mix_block(float *x, ptrdiff_t size) {
  for (ptrdiff_t c = 0; c < size; c += ATTN_W) store(x + c, mix_lanes(load(x + c)));
  for (ptrdiff_t h = ATTN_W; h < size; h *= 2)
    for (ptrdiff_t first = 0; first < size; first += 2 * h)
      for (ptrdiff_t c = first; c < first + h; c += ATTN_W) {
        const vf low = load(x + c), high = load(x + c + h);
        store(x + c, low + high);
        store(x + c + h, low - high);
      }
}

/// The binary logarithm of the block that a row's next columns are mixed in; 0 for none.
ATTN_INLINE int mixed_block(ptrdiff_t columns) {
  return columns < ATTN_LEAST_MIXED ? 0 : 31 - __builtin_clz((unsigned)columns);
}

/// mix_block of a row of whole vectors, less its mean, times `factor`: in registers.
ATTN_INLINE void mix_vectors(const float *row, const float *mean, vf factor, float *out,
                             const int vectors) {
  vf x[8];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    x[v] = load(row + v * ATTN_W);
    if (mean) x[v] -= load(mean + v * ATTN_W);
    x[v] = mix_lanes(x[v] * factor);
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v += 2) {
    const vf low = x[v], high = x[v + 1];
    x[v] = low + high;
    x[v + 1] = low - high;
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    if (v & 2) continue;
    const vf low = x[v], high = x[v + 2];
    x[v] = low + high;
    x[v + 2] = low - high;
  }
  if (vectors == 8)
#pragma clang loop unroll(full)
    for (int v = 0; v < 4; v++) {
      const vf low = x[v], high = x[v + 4];
      x[v] = low + high;
      x[v + 4] = low - high;
    }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) store(out + v * ATTN_W, x[v]);
}

/// Mixes a row, less its mean, into [columns rounded up to W].
///
/// Numbers are multiplied by powers of two before, which together undo what the blocks of queries and keys multiply
/// their products by, but for a factor of the largest block; so that no sum is larger than its largest term.
///
/// Returns the row's part of that factor.
ATTN_INLINE float mix_row(const float *row, const float *mean, ptrdiff_t columns, const int is_key,
                          float *out) {
  const int largest = mixed_block(columns);
  const int unit = is_key ? (largest + 1) / 2 : largest / 2;
  for (ptrdiff_t c = 0; c < columns;) {
    const int block = mixed_block(columns - c);
    const ptrdiff_t size = block ? (ptrdiff_t)1 << block : columns - c;
    const int halvings = is_key ? block / 2 : (block + 1) / 2;
    const vf factor = splat(1.0f / (float)((ptrdiff_t)1 << (unit + halvings)));
    if (columns == 4 * ATTN_W) {
      mix_vectors(row, mean, factor, out, 4);
      break;
    }
    if (columns == 8 * ATTN_W) {
      mix_vectors(row, mean, factor, out, 8);
      break;
    }
    for (ptrdiff_t j = 0; j < size; j += ATTN_W)
      store(out + c + j, load_row(row, mean, c + j, columns) * factor);
    if (block) mix_block(out + c, size);
    c += size;
  }
  return (float)((ptrdiff_t)1 << unit);
}

/// What a row is multiplied by; 0 where all of it is 0, too small for a quotient or not finite.
ATTN_INLINE float row_factor(float magnitude, float limit) {
  const float factor = limit / magnitude;
  return factor < INFINITY ? factor : 0;
}

/// Stores W elements from column `c` on of a row of words, up to the end of the word that holds the last.
ATTN_INLINE void store_elements(vf x, ptrdiff_t c, ptrdiff_t columns, void *row, int32_t added,
                                const attn_format format) {
  if (format == ATTN_INT8_QUADS) {
    const bytes y = __builtin_convertvector(ATTN_TO_INT(x) + splat_int(added), bytes);
    const ptrdiff_t left = ((columns + 3) & ~(ptrdiff_t)3) - c;
    int8_t *out = (int8_t *)row + c;
    if (left >= ATTN_W)
      *(bytes_unaligned *)out = y;
    else
      __builtin_memcpy(out, &y, (size_t)left);
  } else {
    const halves y = to_half(x);
    const ptrdiff_t left = ((columns + 1) & ~(ptrdiff_t)1) - c;
    uint16_t *out = (uint16_t *)row + c;
    if (left >= ATTN_W)
      *(halves_unaligned *)out = y;
    else
      __builtin_memcpy(out, &y, 2 * (size_t)left);
  }
}

ATTN_INLINE ptrdiff_t row_words(ptrdiff_t columns, const attn_format format) {
  return format == ATTN_INT8_QUADS ? (columns + 3) / 4 : (columns + 1) / 2;
}

ATTN_INLINE void pack_scaled(const float *const *rows, int32_t count, int32_t columns, const float *mean,
                             const float *key_mean, float scale, void *scratch, void *out, float *scales,
                             float *shifts, const attn_format format) {
  const ptrdiff_t words_of_row = row_words(columns, format);
  const float limit = row_limit(format);
  const int mixes = format == ATTN_INT8_QUADS && columns <= ATTN_MOST_MIXED;
  float mixed[ATTN_MOST_MIXED + ATTN_W];
  const float *packed[ATTN_L];
  for (ptrdiff_t i = 0; i < ATTN_L; i++) scales[i] = shifts[i] = 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t *row = (uint32_t *)scratch + i * words_of_row;
    const float *own = mixes ? mixed : rows[i], *less = mixes ? NULL : mean;
    const float unit = mixes ? mix_row(rows[i], mean, columns, 0, mixed) : 1;
    const float magnitude = row_magnitude(own, less, columns);
    const float factor = row_factor(magnitude, limit);
    vf shift = splat(0);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
      const vf x = load_row(own, less, c, columns);
      store_elements(factor == 0 ? splat(0) : x * splat(factor), c, columns, row, 128, format);
      if (key_mean) shift += load_row(rows[i], NULL, c, columns) * load_row(key_mean, NULL, c, columns);
    }
    shifts[i] = sum_lanes(shift) * scale;
    scales[i] = magnitude / limit * unit * scale;
    packed[i] = (const float *)(const void *)row;
  }
  pack_rows(packed, count, (int32_t)words_of_row, NULL, out);
}

ATTN_INLINE void make_scaled_keys(const float *const *rows, int32_t first, int32_t count, int32_t columns,
                                  const float *mean, const float *query_mean, void *out,
                                  attn_key_scales *scales, const attn_format format) {
  const ptrdiff_t words_of_row = row_words(columns, format);
  const float limit = row_limit(format);
  const int mixes = format == ATTN_INT8_QUADS && columns <= ATTN_MOST_MIXED;
  float mixed[ATTN_MOST_MIXED + ATTN_W];
  for (ptrdiff_t r = 0; r < count; r++) {
    uint32_t *row = (uint32_t *)out + r * words_of_row;
    const float *own = mixes ? mixed : rows[r], *less = mixes ? NULL : mean;
    const float unit = mixes ? mix_row(rows[r], mean, columns, 1, mixed) : 1;
    const float magnitude = row_magnitude(own, less, columns);
    const float factor = row_factor(magnitude, limit);
    vf shift = splat(0);
    vi sum = splat_int(0);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
      const vf x = load_row(own, less, c, columns);
      const vf scaled = factor == 0 ? splat(0) : x * splat(factor);
      if (query_mean)
        shift += load_row(rows[r], mean, c, columns) * load_row(query_mean, NULL, c, columns);
      if (format == ATTN_INT8_QUADS) sum += ATTN_TO_INT(scaled);
      store_elements(scaled, c, columns, row, 0, format);
    }
    const ptrdiff_t place = first + r;
    scales->scales[place] = magnitude / limit * unit;
    scales->shifts[place] = query_mean ? sum_lanes(shift) : 0;
    scales->offsets[place] = -128 * __builtin_reduce_add(sum);
  }
}

/// Scales of values are powers of 2^(1/8), so that their logarithms and inverses are exact enough. A weight of 1
/// may stand for values of 2^-118 to 2^128.
ATTN_INLINE float value_shift(float magnitude) {
  uint32_t bits;
  __builtin_memcpy(&bits, &magnitude, sizeof bits);
  // Linear between powers of two, which is too low by up to 0.0861.
  const float log = (float)(int32_t)(bits - 0x3f800000) * 0x1p-23f + 0.0861f;
  const float grains = __builtin_ceilf(log * 8);
  return (grains < -118 * 8 ? -118 * 8 : grains) / 32 - 1;
}

/// Log16 of how far apart scales of values may be for weights that have them to keep their place in a sum.
#define ATTN_EVEN_SHIFTS 8

ATTN_INLINE void make_scaled_values(const float *const *rows, int32_t first, int32_t count, int32_t columns,
                                    void *out, attn_key_scales *scales, const attn_format format) {
  const attn_format values = value_format(format);
  const int keys = word_keys(format);
  const ptrdiff_t width = whole_columns(columns, format);
  float largest = -INFINITY, least = INFINITY;
  for (ptrdiff_t r = 0; r < count; r += keys) {
    float factor[4] = {0, 0, 0, 0};
#pragma clang loop unroll(full)
    for (int k = 0; k < keys; k++) {
      if (r + k >= count) continue;
      const ptrdiff_t place = first + r + k;
      const float magnitude = row_magnitude(rows[r + k], NULL, columns);
      if (magnitude != magnitude) {
        scales->value_shifts[place] = magnitude;
        scales->value_weights[place] = 1;
        scales->is_zero[place] = 0;
        continue;
      }
      scales->is_zero[place] = magnitude == 0;
      if (magnitude == 0) continue;
      const float shift = values == ATTN_FP32 ? 0 : value_shift(magnitude);
      scales->value_shifts[place] = shift;
      scales->value_weights[place] = exp16_vector(splat(-shift))[0];
      factor[k] = values == ATTN_FP32 ? 1 : row_limit(values) / 16 * scales->value_weights[place];
      largest = shift > largest ? shift : largest;
      least = shift < least ? shift : least;
    }
    uint32_t *word = (uint32_t *)out + r / keys * width;
    for (ptrdiff_t c = 0; c < width; c += ATTN_W) {
      words y = (words)splat_int(0);
#pragma clang loop unroll(full)
      for (int k = 0; k < keys; k++) {
        if (r + k >= count || factor[k] == 0 || c >= columns) continue;
        const vf x = load_row(rows[r + k], NULL, c, columns) * splat(factor[k]);
        if (values == ATTN_FP32) y = (words)x;
        if (values == ATTN_FP16_PAIRS) y |= __builtin_convertvector(to_half(x), words) << (16 * k);
        if (values == ATTN_INT8_QUADS) y |= ((words)ATTN_TO_INT(x) & 0xff) << (8 * k);
      }
      if (c + ATTN_W <= width)
        *(vi_unaligned *)(word + c) = (vi)y;
      else
        __builtin_memcpy(word + c, &y, sizeof(uint32_t) * (size_t)(width - c));
    }
  }
  if (largest == -INFINITY) largest = least = 0;
  scales->largest_value_shift = largest;
  scales->values_differ = largest - least > ATTN_EVEN_SHIFTS;
  // Zeros have any scale: one that makes no weight larger or smaller than others.
  for (ptrdiff_t r = 0; r < count; r++) {
    if (!scales->is_zero[first + r]) continue;
    scales->value_shifts[first + r] = least;
    scales->value_weights[first + r] = exp16_vector(splat(-least))[0];
  }
}
