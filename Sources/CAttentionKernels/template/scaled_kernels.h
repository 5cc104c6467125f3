// The kernels of formats whose rows have scales, instantiated apart from kernels.h, whose vectors and panels
// they share, since they take instructions that its processors need not have. The including file defines
// what kernels.h wants, of the products in formats.h those that it has, and may define
//   ATTN_TO_INT(x)            integers, to nearest even
//   ATTN_FRACTION(x)          x less the integer below it, 0 for an infinity, and
//   ATTN_TIMES_POWER(p, x)    p times 2 to the integer below x

// Functions that other tables have entries for are left out of these.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-function"
#include "vector.h"
#ifndef ATTN_TO_INT
#define ATTN_TO_INT(x) ((vi)((x) + splat(0x1.8p23f)) - splat_int(0x4b400000))
#endif
#include "exp16.h"
#include "softcap.h"
#include "transpose.h"
#include "storage.h"
#include "bias.h"
#include "formats.h"
#include "tiles.h"
#include "values.h"
#include "scores.h"
#include "scaled_rows.h"
#include "scaled_softmax.h"
#include "limits.h"

/// Products of a format whose sums stay small: of 0, or of opposite sign.
ATTN_INLINE float rounds_of(int64_t rounds, const attn_format format) {
  if (format == ATTN_FP32) return product_rounds(rounds, splat(0.999999f), splat(1e-6f), format);
  if (format == ATTN_FP16_PAIRS) return product_rounds(rounds, (vf)splat_int(0x3c003c00), splat(0), format);
  return product_rounds(rounds, (vf)splat_int(0x01ff01ff), (vf)splat_int(0x01010101), format);
}

/// As many products of scores as of values.
ATTN_INLINE float scaled_rounds(int64_t rounds, const attn_format format) {
  const attn_format scores = score_format(format), values = value_format(format);
  float sum = rounds_of(rounds, scores);
  if (values != scores) sum += rounds_of(rounds * (values == ATTN_FP32 ? 4 : 2), values);
  return sum;
}

/// What `round_products` says of it.
#define ATTN_ROUND_PRODUCTS(format) \
  ((format) == ATTN_FP16_PAIRS ? 2 : (format) == ATTN_INT8_QUADS ? 4 : 8)

/// Defines the table `attn_<kind>_<ATTN_NAME>` of a format. Keys of 4 and of 8 vectors have code of their own, whose
/// loops are unrolled: 37 instead of 60 ns a key of 4.
#define ATTN_SCALED_TABLE(kind, format)                                                                 \
  static void kind##_attend(const attn_panel *panel, const attn_block *block) {                         \
    attend_scaled(panel, block, format);                                                                \
  }                                                                                                     \
  static float kind##_rounds(int64_t rounds) {                                                          \
    return scaled_rounds(rounds, format);                                                               \
  }                                                                                                     \
  static void kind##_queries(const float *const *rows, int32_t count, int32_t columns,                  \
                             const float *mean, const float *key_mean, float scale, void *scratch,      \
                             void *out, float *scales, float *shifts) {                                 \
    pack_scaled(rows, count, columns, mean, key_mean, scale, scratch, out, scales, shifts,              \
                score_format(format));                                                                  \
  }                                                                                                     \
  static void kind##_keys(const float *const *rows, int32_t first, int32_t count, int32_t columns,      \
                          const float *mean, const float *query_mean, void *out,                        \
                          attn_key_scales *scales) {                                                    \
    const attn_format scores = score_format(format);                                                    \
    if (columns == 4 * ATTN_W)                                                                          \
      make_scaled_keys(rows, first, count, 4 * ATTN_W, mean, query_mean, out, scales, scores);          \
    else if (columns == 8 * ATTN_W)                                                                     \
      make_scaled_keys(rows, first, count, 8 * ATTN_W, mean, query_mean, out, scales, scores);          \
    else                                                                                                \
      make_scaled_keys(rows, first, count, columns, mean, query_mean, out, scales, scores);             \
  }                                                                                                     \
  static void kind##_values(const float *const *rows, int32_t first, int32_t count, int32_t columns,    \
                            void *out, attn_key_scales *scales) {                                       \
    make_scaled_values(rows, first, count, columns, out, scales, format);                               \
  }                                                                                                     \
  static const attn_scaled_rows kind##_scaled = {kind##_queries, kind##_keys, kind##_values};           \
  const attn_format_kernels ATTN_PASTE(attn_##kind##_, ATTN_NAME) = {                                   \
      kind##_attend, kind##_rounds, ATTN_ROUND_PRODUCTS(format), NULL, &kind##_scaled};

#ifdef ATTN_HAS_HALVES
ATTN_SCALED_TABLE(fp16, ATTN_FP16_PAIRS)
ATTN_SCALED_TABLE(int8_fp16, ATTN_INT8_SCORES_FP16)
#else
ATTN_SCALED_TABLE(int8, ATTN_INT8_QUADS)
ATTN_SCALED_TABLE(int8_fp32, ATTN_INT8_SCORES_FP32)
#endif
#pragma clang diagnostic pop
