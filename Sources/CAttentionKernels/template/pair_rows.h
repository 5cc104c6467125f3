// Rows of bf16 pairs: rounding, pairing, transposing.

ATTN_INLINE int32_t load_word(const uint16_t *p) {
  int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}
ATTN_INLINE void store_words(uint32_t *p, vi x) { *(vi_unaligned *)p = x; }
/// bf16 numbers in the halves of words.
ATTN_INLINE vi load_halves(const uint16_t *p) {
  return __builtin_convertvector(*(const halves_unaligned *)p, vi);
}

/// Numbers to a row that starts at a whole word.
ATTN_INLINE int32_t even(int32_t count) { return (count + 1) & ~1; }

static void round_rows(const float *const *rows, int32_t count, int32_t columns, void *rounded) {
  uint16_t *out = rounded;
  for (int32_t r = 0; r < count; r++, out += even(columns)) {
    if (columns % 2) out[columns] = 0;
    narrow_row(rows[r], columns, out, 1);
  }
}

/// Both numbers of words times a power of two, or 0: exact.
ATTN_INLINE vi scale_pairs(vi pairs, vf scale) {
  const vi low = (vi)((vf)(pairs << 16) * scale), high = (vi)((vf)(pairs & (int32_t)0xffff0000) * scale);
  return (vi)((words)low >> 16) | (high & (int32_t)0xffff0000);
}

static void pack_pairs(const void *const *numbers, int32_t count, int32_t columns, float scale,
                       void *packed) {
  const uint16_t *const *rows = (const uint16_t *const *)numbers;
  uint32_t *out = packed;
  const int32_t pairs_per_row = even(columns) / 2;
  const vf factor = splat(scale);
  for (int32_t lane = 0; lane < ATTN_L; lane += ATTN_W) {
    const int32_t live = count - lane < ATTN_W ? count - lane : ATTN_W;
    int32_t t = 0;
    for (; t + ATTN_W <= pairs_per_row; t += ATTN_W) {
      vf r[ATTN_W];
      for (int i = 0; i < ATTN_W; i++)
        r[i] = i < live ? (vf)load_int((const int32_t *)(const void *)(rows[lane + i] + 2 * t))
                        : splat(0);
      transpose(r);
      for (int i = 0; i < ATTN_W; i++)
        store_words(out + (ptrdiff_t)(t + i) * ATTN_L + lane, scale_pairs((vi)r[i], factor));
    }
    for (; t < pairs_per_row; t++) {
      vi pairs = splat_int(0);
      for (int i = 0; i < live; i++) pairs[i] = load_word(rows[lane + i] + 2 * t);
      store_words(out + (ptrdiff_t)t * ATTN_L + lane, scale_pairs(pairs, factor));
    }
  }
}

static void pair_values(const void *const *numbers, int32_t count, int32_t columns,
                        void *paired) {
  const uint16_t *const *rows = (const uint16_t *const *)numbers;
  uint32_t *out = paired;
  const int32_t width = whole_columns(columns, ATTN_BF16_PAIRS);
  for (int32_t t = 0; t < count; t += 2, out += width) {
    const int whole = t + 1 < count;
    int32_t c = 0;
    for (; c + ATTN_W <= columns; c += ATTN_W) {
      const vi high = whole ? load_halves(rows[t + 1] + c) << 16 : splat_int(0);
      store_words(out + c, load_halves(rows[t] + c) | high);
    }
    for (; c < width; c++)
      out[c] = c >= columns ? 0
                            : rows[t][c] | (whole ? (uint32_t)rows[t + 1][c] << 16 : 0);
  }
}
