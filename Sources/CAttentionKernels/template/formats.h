// What depends on the format of operands, and nothing else does.
//
// Operands are words of 32 bits, which travel as floats: an fp32 number, a pair of 16-bit numbers or
// four 8-bit integers, of neighbouring columns of a query or key or of neighbouring keys of a weight or
// value, the one of the lowest index in the lowest bits. `format` is a constant wherever it is passed, so
// that each format is its own code. An instruction set with products of bf16 pairs defines:
//   ATTN_PAIR_DOT(acc, a, b)  acc + a[low] b[low] + a[high] b[high] of each word
//   ATTN_PAIR(low, high)      words of two vectors of fp32 numbers, rounded
// one with products of fp16 numbers:
//   ATTN_HALF_FMA(acc, a, b)  acc + a b of each half, in fp16
//   ATTN_HALF_ADD(a, b)       a + b of each half
// and one with products of 8-bit integers:
//   ATTN_QUAD_DOT(acc, a, b)  acc + the sum of the four products of signed a and unsigned b
#ifdef ATTN_PAIR_DOT
#define ATTN_HAS_PAIRS 1
_Static_assert(ATTN_TILE % 4 == 0 && ATTN_TILE / 2 == ATTN_PAIR_COLUMNS, "tiles are whole pairs");
#else
// Never reached: tables without products of pairs have no functions of that format.
#define ATTN_HAS_PAIRS 0
#define ATTN_PAIR_DOT(acc, a, b) (acc)
#define ATTN_PAIR(low, high) ((vi)(low))
#endif
#ifndef ATTN_HALF_FMA
#define ATTN_HALF_FMA(acc, a, b) (acc)
#define ATTN_HALF_ADD(a, b) ((void)(b), (a))
#endif
#ifndef ATTN_QUAD_DOT
#define ATTN_QUAD_DOT(acc, a, b) (acc)
#endif

/// What scores are products of, and what the output is: formats may join two.
ATTN_INLINE attn_format score_format(const attn_format format) {
  return format == ATTN_INT8_SCORES_FP16 || format == ATTN_INT8_SCORES_FP32 ? ATTN_INT8_QUADS : format;
}
ATTN_INLINE attn_format value_format(const attn_format format) {
  if (format == ATTN_INT8_SCORES_FP16) return ATTN_FP16_PAIRS;
  return format == ATTN_INT8_SCORES_FP32 ? ATTN_FP32 : format;
}

/// Keys of a word of weights or values.
ATTN_INLINE int word_keys(const attn_format format) {
  if (value_format(format) == ATTN_INT8_QUADS) return 4;
  return value_format(format) == ATTN_FP32 ? 1 : 2;
}

/// Columns of values that are multiplied: whole tiles, so that pairs have no last column to treat
/// alone.
ATTN_INLINE int32_t whole_columns(int32_t columns, const attn_format format) {
  if (value_format(format) == ATTN_FP32) return columns;
  return (columns + ATTN_PAIR_COLUMNS - 1) & ~(ATTN_PAIR_COLUMNS - 1);
}

/// acc + a b, of a word of a key or value and one of queries or weights. Sums of fp16 pairs are pairs, of
/// the products of either half; sums of integers are integers.
ATTN_INLINE vf add_words(vf a, vf b, vf acc, const attn_format format) {
  if (format == ATTN_BF16_PAIRS) return ATTN_PAIR_DOT(acc, (vi)a, (vi)b);
  if (format == ATTN_FP16_PAIRS) return ATTN_HALF_FMA(acc, a, b);
  if (format == ATTN_INT8_QUADS) return ATTN_QUAD_DOT(acc, a, b);
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

/// The powers of two that a number is off by when the bits of fp16 are moved to their places in fp32.
#define ATTN_HALF_BIAS 0x1p112f

/// Sums of products in fp16, of the columns or keys in either half, as fp32 numbers times 2^-112.
ATTN_INLINE vf half_sum(vf pairs) {
  const vi turned = (vi)((words)pairs << 16 | (words)pairs >> 16);
  const vi sum = (vi)ATTN_HALF_ADD(pairs, (vf)turned);
  // The sign stays where it is, its copies go.
  return (vf)((sum >> 3) & splat_int((int32_t)0x8fffe000));
}

/// A sum of products as fp32.
ATTN_INLINE vf fp32_sum(vf sum, const attn_format format) {
  if (format == ATTN_FP16_PAIRS) return half_sum(sum) * splat(ATTN_HALF_BIAS);
  if (format == ATTN_INT8_QUADS) return __builtin_convertvector((vi)sum, vf);
  return sum;
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
