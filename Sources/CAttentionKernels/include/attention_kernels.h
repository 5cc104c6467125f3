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

/// Keys of a block at most: the size of the weights buffer, in rows.
#define ATTN_BLOCK_KEYS 128
/// Bytes in a cache line, for asking ahead.
#define ATTN_LINE_BYTES 64
/// Pieces of a block at most.
#define ATTN_BLOCK_PIECES 16

/// How the elements of a row are stored.
typedef enum attn_storage {
  ATTN_FLOAT32,
  ATTN_FLOAT16,
  ATTN_BFLOAT16,
  /// 8-bit integers; the row's scale, an fp32, follows at the next multiple of four bytes.
  ATTN_INT8_PER_TOKEN,
  /// 8-bit integers with a scale a column, kept elsewhere.
  ATTN_INT8_PER_CHANNEL,
} attn_storage;

/// Consecutive cache lines.
typedef struct attn_lines {
  const void *_Nonnull first;
  int32_t count;
} attn_lines;

/// Memory that will be needed soon. The product loops ask for it a line a step, into the
/// second-level cache: asked for all at once, most requests would only wait for each other. What
/// has been asked for is taken off.
typedef struct attn_ahead {
  const attn_lines *_Nonnull lines;
  /// Entries of `lines` left.
  int32_t count;
  /// Lines of the first entry that have been asked for.
  int32_t done;
} attn_ahead;

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
  /// Vectors of lanes in use.
  int32_t vectors;
  /// c: scores x become c tanh(x / c), in log2 units like them; 0 leaves them as they are.
  float softcap;
} attn_panel;

/// Consecutive keys of a block and the neighbouring vectors of rows that see any of them. The
/// vectors begin at the panel's first or end at its last.
typedef struct attn_piece {
  /// Place of the first key in the block.
  int32_t first;
  int32_t count;
  int32_t first_vector;
  int32_t vectors;
  /// Whether some lane of these vectors does not see some of these keys.
  int32_t masked;
} attn_piece;

/// A block of keys as one panel meets it.
typedef struct attn_block {
  /// [ATTN_BLOCK_KEYS] rows of d and of e floats; those outside the pieces are not read.
  const float *_Nonnull const *_Nonnull keys;
  const float *_Nonnull const *_Nonnull values;
  /// At most ATTN_BLOCK_PIECES, in ascending order, none overlapping.
  const attn_piece *_Nonnull pieces;
  int32_t piece_count;
  /// The key that place 0 stands for in the bounds.
  int32_t first_key;
  /// [L]: in a masked piece lane i sees only places t with lower[i] <= first_key + t < upper[i].
  /// Nothing of a key a lane does not see reaches that lane, not even a NaN.
  const int32_t *_Nonnull lower;
  const int32_t *_Nonnull upper;
  attn_ahead *_Nullable ahead;
} attn_block;

/// Functions of one instruction set. All pointers to elements may be unaligned.
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

  /// The inverse of pack with a factor per lane: rows[lane][t] = in[t][lane] * factors[lane]. With
  /// `kept`, rows keep a share of what they hold: + rows[lane][t] * kept[lane].
  void (*_Nonnull unpack)(const float *_Nonnull in, const float *_Nonnull factors,
                          const float *_Nullable kept, int32_t count, int32_t columns,
                          float *_Nonnull const *_Nonnull rows);

  /// Asks for `count` rows of `length` bytes into the second-level cache.
  void (*_Nonnull prefetch)(const void *_Nonnull const *_Nonnull rows, int32_t count,
                            int32_t length);

  /// Copies `count` rows of `columns` elements together, as fp32: out[r][t] = rows[r][t].
  /// `column_scales` are those of ATTN_INT8_PER_CHANNEL.
  void (*_Nonnull widen)(const void *_Nonnull const *_Nonnull rows, int32_t count,
                         int32_t columns, attn_storage storage,
                         const float *_Nullable column_scales, float *_Nonnull out);

  /// Stores `count` fp32 rows of `columns` elements as fp32, fp16 or bf16, rounded to nearest, ties
  /// to even: what overflows becomes an infinity, a NaN stays one.
  void (*_Nonnull narrow)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                          int32_t columns, attn_storage storage,
                          void *_Nonnull const *_Nonnull out);

  /// Online softmax over one block.
  void (*_Nonnull attend)(const attn_panel *_Nonnull panel, const attn_block *_Nonnull block);

  /// The same with the scores themselves as weights: output += (q . k) v, sums += q . k, where
  /// queries and keys are features. `maxima` is not used.
  void (*_Nonnull attend_linear)(const attn_panel *_Nonnull panel,
                                 const attn_block *_Nonnull block);

  /// weights[t][lane] = keys[t] . queries[:][lane] for all lanes of `vectors` vectors: plain dot
  /// products, no exponential.
  void (*_Nonnull dots)(const float *_Nonnull queries, const float *_Nonnull const *_Nonnull keys,
                        int32_t count, int32_t head_dim, int32_t vectors,
                        float *_Nonnull weights);

  /// output[c][lane] += sum over t of values[t][c] * weights[t * weight_stride + lane]; the
  /// lanes of `vectors` vectors. `weight_stride` is in floats; output rows are L apart.
  void (*_Nonnull accumulate)(const float *_Nonnull const *_Nonnull values,
                              const float *_Nonnull weights, int64_t weight_stride, int32_t count,
                              int32_t columns, int32_t vectors, float *_Nonnull output,
                              attn_ahead *_Nullable ahead);

  /// One row of a materialised score matrix, in place: x = exp2(x * scale - max(x * scale)).
  /// Returns the sum of the new x and stores the maximum, in log2 units.
  float (*_Nonnull softmax_row)(float *_Nonnull row, int64_t count, float scale,
                                float *_Nonnull maximum);

  /// x = cap * tanh(x * scale / cap).
  void (*_Nonnull softcap_row)(float *_Nonnull row, int64_t count, float scale, float cap);

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
