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
  const float *packed[ATTN_L];
  for (ptrdiff_t i = 0; i < ATTN_L; i++) scales[i] = shifts[i] = 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    uint32_t *row = (uint32_t *)scratch + i * words_of_row;
    const float magnitude = row_magnitude(rows[i], mean, columns);
    const float factor = row_factor(magnitude, limit);
    vf shift = splat(0);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
      const vf x = load_row(rows[i], mean, c, columns);
      store_elements(factor == 0 ? splat(0) : x * splat(factor), c, columns, row, 128, format);
      if (key_mean) shift += load_row(rows[i], NULL, c, columns) * load_row(key_mean, NULL, c, columns);
    }
    shifts[i] = sum_lanes(shift) * scale;
    scales[i] = magnitude / limit * scale;
    packed[i] = (const float *)(const void *)row;
  }
  pack_rows(packed, count, (int32_t)words_of_row, NULL, out);
}

ATTN_INLINE void make_scaled_keys(const float *const *rows, int32_t first, int32_t count, int32_t columns,
                                  const float *mean, const float *query_mean, void *out,
                                  attn_key_scales *scales, const attn_format format) {
  const ptrdiff_t words_of_row = row_words(columns, format);
  const float limit = row_limit(format);
  for (ptrdiff_t r = 0; r < count; r++) {
    uint32_t *row = (uint32_t *)out + r * words_of_row;
    const float magnitude = row_magnitude(rows[r], mean, columns);
    const float factor = row_factor(magnitude, limit);
    vf shift = splat(0);
    vi sum = splat_int(0);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
      const vf x = load_row(rows[r], mean, c, columns);
      const vf scaled = factor == 0 ? splat(0) : x * splat(factor);
      if (query_mean) shift += x * load_row(query_mean, NULL, c, columns);
      if (format == ATTN_INT8_QUADS) sum += ATTN_TO_INT(scaled);
      store_elements(scaled, c, columns, row, 0, format);
    }
    const ptrdiff_t place = first + r;
    scales->scales[place] = magnitude / limit;
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
