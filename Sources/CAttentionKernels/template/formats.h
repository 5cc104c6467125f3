// What depends on the format of operands, and nothing else does.
//
// Operands are words of 32 bits, which travel as floats: an fp32 number, or a pair of bf16 numbers,
// of two columns of a query or key or of two keys of a weight or value, the one of the lower index in
// the lower half. `format` is a constant wherever it is passed, so that each format is its own code.
// An instruction set with products of pairs defines:
//   ATTN_PAIR_DOT(acc, a, b)  acc + a[low] b[low] + a[high] b[high] of each word
//   ATTN_PAIR(low, high)      words of two vectors of fp32 numbers, rounded
#ifdef ATTN_PAIR_DOT
#define ATTN_HAS_PAIRS 1
_Static_assert(ATTN_TILE % 4 == 0 && ATTN_TILE / 2 == ATTN_PAIR_COLUMNS, "tiles are whole pairs");
#else
// Never reached: tables without products of pairs have no functions of that format.
#define ATTN_HAS_PAIRS 0
#define ATTN_PAIR_DOT(acc, a, b) (acc)
#define ATTN_PAIR(low, high) ((vi)(low))
#endif

/// Keys of a word of weights or values.
ATTN_INLINE int word_keys(const attn_format format) { return format == ATTN_BF16_PAIRS ? 2 : 1; }

/// Columns of values that are multiplied: whole tiles, so that pairs have no last column to treat
/// alone.
ATTN_INLINE int32_t whole_columns(int32_t columns, const attn_format format) {
  if (format == ATTN_FP32) return columns;
  return (columns + ATTN_PAIR_COLUMNS - 1) & ~(ATTN_PAIR_COLUMNS - 1);
}

/// acc + a b.
ATTN_INLINE vf add_words(vf a, vf b, vf acc, const attn_format format) {
  if (format == ATTN_BF16_PAIRS) return ATTN_PAIR_DOT(acc, (vi)a, (vi)b);
  return a * b + acc;
}

/// sum + the weights of a word: of pairs the rounded ones, since what the output is divided by is
/// what it was multiplied with.
ATTN_INLINE vf add_weights(vf weights, vf sum, const attn_format format) {
  if (format == ATTN_BF16_PAIRS) return ATTN_PAIR_DOT(sum, (vi)weights, splat_int(0x3f803f80));
  return sum + weights;
}

/// The word of a key's weights, or of two keys'.
ATTN_INLINE vf weights_word(const vf weights[2], const attn_format format) {
  return format == ATTN_BF16_PAIRS ? (vf)ATTN_PAIR(weights[0], weights[1]) : weights[0];
}

/// Weights times a factor; those of pairs are rounded a second time, to the same bits where it is 1.
ATTN_INLINE vf scale_weights(vf word, vf factor, const attn_format format) {
  if (format == ATTN_FP32) return word * factor;
  const vf low = (vf)((vi)word << 16), high = (vf)((vi)word & splat_int((int32_t)0xffff0000));
  const vf scaled[2] = {low * factor, high * factor};
  return weights_word(scaled, format);
}

/// Whether rows of words hold no infinity and no NaN.
ATTN_INLINE int all_finite(const float *const *rows, int32_t count, int32_t columns,
                           const attn_format format) {
  // Without its sign, a number that is not finite is the largest of integers.
  const vi exponent = splat_int(0x7f800000), low = splat_int(0x7f80);
  vi found = splat_int(0);
  for (ptrdiff_t t = 0; t < count; t++) {
    ptrdiff_t c = 0;
    for (; c + ATTN_W <= columns; c += ATTN_W) {
      const vi word = load_int((const int32_t *)(rows[t] + c));
      found |= (word & exponent) == exponent;
      if (format == ATTN_BF16_PAIRS) found |= (word & low) == low;
    }
    for (; c < columns; c++) {
      const vi word = (vi)splat(rows[t][c]);
      found |= (word & exponent) == exponent;
      if (format == ATTN_BF16_PAIRS) found |= (word & low) == low;
    }
  }
  return !any(found);
}
