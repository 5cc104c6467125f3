// Vector micro-kernels of the attention engine, one table of functions per instruction set.
//
// Shape letters: L lanes of a panel (panel_lanes), W lanes of a vector (L = 2 W or 3 W), c keys of a
// block (at most ATTN_BLOCK_KEYS), d query/key head dimension, e value head dimension.
//
// A panel is up to L query rows that travel together, one row a lane. Everything that belongs to
// it is stored "lanes last": queries [d][L], weights [c][L], output [e][L]. Scores are then
// computed transposed (S^T = K Q^T, O^T += V^T P^T), so that a row's maximum and sum need no
// horizontal reduction, keys and values are read in place, row by row through a table of
// pointers (contiguous, strided or scattered rows cost the same), and only queries are packed.
#pragma once
#include <stdint.h>

/// Keys handled by one call at most: the size of the weights buffer, in rows.
#define ATTN_BLOCK_KEYS 128

/// The state of one panel in the online softmax (Milakov & Gimelshein 2018; Dao 2022).
typedef struct attn_panel {
  /// [d][L], scaled by softmax scale * log2(e): scores come out in log2 units.
  const float *_Nonnull queries;
  /// [ATTN_BLOCK_KEYS][L] scratch: exp2(score - maximum) of the block in work.
  float *_Nonnull weights;
  /// [e][L] accumulator: sum of weights times values, relative to `maxima`.
  float *_Nonnull output;
  /// [L] reference exponent of each row in log2 units, -inf before the first visible key. It
  /// trails the true maximum by at most 8, so weights stay below 2^8.
  float *_Nonnull maxima;
  /// [L] sum of weights, relative to `maxima`.
  float *_Nonnull sums;
  int32_t head_dim;
  int32_t value_dim;
} attn_panel;

/// Functions of one instruction set. All pointers to floats may be unaligned.
typedef struct attn_kernels {
  const char *_Nonnull name;
  /// W: floats in a vector.
  int32_t vector_lanes;
  /// L: query rows in a panel.
  int32_t panel_lanes;
  /// Keys scored together; a count that is a multiple of it wastes nothing.
  int32_t tile_keys;

  /// Transposes `count` <= L rows of `columns` floats to lanes last: out[t][lane] =
  /// rows[lane][t] * scale; lanes from `count` on are zero.
  void (*_Nonnull pack)(const float *_Nonnull const *_Nonnull rows, int32_t count, int32_t columns,
                        float scale, float *_Nonnull out);

  /// The inverse of pack with a factor per lane: rows[lane][t] = in[t][lane] * factors[lane].
  void (*_Nonnull unpack)(const float *_Nonnull in, const float *_Nonnull factors, int32_t count,
                          int32_t columns, float *_Nonnull const *_Nonnull rows);

  /// Asks for `count` rows of `columns` floats into the second-level cache.
  void (*_Nonnull prefetch)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                            int32_t columns);

  /// Copies `count` rows of `columns` floats together: out[r][t] = rows[r][t].
  void (*_Nonnull gather)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                          int32_t columns, float *_Nonnull out);

  /// Online softmax over one block: vectors [first_vector, first_vector + vectors) of the panel
  /// see all `count` keys, whose rows are keys[t] (d floats) and values[t] (e floats).
  void (*_Nonnull attend)(const attn_panel *_Nonnull panel,
                          const float *_Nonnull const *_Nonnull keys,
                          const float *_Nonnull const *_Nonnull values, int32_t count,
                          int32_t first_vector, int32_t vectors);

  /// The same where lane i sees only keys t with lower[i] <= first_key + t < upper[i]; `lower`
  /// and `upper` are [L]. Nothing of a key a lane does not see reaches that lane, not even a NaN.
  void (*_Nonnull attend_masked)(const attn_panel *_Nonnull panel,
                                 const float *_Nonnull const *_Nonnull keys,
                                 const float *_Nonnull const *_Nonnull values, int32_t count,
                                 int32_t first_vector, int32_t vectors, int32_t first_key,
                                 const int32_t *_Nonnull lower, const int32_t *_Nonnull upper);

  /// weights[t][lane] = keys[t] . queries[:][lane] for all lanes of `vectors` vectors: plain dot
  /// products, no exponential.
  void (*_Nonnull dots)(const float *_Nonnull queries, const float *_Nonnull const *_Nonnull keys,
                        int32_t count, int32_t head_dim, int32_t vectors,
                        float *_Nonnull weights);

  /// output[c][lane] += sum over t of values[t][c] * weights[t * weight_stride + lane]; the
  /// lanes of `vectors` vectors. `weight_stride` is in floats; output rows are L apart.
  void (*_Nonnull accumulate)(const float *_Nonnull const *_Nonnull values,
                              const float *_Nonnull weights, int64_t weight_stride, int32_t count,
                              int32_t columns, int32_t vectors, float *_Nonnull output);

  /// As accumulate where lane i takes part in t only if lower[i] <= first_key + t < upper[i].
  void (*_Nonnull accumulate_masked)(const float *_Nonnull const *_Nonnull values,
                                     const float *_Nonnull weights, int64_t weight_stride,
                                     int32_t count, int32_t columns, int32_t vectors,
                                     int32_t first_key, const int32_t *_Nonnull lower, const int32_t *_Nonnull upper,
                                     float *_Nonnull output);

  /// One row of a materialised score matrix, in place: x = exp2(x * scale - max(x * scale)).
  /// Returns the sum of the new x and stores the maximum, in log2 units.
  float (*_Nonnull softmax_row)(float *_Nonnull row, int64_t count, float scale,
                                float *_Nonnull maximum);

  /// row *= factor.
  void (*_Nonnull scale_row)(float *_Nonnull row, int64_t count, float factor);

  /// out = elu(x) + 1 = x + 1 for x > 0, exp(x) otherwise (Katharopoulos 2020).
  void (*_Nonnull elu_plus_one)(const float *_Nonnull x, int64_t count, float *_Nonnull out);

  /// Runs `rounds` rounds of independent fused multiply-adds on registers and returns a value
  /// that depends on all of them; one round is fma_flops_per_round floating-point operations.
  float (*_Nonnull fma_rounds)(int64_t rounds);
  int64_t fma_flops_per_round;

  /// Reads `count` floats once and returns a value that depends on all of them.
  float (*_Nonnull read_floats)(const float *_Nonnull x, int64_t count);
} attn_kernels;

/// The tables compiled into this build, best first, and how many there are.
const attn_kernels *_Nonnull const *_Nonnull attn_kernels_compiled(int32_t *_Nonnull count);

/// Whether this processor (and its operating system) can run a table.
int attn_kernels_supported(const attn_kernels *_Nonnull kernels);
