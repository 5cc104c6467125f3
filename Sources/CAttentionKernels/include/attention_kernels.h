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
//
// Scores are in log16 units: a weight is 16^score. A finite natural score is 0.36 times as large
// there, so that none overflows and the sum of a score and a bias does not either.
#pragma once
#include <stdint.h>

/// Keys of a block at most: the size of the weights buffer, in rows.
#define ATTN_BLOCK_KEYS 128
/// Bytes in a cache line, for prefetching.
#define ATTN_LINE_BYTES 64
/// Values in pairs have a multiple of so many columns.
#define ATTN_PAIR_COLUMNS 4
/// Hidden units of additive scores come in multiples of so many, zeros behind the last.
#define ATTN_ADDITIVE_UNITS 4
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

/// In what products of a panel are taken: how words of 32 bits hold its operands. Sums are fp32.
typedef enum attn_format {
  /// A number a word.
  ATTN_FP32,
  /// Two bf16 numbers a word, the one of the lower index in its lower half: neighbouring columns of
  /// queries and keys, neighbouring keys of weights and values. Denormal numbers count as zeros.
  ATTN_BF16_PAIRS,
  /// Two fp16 numbers a word, likewise. Rows have scales: see attn_key_scales. Sums are fp16 over at most 32
  /// columns or a block of keys, fp32 beyond.
  ATTN_FP16_PAIRS,
  /// Four 8-bit integers a word, likewise; those of queries and weights are unsigned. Rows have scales. Sums
  /// are 32-bit integers over a row or a block of keys, fp32 beyond.
  ATTN_INT8_QUADS,
  /// Scores as with ATTN_INT8_QUADS, weights and values as with ATTN_FP16_PAIRS.
  ATTN_INT8_SCORES_FP16,
  /// Scores as with ATTN_INT8_QUADS, weights and values as with ATTN_FP32.
  ATTN_INT8_SCORES_FP32,
} attn_format;
#define ATTN_FORMATS 6

/// Consecutive cache lines.
typedef struct attn_lines {
  const void *_Nonnull first;
  int32_t count;
} attn_lines;

/// Memory that will be needed soon. The product loops prefetch a line of it a step, into the
/// second-level cache: of many requests at once most would only wait for each other. What has been
/// prefetched is taken off.
typedef struct attn_prefetch_list {
  const attn_lines *_Nonnull lines;
  /// Entries of `lines` left.
  int32_t count;
  /// Lines of the first entry that have been prefetched.
  int32_t done;
} attn_prefetch_list;

/// What goes with the keys of a block where rows have scales. A score is the sum of products times the key's
/// scale and the query's, plus the key's shift.
typedef struct attn_key_scales {
  float scales[ATTN_BLOCK_KEYS];
  /// In log16 units.
  float shifts[ATTN_BLOCK_KEYS];
  /// Log16 of the scales of values, and what weights that have these in them are multiplied by to lose them.
  float value_shifts[ATTN_BLOCK_KEYS];
  float value_weights[ATTN_BLOCK_KEYS];
  /// Of the block's values that are finite and not all zeros.
  float largest_value_shift;
  /// Whether the block's values have so different scales that their keys' weights would vanish beside each other.
  int32_t values_differ;
  /// Whether a key's value is all zeros.
  uint8_t is_zero[ATTN_BLOCK_KEYS];
  /// What sums of 8-bit products begin at: -128 times the sum of the key, since 128 is added to queries.
  int32_t offsets[ATTN_BLOCK_KEYS];
} attn_key_scales;

/// The state of one panel in the online softmax (Milakov & Gimelshein 2018; Dao 2022).
typedef struct attn_panel {
  /// [head_words][L] words: scores come out in log16 units, of ATTN_FP32 at once, of other formats
  /// times `factor`.
  const void *_Nonnull queries;
  /// [ATTN_BLOCK_KEYS / keys of a word][L] words of scratch: 16^(score - maximum) of the block in
  /// work.
  void *_Nonnull weights;
  /// [e][L] accumulator: sum of weights times values, relative to `maxima`. With pairs e is rounded
  /// up to a multiple of ATTN_PAIR_COLUMNS.
  float *_Nonnull output;
  /// [L] reference exponent of each row in log16 units, -inf before the first visible key. It
  /// trails the true maximum by at most 2, so weights stay below 16^2; beside a bias a key it may be up to 3
  /// above it.
  float *_Nonnull maxima;
  /// [L] sum of weights, as they are multiplied, relative to `maxima`.
  float *_Nonnull sums;
  /// Words of a row of queries or keys: d, or d / 2 rounded up.
  int32_t head_words;
  int32_t value_dim;
  /// Vectors of lanes in use.
  int32_t vectors;
  /// Above 0. Multiplied in fp32, so that queries stored as bf16 keep their bits but for the power of
  /// two that they are packed with.
  float factor;
  /// c: scores x become c tanh(x / c), in log16 units like them; 0 leaves them as they are.
  float softcap;
  /// [L] scales of the queries, where rows have scales.
  const float *_Nullable query_scales;
} attn_panel;

/// Consecutive keys of a block and the neighbouring vectors of rows that see any of them. The
/// vectors begin at the panel's first or end at its last.
typedef struct attn_piece {
  /// Place of the first key in the block.
  int32_t first;
  int32_t count;
  int32_t first_vector;
  int32_t vectors;
  /// Whether some lane of these vectors does not see some of these keys, or sees it with a bias: a
  /// sum of ATTN_BY_BOUNDS and ATTN_BY_BIAS or ATTN_BY_KEY_BIAS, which say where to look; 0 where all
  /// see all.
  int32_t masked;
} attn_piece;

/// The bounds of the block decide which lanes see a key of the piece.
#define ATTN_BY_BOUNDS 1
/// So does the bias of the block, which also is added.
#define ATTN_BY_BIAS 2
/// The block's key bias is added, the same for all lanes. It hides nothing and is so small, below 1e30,
/// that no sum with a score needs to be held back from overflowing.
#define ATTN_BY_KEY_BIAS 4

/// A block of keys as one panel meets it.
typedef struct attn_block {
  /// [ATTN_BLOCK_KEYS] rows of head_words words; those outside the pieces are not read.
  const void *_Nonnull const *_Nonnull keys;
  /// [ATTN_BLOCK_KEYS / keys of a word] rows of e words, rounded up as in `output`.
  const void *_Nonnull const *_Nonnull values;
  /// At most ATTN_BLOCK_PIECES, in ascending order, none overlapping. They begin and end at whole
  /// words.
  const attn_piece *_Nonnull pieces;
  int32_t piece_count;
  /// The key that place 0 stands for in the bounds.
  int32_t first_key;
  /// [L]: in a piece masked by bounds lane i sees only places t with
  /// lower[i] <= first_key + t < upper[i]. Nothing of a key a lane does not see reaches that lane,
  /// not even a NaN.
  const int32_t *_Nonnull lower;
  const int32_t *_Nonnull upper;
  attn_prefetch_list *_Nullable prefetch;
  /// [ATTN_BLOCK_KEYS][L] added to the scores, in log16 units, after the softcap; a lane does not see
  /// a key whose bias is -inf. Read in pieces masked by bias, and may be NULL where there are none.
  const float *_Nullable bias;
  /// [ATTN_BLOCK_KEYS] the same for pieces masked by key bias.
  const float *_Nullable key_bias;
  /// Those of the block's keys, where rows have scales.
  const attn_key_scales *_Nullable scales;
} attn_block;

/// Keys of a chunk of attn_decode at most.
#define ATTN_DECODE_KEYS 256
/// Floats of a row of scores: a chunk, and what the last tile of any instruction set writes beyond.
#define ATTN_DECODE_SCORES 272

/// What is added to the scores of one query row, and which keys are hidden from it.
typedef struct attn_row_bias {
  /// Bytes, 0 where a key is hidden; NULL hides none.
  const uint8_t *_Nullable mask;
  /// In natural units; -inf hides; NULL adds nothing.
  const float *_Nullable bias;
  /// Where the query stands: slope * |position - key number| is taken off (Press 2022).
  int64_t position;
  /// Columns of mask and bias: a key beyond them is hidden.
  int32_t columns;
  /// In units of the scores: log16 units, or the `unit` that goes with it.
  float slope;
} attn_row_bias;

/// A few query rows in the online softmax, each a row of floats. All of them read the same keys.
typedef struct attn_decode {
  attn_storage storage;
  int32_t rows;
  int32_t head_dim;
  int32_t value_dim;
  /// As in attn_panel.
  float softcap;
  /// [rows], `query_stride` floats apart, as `decode_query` packs them: scores come out in log16
  /// units.
  const float *_Nonnull queries;
  int32_t query_stride;
  /// With ATTN_INT8_PER_TOKEN products times a key's scale times it are scores: queries are packed
  /// by so much less that products with integers stay finite.
  float factor;
  /// [rows][ATTN_DECODE_SCORES] scratch.
  float *_Nonnull scores;
  /// [rows][value_dim] accumulator: sum of weights times values, relative to `maxima`. Scales a
  /// column are not applied.
  float *_Nonnull output;
  /// [rows] maximum of the scores in log16 units, -inf before the first visible key.
  float *_Nonnull maxima;
  /// [rows] sum of weights, relative to `maxima`.
  float *_Nonnull sums;
  /// [rows], or NULL where nothing is added or hidden; mask and bias by key number.
  const attn_row_bias *_Nullable biases;
} attn_decode;

/// Keys of a chunk as the rows of attn_decode meet them.
typedef struct attn_decode_chunk {
  /// Rows of the places `base + first` on; `available` of them may be prefetched, of which this chunk
  /// reads `count`.
  const void *_Nonnull const *_Nonnull keys;
  const void *_Nonnull const *_Nonnull values;
  /// Their key numbers; needed with biases.
  const int32_t *_Nullable numbers;
  /// [count, rounded up to W] at least 0: what a key's weight is multiplied by once it has been summed; NULL
  /// for 1.
  const float *_Nullable factors;
  /// The place a chunk begins at; where its keys lie in it decides in which order sums are taken.
  int32_t base;
  int32_t first;
  int32_t count;
  int32_t available;
  /// How many rows before their use rows are prefetched.
  int32_t prefetch_distance;
  /// [rows]: row i sees only places lower[i] <= place < upper[i]. Nothing of a key a row does not
  /// see reaches it, not even a NaN.
  const int32_t *_Nonnull lower;
  const int32_t *_Nonnull upper;
} attn_decode_chunk;

/// How rows become operands of ATTN_BF16_PAIRS.
typedef struct attn_pair_rows {
  /// Rounds `count` rows of `columns` floats to the nearest bf16, ties to even: out[r] has
  /// `columns` numbers rounded up to even, the last of them 0.
  void (*_Nonnull round_rows)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                              int32_t columns, void *_Nonnull out);

  /// Transposes `count` <= L rows of `columns` bf16 numbers, rounded up to even, to lanes last: pairs
  /// of columns [.../2][L], times `scale`, which is a power of two of either sign, or 0; lanes from
  /// `count` on are zero.
  void (*_Nonnull pack)(const void *_Nonnull const *_Nonnull rows, int32_t count, int32_t columns,
                        float scale, void *_Nonnull out);

  /// Packs `count` rows of `columns` bf16 numbers to pairs of rows, [count / 2 rounded up][columns
  /// rounded up to ATTN_PAIR_COLUMNS], zeros where there is nothing.
  void (*_Nonnull pair_values)(const void *_Nonnull const *_Nonnull rows, int32_t count,
                               int32_t columns, void *_Nonnull out);
} attn_pair_rows;

/// How rows of fp32 numbers become operands of a format whose rows have scales. A row that is not finite
/// becomes zeros and makes NaN of what sees it.
typedef struct attn_scaled_rows {
  /// Packs `count` <= L rows, less `mean`: out [words of a row][L], and [L] scales times `scale`, 0 from lane
  /// `count` on. [L] shifts are the rows' products with `key_mean`, times `scale`: what the scores of keys less
  /// that mean lack. `scratch` has room for [L][words of a row] words. NULL is a mean of 0.
  void (*_Nonnull pack_queries)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                                int32_t columns, const float *_Nullable mean,
                                const float *_Nullable key_mean, float scale, void *_Nonnull scratch,
                                void *_Nonnull out, float *_Nonnull scales, float *_Nonnull shifts);

  /// Makes `count` rows of words of the keys at places from `first` on, less `mean`, and fills in their
  /// scales. A key's shift is its product with `query_mean`, which has the scale of the scores in it.
  void (*_Nonnull make_keys)(const float *_Nonnull const *_Nonnull rows, int32_t first, int32_t count,
                             int32_t columns, const float *_Nullable mean,
                             const float *_Nullable query_mean, void *_Nonnull out,
                             attn_key_scales *_Nonnull scales);

  /// Makes words of the values at places from `first`, a multiple of a word's keys, on: [count / keys of a
  /// word rounded up][columns rounded up to ATTN_PAIR_COLUMNS], zeros where there is nothing.
  void (*_Nonnull make_values)(const float *_Nonnull const *_Nonnull rows, int32_t first, int32_t count,
                               int32_t columns, void *_Nonnull out, attn_key_scales *_Nonnull scales);
} attn_scaled_rows;

/// Consecutive places of a panel's rows, as `fill_bias` meets them.
typedef struct attn_bias_block {
  /// [L]; the rows have masks all or none, and so with biases.
  const attn_row_bias *_Nonnull rows;
  /// Where masks and biases have the first place: its key number, or a place in what was gathered.
  int64_t column;
  /// The key of the first place, and [count] the other keys, counted from it; NULL where there are no
  /// slopes.
  int64_t key;
  const float *_Nullable offsets;
  int32_t count;
  /// Multiples of W.
  int32_t first_lane;
  int32_t lanes;
} attn_bias_block;

/// Which columns a row of a matrix product takes.
typedef enum attn_triangle {
  /// All.
  ATTN_RECTANGLE,
  /// Row r those up to column r. What is to the right of them is not read, nor are the rows it stands
  /// for.
  ATTN_LOWER,
  /// Row r those before column r, of rows that are results themselves: forward substitution, where the
  /// left matrix is what is below the unit diagonal, with the other sign.
  ATTN_SOLVE,
} attn_triangle;

/// A token of a recurrence: u = value - S^T erase, then S = keep S + key u^T, where `keep` has a factor for
/// each row; queries read the new S.
typedef struct attn_step {
  /// [d] each; `erase`, which reads the state as it was before, may be NULL for 0.
  const float *_Nonnull key;
  const float *_Nullable erase;
  const float *_Nonnull keep;
  /// [heads] rows of d, `query_stride` floats apart; at least one.
  const float *_Nonnull queries;
  int64_t query_stride;
  int32_t heads;
  /// d.
  int32_t columns;
} attn_step;

/// The d rows of a state, before a token and after it: the same ones, or others. Strides are in floats.
typedef struct attn_step_state {
  const float *_Nonnull before;
  int64_t before_stride;
  float *_Nonnull after;
  int64_t after_stride;
  /// What the next step reads, in rows at `before_stride`: a hint.
  const float *_Nonnull next;
} attn_step_state;

/// Rows that follow each other at a stride of bytes.
typedef struct attn_row_stretch {
  const void *_Nonnull start;
  int64_t stride;
  /// Bytes of a row.
  int64_t bytes;
  int64_t rows;
} attn_row_stretch;

/// What is read next, prefetched line by line by whoever is handed it: `lines` at a time, from `offset` of
/// `row` of the stretch at `place` on.
typedef struct attn_ahead {
  const attn_row_stretch *_Nonnull stretches;
  int32_t count;
  int32_t lines;
  int32_t place;
  int64_t row;
  int64_t offset;
} attn_ahead;

/// Rows of a chunk of a recurrence, for what they get of the state before it and of what its tokens write.
/// Strides are in floats.
typedef struct attn_chunk_rows {
  /// [count][columns].
  const float *_Nonnull rows;
  int64_t row_stride;
  int32_t count;
  /// Rows of the state.
  int32_t columns;
  /// [count][count], of which `triangle` says what takes part; ATTN_RECTANGLE is nothing here.
  const float *_Nonnull square;
  int64_t square_stride;
  attn_triangle triangle;
  /// From one row of what is written to the next, and of the results.
  int64_t written_stride;
  int64_t out_stride;
} attn_chunk_rows;

/// Tokens that `decayed_dots` takes at most, and how many vectors it needs for them.
enum { ATTN_DECAYED_TOKENS = 16, ATTN_DECAYED_VECTORS = 144 };

/// Query rows that keys are scored for by an index: sums over heads of a weight times what is positive of
/// a product. Strides are in floats.
typedef struct attn_index {
  /// [heads] of [rows] of `columns` floats.
  const float *_Nonnull queries;
  int64_t query_head_stride;
  int64_t query_stride;
  /// [heads] of [rows].
  const float *_Nonnull weights;
  int64_t weight_head_stride;
  int64_t weight_stride;
  int32_t heads;
  int32_t columns;
  int32_t rows;
} attn_index;

/// Functions of one format of products.
typedef struct attn_format_kernels {
  /// Online softmax over one block.
  void (*_Nonnull attend)(const attn_panel *_Nonnull panel, const attn_block *_Nonnull block);

  /// Runs `rounds` rounds of independent products on registers and returns a value that depends on all of
  /// them.
  float (*_Nonnull product_rounds)(int64_t rounds);

  /// Products for each lane and chain in a round. Where scores and values differ in format, as many of either.
  int32_t round_products;

  /// Where operands are bf16 pairs.
  const attn_pair_rows *_Nullable pairs;

  /// Where rows have scales.
  const attn_scaled_rows *_Nullable scaled;
} attn_format_kernels;

/// Keys of a stretch at most.
#define ATTN_STRETCH_KEYS 128
/// Heads that keep the same keys and meet them together at most.
#define ATTN_KEPT_HEADS 2

/// What a row keeps of a stretch: so many keys, at least one.
typedef struct attn_visit {
  uint16_t row;
  uint16_t count;
} attn_visit;

/// Keys that rows keep, and how far they have been met.
typedef struct attn_kept_lists {
  /// [count] lists of rising keys, `stride` apart, each followed by W numbers larger than any key.
  const int32_t *_Nonnull keys;
  int64_t stride;
  int32_t count;
  /// [count] each: how many have been met, and scratch.
  int32_t *_Nonnull cursors;
  int32_t *_Nonnull found;
} attn_kept_lists;

/// Query rows that keep keys of their own, by their numbers, of one head or of two that keep the same.
/// Columns are padded with zeros to a multiple of W.
typedef struct attn_kept_rows {
  int32_t heads;
  /// [heads][head_rows][key_columns], in log16 units, and [heads][head_rows][value_columns], relative to
  /// `maxima`.
  const float *_Nonnull queries;
  float *_Nonnull output;
  int64_t head_rows;
  /// [heads][head_rows] each; the maximum of scores so far, or a little less.
  float *_Nonnull maxima;
  float *_Nonnull sums;
  int32_t key_columns;
  int32_t value_columns;
  /// As of a panel.
  float softcap;
  /// Scratch: [heads][head_pairs] each, pairs of a stretch and at least W more, and [heads][head_rows].
  int64_t head_pairs;
  float *_Nonnull scores;
  float *_Nonnull weights;
  float *_Nonnull factors;
} attn_kept_rows;

/// A stretch of keys, and what rows keep of it.
typedef struct attn_stretch {
  /// [keys][key_columns] and [keys][value_columns].
  const float *_Nonnull keys;
  const float *_Nonnull values;
  const attn_visit *_Nonnull visits;
  int32_t visit_count;
  /// The places in the stretch of what the first visit keeps, then of the second, ...
  const uint8_t *_Nonnull places;
  attn_prefetch_list *_Nullable prefetch;
} attn_stretch;

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

  /// Prefetches `count` rows of `length` bytes into the second-level cache.
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

  /// As `attend` of ATTN_FP32, with the exponentials that suit the processors for which `attn_pipes_are_shared`
  /// says the opposite; NULL where all take the same.
  void (*_Nullable attend_otherwise)(const attn_panel *_Nonnull panel,
                                     const attn_block *_Nonnull block);

  /// Online softmax over one block with additive scores, sum over hidden units of weight tanh(a + b): with u units, `head_words`
  /// of the panel, its queries are as `additive_queries` leaves them and the block's keys rows of
  /// `additive_keys`.
  void (*_Nonnull attend_additive)(const attn_panel *_Nonnull panel,
                                   const attn_block *_Nonnull block);

  /// Completes a panel [3 u + 2][L] for `attend_additive`: [u][L] is made, [u][L] are weights times -2,
  /// [u][L] the queries' a, [L] sums of weights, [L] is made, in log16 units all weights. A lane whose
  /// last number is infinite, as it must be where a weight exceeds 2^16, has its tanhs taken one by one.
  void (*_Nonnull additive_queries)(float *_Nonnull queries, int32_t units);

  /// Makes `count` rows of keys [2 u + 1] for `attend_additive` from rows of `columns` <= u numbers b.
  void (*_Nonnull additive_keys)(const float *_Nonnull const *_Nonnull rows, int32_t count,
                                 int32_t columns, int32_t units, float *_Nonnull out);

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
                              attn_prefetch_list *_Nullable prefetch);

  /// One query row for `decode`: times a factor and, if there are, scales a column; the last columns
  /// lie where the kernel wants them. Writes `columns` floats rounded up to a multiple of 16.
  void (*_Nonnull decode_query)(const float *_Nonnull row, int32_t columns, float factor,
                                const float *_Nullable column_scales, float *_Nonnull out);

  /// Online softmax of a few rows over one chunk; vectors run along the columns.
  void (*_Nonnull decode)(const attn_decode *_Nonnull rows, const attn_decode_chunk *_Nonnull chunk);

  /// One row of a materialised score matrix, in place: x = 16^((x - max x) * scale), scale > 0.
  /// Returns the sum of the new x and stores max x * scale.
  float (*_Nonnull softmax_row)(float *_Nonnull row, int64_t count, float scale,
                                float *_Nonnull maximum);

  /// x = cap * tanh(x * scale / cap).
  void (*_Nonnull softcap_row)(float *_Nonnull row, int64_t count, float scale, float cap);

  /// out[t][lane] for a block's places and lanes, as an attn_block reads it: the bias in log16 units,
  /// -inf where mask or bias hides. What is finite saturates at the largest natural number.
  void (*_Nonnull fill_bias)(const attn_bias_block *_Nonnull block, float *_Nonnull out);

  /// x = x * scale + bias in a row of scores; -inf, whatever x is, where mask or bias hides. What is
  /// finite saturates at the largest natural number. `unit` says how many units of the scores are a
  /// natural one, at most 1/2: log16(e), say.
  void (*_Nonnull bias_row)(float *_Nonnull row, int64_t count, float scale, float unit,
                            const attn_row_bias *_Nonnull bias);

  /// One bit a key, 64 a word: whether mask and bias leave it visible, and whether they do without
  /// adding anything; slopes are not looked at. Bits from `count` on are 0.
  void (*_Nonnull key_bits)(const attn_row_bias *_Nonnull bias, int64_t count,
                            uint64_t *_Nonnull visible, uint64_t *_Nonnull plain);

  /// row *= factor.
  void (*_Nonnull scale_row)(float *_Nonnull row, int64_t count, float factor);

  /// out = elu(x) + 1 = x + 1 for x > 0, exp(x) otherwise (Katharopoulos 2020).
  void (*_Nonnull elu_plus_one)(const float *_Nonnull x, int64_t count, float *_Nonnull out);

  /// A matrix product: out[r][lane] = sum over c of left[r][c] right[c][lane], with `add` added to what
  /// `out` holds; the lanes of `vectors` vectors, strides in floats. ATTN_LOWER and ATTN_SOLVE say
  /// which columns take part instead of `depth`; with ATTN_SOLVE `right` is `out`, and `add` is set.
  void (*_Nonnull product)(const float *_Nonnull left, int64_t left_stride, int32_t count,
                           int32_t depth, const float *_Nonnull right, int64_t right_stride,
                           int32_t vectors, attn_triangle triangle, int32_t add,
                           float *_Nonnull out, int64_t out_stride);

  /// out[r][lane] = rows[r] state + square[r] written. With ATTN_SOLVE `written` is `out`, and that is added
  /// to what it holds. Rows of `state` are as wide as `vectors` vectors. Prefetches `ahead` on the way.
  void (*_Nonnull chunk_rows)(const attn_chunk_rows *_Nonnull rows, const float *_Nonnull state,
                              const float *_Nonnull written, int32_t vectors,
                              attn_ahead *_Nullable ahead, float *_Nonnull out);

  /// Takes `count` tokens into a state: state[c][lane] = keep[c] state[c][lane] + sum over t of
  /// left[t][c] right[t][lane]; rows of `state` are as wide as `vectors` vectors. `keep` NULL keeps
  /// all. Prefetches `ahead` on the way.
  void (*_Nonnull take_in)(const float *_Nonnull left, int64_t left_stride,
                           const float *_Nonnull right, int64_t right_stride, int32_t count,
                           int32_t columns, int32_t vectors, const float *_Nullable keep,
                           attn_ahead *_Nullable ahead, float *_Nonnull state);

  /// out[c][r] = rows[r][c], zeros after the last row up to a whole vector; rows of `out` are L wide.
  /// `columns` is a multiple of W.
  void (*_Nonnull transpose_rows)(const float *_Nonnull rows, int64_t stride, int32_t count,
                                  int32_t columns, float *_Nonnull out);

  /// out[t][s] = factor (rows[t] * decays[s + 1] * ... * decays[t]) . keys[s] for s <= t, factors element by
  /// element, of at most ATTN_DECAYED_TOKENS tokens; what is to the right of them is overwritten, up to
  /// a whole vector. Rows are `stride` floats apart and `columns`, a multiple of W. `scratch` has room for
  /// ATTN_DECAYED_VECTORS vectors.
  void (*_Nonnull decayed_dots)(const float *_Nonnull rows, const float *_Nonnull keys,
                                const float *_Nonnull decays, int64_t stride, int32_t columns,
                                int32_t count, float factor, float *_Nonnull scratch,
                                float *_Nonnull out, int64_t out_stride);

  /// decays = exp(decays), as `exp_row` takes it, and kept[t] = the product of those from the begin of
  /// t's block of `block` rows to t. `columns` is a multiple of W.
  void (*_Nonnull channel_decays)(float *_Nonnull decays, int64_t stride, int32_t count,
                                  int32_t columns, int32_t block, float *_Nonnull kept);

  /// What is kept of keys at the end of `count` tokens from `first` on: kept[s] *= over for those before
  /// them, which is what these keep of it; kept[s] = keys[s] * decays[s + 1] * ... for themselves.
  void (*_Nonnull keep_keys)(const float *_Nonnull keys, const float *_Nonnull decays,
                             const float *_Nonnull over, int64_t stride, int32_t columns,
                             int32_t first, int32_t count, float *_Nonnull kept);

  /// out[t][s] = factors[s + 1] * ... * factors[t] for s <= t; what is to the right of them is
  /// overwritten, up to `stride`, a multiple of W.
  void (*_Nonnull kept_between)(const float *_Nonnull factors, int64_t factor_stride, int32_t count,
                                int64_t stride, float *_Nonnull out);

  /// out[r] += rows[r][0] + ... + rows[r][r]; `stride` is a multiple of W and at least `count`.
  void (*_Nonnull add_lower_sums)(const float *_Nonnull rows, int64_t stride, int32_t count,
                                  float *_Nonnull out);

  /// out += rows[0] + rows[1] + ...; `columns` is a multiple of W. `lost`, which may be
  /// NULL, is what the roundings of earlier calls have added too much to `out`: the sum of many calls is then
  /// as exact as that of one (Kahan).
  void (*_Nonnull add_rows)(const float *_Nonnull rows, int64_t stride, int32_t count,
                            int32_t columns, float *_Nonnull out, float *_Nullable lost);

  /// out[r] = rows[r] . x; `columns` is a multiple of W.
  void (*_Nonnull dot_rows)(const float *_Nonnull rows, int64_t stride, int32_t count,
                            int32_t columns, const float *_Nonnull x, float *_Nonnull out);

  /// out[r][c] = rows[r][c] * factors[r][c] * factor; `columns` is a multiple of W, and 0 a stride that
  /// factors may have.
  void (*_Nonnull multiply_rows)(const float *_Nonnull rows, int64_t stride, int32_t count,
                                 int32_t columns, const float *_Nonnull factors,
                                 int64_t factor_stride, float factor, float *_Nonnull out);

  /// out[r][c] = rows[r][c] * (factors[r * factor_stride] * factor); `columns` is a multiple of W.
  void (*_Nonnull scale_rows)(const float *_Nonnull rows, int64_t stride, int32_t count,
                              int32_t columns, const float *_Nonnull factors,
                              int64_t factor_stride, float factor, float *_Nonnull out);

  /// rows[r] /= sqrt(|rows[r]|^2 + epsilon); `columns` is a multiple of W.
  void (*_Nonnull unit_rows)(float *_Nonnull rows, int64_t stride, int32_t count, int32_t columns,
                             float epsilon);

  /// out = exp(x) to one unit in the last place for x <= 0, and 0 where it would be denormal;
  /// `count` is a multiple of W.
  void (*_Nonnull exp_row)(const float *_Nonnull x, int64_t count, float *_Nonnull out);

  /// Takes a token into `vectors` vectors of the rows of a state and reads it out for its queries.
  void (*_Nonnull step)(const attn_step *_Nonnull token, const attn_step_state *_Nonnull state,
                        int32_t vectors, const float *_Nonnull value, float *_Nonnull out,
                        int64_t out_stride);

  /// out[r][lane] = sum over heads h of weights[h][r] max(0, queries[h][r] . key of the lane), for keys in
  /// lanes: `keys` is [columns][L]. A NaN stays one.
  void (*_Nonnull index_scores)(const attn_index *_Nonnull index, const float *_Nonnull keys,
                                int32_t vectors, float *_Nonnull out, int64_t out_stride);

  /// How many of the floats are at least `least`; NaN is not.
  int64_t (*_Nonnull count_from)(const float *_Nonnull x, int64_t count, float least);

  /// Copies together the floats that are at least `least`, a NaN as an infinity, and their keys: those of
  /// `from`, or `first` and those after it where `from` is NULL. Returns how many. `scores` and `keys` have
  /// room for W more; they may be `x` and `from` themselves.
  int64_t (*_Nonnull keep_from)(const float *_Nonnull x, const int32_t *_Nullable from, int32_t first,
                                int64_t count, float least, float *_Nonnull scores,
                                int32_t *_Nonnull keys);

  /// Who keeps which keys of a stretch [first, end) that follows on what rows have met: the visits, those of
  /// rows that keep fewer first, then by row, and the places of their keys, W more of which may be written.
  /// Returns how many visits there are, and stores how many pairs.
  int32_t (*_Nonnull find_visits)(const attn_kept_lists *_Nonnull lists, int32_t first, int32_t end,
                                  attn_visit *_Nonnull visits, uint8_t *_Nonnull places,
                                  int64_t *_Nonnull pairs);

  /// Online softmax of rows over what they keep of a stretch.
  void (*_Nonnull attend_kept)(const attn_kept_rows *_Nonnull rows,
                               const attn_stretch *_Nonnull stretch);

  /// Reads `count` floats once and returns a value that depends on all of them.
  float (*_Nonnull read_floats)(const float *_Nonnull x, int64_t count);

  /// Independent products in a round of `product_rounds`, each of W words.
  int32_t chains;

  /// What there is of each attn_format; NULL where the instruction set has no such products.
  const attn_format_kernels *_Nullable formats[ATTN_FORMATS];
} attn_kernels;

/// The tables compiled into this build, best first, and how many there are.
const attn_kernels *_Nonnull const *_Nonnull attn_kernels_compiled(int32_t *_Nonnull count);

/// Whether this processor (and its operating system) can run a table.
int attn_kernels_supported(const attn_kernels *_Nonnull kernels);

/// Whether every vector operation takes a turn on the pipes of multiply-adds, as on the two ports that Intel's
/// cores have for vectors of 512 bits; AMD's have others for additions, comparisons and shifts.
int attn_pipes_are_shared(void);

/// Whether this processor can run a table's products of a format.
int attn_format_supported(const attn_kernels *_Nonnull kernels, attn_format format);

/// The functions of a format; NULL where there are none.
static inline const attn_format_kernels *_Nullable attn_format_table(
    const attn_kernels *_Nonnull kernels, attn_format format) {
  return kernels->formats[format];
}

/// Lets a panel meet a block.
static inline void attn_attend(const attn_kernels *_Nonnull kernels, attn_format format,
                               const attn_panel *_Nonnull panel,
                               const attn_block *_Nonnull block) {
  kernels->formats[format]->attend(panel, block);
}

/// Runs rounds of products of a format.
static inline float attn_product_rounds(const attn_kernels *_Nonnull kernels, attn_format format,
                                        int64_t rounds) {
  return kernels->formats[format]->product_rounds(rounds);
}
