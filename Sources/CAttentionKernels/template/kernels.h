// The micro-kernels, written once over a vector of W floats and instantiated per instruction set.
// The including file defines, before inclusion:
//   ATTN_NAME           the table's name, a token: avx512
//   ATTN_W              floats in a vector: 4, 8 or 16
//   ATTN_VECTORS        vectors of lanes in a panel
//   ATTN_TILE           rows of a register tile: TILE x VECTORS accumulators must leave room for
//                       VECTORS operands and one broadcast
//   ATTN_KEEP(x)        keeps a broadcast in a register, or nothing
// and may define
//   ATTN_PERMUTE_32     (low, index, high): looks each lane's low five index bits up in 32 floats
//   ATTN_OVERLAP        1 where registers suffice to compute exponentials inside product loops
// Multiplications followed by additions are contracted to fused multiply-adds where the
// instruction set has them.
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "attention_kernels.h"

#pragma STDC FP_CONTRACT ON

#define ATTN_PASTE_(a, b) a##b
#define ATTN_PASTE(a, b) ATTN_PASTE_(a, b)
#define ATTN_STRING_(a) #a
#define ATTN_STRING(a) ATTN_STRING_(a)
#define ATTN_INLINE static inline __attribute__((always_inline))
#define ATTN_L (ATTN_VECTORS * ATTN_W)

typedef float vf __attribute__((ext_vector_type(ATTN_W)));
typedef int32_t vi __attribute__((ext_vector_type(ATTN_W)));
typedef float vf_unaligned __attribute__((ext_vector_type(ATTN_W), aligned(4)));
typedef int32_t vi_unaligned __attribute__((ext_vector_type(ATTN_W), aligned(4)));

ATTN_INLINE vf load(const float *p) { return *(const vf_unaligned *)p; }
ATTN_INLINE vi load_int(const int32_t *p) { return *(const vi_unaligned *)p; }
ATTN_INLINE void store(float *p, vf x) { *(vf_unaligned *)p = x; }
ATTN_INLINE vf splat(float x) { return (vf)x; }
ATTN_INLINE vi splat_int(int32_t x) { return (vi)x; }
/// max that returns b when either is NaN, as the x86 instruction does; written so that it is one.
ATTN_INLINE vf larger(vf a, vf b) { return a > b ? a : b; }
ATTN_INLINE vf smaller(vf a, vf b) { return a < b ? a : b; }
ATTN_INLINE vf broadcast(const float *p) {
  vf x = splat(*p);
  ATTN_KEEP(x);
  return x;
}
/// The same pointer, of which the compiler no longer knows where it points: what is read through it
/// is loaded where it is used. Otherwise it would be held in registers across the product loops,
/// and accumulators spilled inside those.
ATTN_INLINE const float *opaque(const float *p) {
  __asm__ volatile("" : "+r"(p));
  return p;
}
ATTN_INLINE int any(vi mask) { return __builtin_reduce_or(mask) != 0; }
ATTN_INLINE float sum_lanes(vf x) {
  float s = 0;
  for (int i = 0; i < ATTN_W; i++) s += x[i];
  return s;
}
ATTN_INLINE float max_lanes(vf x) {
  float m = x[0];
  for (int i = 1; i < ATTN_W; i++) m = x[i] > m ? x[i] : m;
  return m;
}

// MARK: The exponential

// 2^x for x <= 126, relative error 1.7e-7, 0 from -127 down, NaN stays NaN. Rounding is by adding
// a number whose ulp is the grain wanted (Cody & Waite 1980); powers of two are assembled in the
// exponent field. Polynomials are minimax in relative error.

#ifdef ATTN_PERMUTE_32
/// Bits of 2^(j/32), with j taken off those that it will itself occupy when the exponent is added:
/// bits(2^(j/32)) - (j << 18). Then the two coefficients of 2^r - 1 for |r| <= 1/64, the magic
/// number and the least exponent.
static const struct {
  uint32_t roots[32];
  float linear, square, magic, least;
} exp2_constants = {
    {
        0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a,
        0x3f79c3d3, 0x3f78f4f0, 0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043,
        0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6, 0x3f7504f3, 0x3f74fbaf,
        0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,
        0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba,
        0x3f7d257d, 0x3f7e83b3
    },
    6.931573286e-1f, 2.402265066e-1f, 12582912.0f / 32, -127.0f};

/// x = n + j/32 + r: a table look-up in two registers and a quadratic. Three operations on the
/// multiply-add pipes; the rest runs beside them.
ATTN_INLINE vf exp2_vector(vf x) {
  const float *constants = opaque((const float *)&exp2_constants);
  const vf magic = splat(constants[34]);
  x = larger(splat(constants[35]), x);
  const vf shifted = x + magic;
  const vf r = x - (shifted - magic);
  const vf root = ATTN_PERMUTE_32(load(constants), shifted, load(constants + ATTN_W));
  const vf power = (vf)((vi)root + ((vi)shifted << 18));
  return power * r * (splat(constants[33]) * r + splat(constants[32])) + power;
}
#else
static const float exp2_constants[8] = {
    1.0f,           6.931470037e-1f, 2.402224243e-1f,      5.550733581e-2f,
    9.671512991e-3f, 1.326472731e-3f, 12582912.0f + 127.0f, -127.0f};

/// x = n + f with |f| <= 1/2: a polynomial of degree 5. The magic number has already biased n.
ATTN_INLINE vf exp2_vector(vf x) {
  const float *constants = opaque(exp2_constants);
  const vf magic = splat(constants[6]);
  x = larger(splat(constants[7]), x);
  const vf shifted = x + magic;
  const vf f = x - (shifted - magic);
  vf p = splat(constants[5]);
#pragma clang loop unroll(full)
  for (int i = 4; i >= 0; i--) p = p * f + splat(constants[i]);
  return p * (vf)((vi)shifted << 23);
}
#endif

// MARK: Transposition

#if ATTN_W == 16
#define ATTN_ZIP_LOW(a, b)                                                                  \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ATTN_ZIP_HIGH(a, b)                                                                 \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif ATTN_W == 8
#define ATTN_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ATTN_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define ATTN_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ATTN_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/// W x W transpose in registers: log2(W) rounds of interleaving row i with row i + W/2.
ATTN_INLINE void transpose(vf r[ATTN_W]) {
#pragma clang loop unroll(full)
  for (int round = 1; round < ATTN_W; round *= 2) {
    vf t[ATTN_W];
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_W / 2; i++) {
      t[2 * i] = ATTN_ZIP_LOW(r[i], r[i + ATTN_W / 2]);
      t[2 * i + 1] = ATTN_ZIP_HIGH(r[i], r[i + ATTN_W / 2]);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_W; i++) r[i] = t[i];
  }
}

/// Asks for rows that are about to be read, into the second-level cache.
ATTN_INLINE void prefetch_rows(const float *const *rows, const int count, int32_t columns) {
#pragma clang loop unroll(full)
  for (int r = 0; r < count; r++)
    for (ptrdiff_t c = 0; c < columns; c += 16) __builtin_prefetch(rows[r] + c, 0, 2);
}

static void prefetch(const float *const *rows, int32_t count, int32_t columns) {
  for (int32_t r = 0; r < count; r++) prefetch_rows(rows + r, 1, columns);
}

static void gather(const float *const *rows, int32_t count, int32_t columns, float *out) {
  // Far enough ahead to cover a miss to memory, near enough to be still there.
  enum { ahead = 16 };
  prefetch(rows, count < ahead ? count : ahead, columns);
  for (int32_t r = 0; r < count; r++) {
    if (r + ahead < count) prefetch_rows(rows + r + ahead, 1, columns);
    __builtin_memcpy(out + (ptrdiff_t)r * columns, rows[r], sizeof(float) * (size_t)columns);
  }
}

static void pack(const float *const *rows, int32_t count, int32_t columns, float scale,
                 float *out) {
  const vf factor = splat(scale);
  prefetch(rows, count, columns);
  for (int32_t lane = 0; lane < ATTN_L; lane += ATTN_W) {
    const int32_t live = count - lane < ATTN_W ? count - lane : ATTN_W;
    int32_t t = 0;
    for (; t + ATTN_W <= columns; t += ATTN_W) {
      vf r[ATTN_W];
      for (int i = 0; i < ATTN_W; i++) r[i] = i < live ? load(rows[lane + i] + t) : splat(0);
      transpose(r);
      for (int i = 0; i < ATTN_W; i++) store(out + (ptrdiff_t)(t + i) * ATTN_L + lane, r[i] * factor);
    }
    for (; t < columns; t++)
      for (int i = 0; i < ATTN_W; i++)
        out[(ptrdiff_t)t * ATTN_L + lane + i] = i < live ? rows[lane + i][t] * scale : 0;
  }
}

static void unpack(const float *in, const float *factors, int32_t count, int32_t columns,
                   float *const *rows) {
  for (int32_t lane = 0; lane < count; lane += ATTN_W) {
    const int32_t live = count - lane < ATTN_W ? count - lane : ATTN_W;
    const vf factor = load(factors + lane);
    int32_t t = 0;
    for (; t + ATTN_W <= columns; t += ATTN_W) {
      vf r[ATTN_W];
      for (int i = 0; i < ATTN_W; i++) r[i] = load(in + (ptrdiff_t)(t + i) * ATTN_L + lane) * factor;
      transpose(r);
      for (int i = 0; i < live; i++) store(rows[lane + i] + t, r[i]);
    }
    for (; t < columns; t++)
      for (int i = 0; i < live; i++)
        rows[lane + i][t] = in[(ptrdiff_t)t * ATTN_L + lane + i] * factors[lane + i];
  }
}

// MARK: Masks

/// The range of keys each lane of some vectors sees.
typedef struct lane_bounds {
  const int32_t *lower;
  const int32_t *upper;
  /// The key that t = 0 stands for.
  int32_t first_key;
} lane_bounds;

ATTN_INLINE vi sees(const lane_bounds *bounds, int vector, int32_t t) {
  const vi key = splat_int(bounds->first_key + t);
  return (key >= load_int(bounds->lower + vector * ATTN_W)) &
         (key < load_int(bounds->upper + vector * ATTN_W));
}

// MARK: Register tiles

/// Calls `f` with the number of vectors as a constant, so that each count is its own code.
#if ATTN_VECTORS == 3
#define ATTN_FOR_VECTORS(vectors, f, ...)  \
  switch (vectors) {                       \
    case 1: f(__VA_ARGS__, 1); break;      \
    case 2: f(__VA_ARGS__, 2); break;      \
    default: f(__VA_ARGS__, 3); break;     \
  }
#else
#define ATTN_FOR_VECTORS(vectors, f, ...)  \
  switch (vectors) {                       \
    case 1: f(__VA_ARGS__, 1); break;      \
    default: f(__VA_ARGS__, 2); break;     \
  }
#endif


/// One step of a tile of S^T: acc[r][v] += keys[r][t] * queries[t] of vector v.
ATTN_INLINE void dot_step(const float *queries, const float *const key[ATTN_TILE], ptrdiff_t t,
                          const int rows, const int vectors, vf acc[ATTN_TILE][ATTN_VECTORS]) {
  vf q[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) q[v] = load(queries + t * ATTN_L + v * ATTN_W);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf k = broadcast(key[r] + t);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = k * q[v] + acc[r][v];
  }
}

/// acc[r][v] = keys[r] . queries of vector v: the tile of S^T, `rows` keys by `vectors` vectors.
ATTN_INLINE void dot_tile(const float *queries, const float *const *keys, int32_t head_dim,
                          const int rows, const int vectors,
                          vf acc[ATTN_TILE][ATTN_VECTORS]) {
  const float *key[ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = keys[r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  for (ptrdiff_t t = 0; t < head_dim; t++) dot_step(queries, key, t, rows, vectors, acc);
}

/// output[r][v] += sum over t of values[t][r] * weights[t][v]: the tile of O^T, `rows` value
/// columns by `vectors` vectors. With bounds, a lane takes part only in the keys it sees. With
/// sums, the weights themselves are added up too, on pipes the products leave idle. Each call sums
/// from zero and adds its sum to the output: over a long sequence rounding errors then grow with
/// the number of blocks, not of keys.
ATTN_INLINE void value_tile(const float *const *values, ptrdiff_t column, const float *weights,
                            ptrdiff_t weight_stride, int32_t count, const int rows,
                            const int vectors, const lane_bounds *bounds, float *output,
                            float *sums) {
  vf acc[2 * ATTN_TILE][ATTN_VECTORS];
  vf sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = splat(0);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) acc[r][v] = splat(0);
  }
  for (ptrdiff_t t = 0; t < count; t++) {
    const float *value = values[t] + column;
    vf p[ATTN_VECTORS];
    vi seen[ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      p[v] = load(weights + t * weight_stride + v * ATTN_W);
      if (sums) sum[v] += p[v];
      if (bounds) seen[v] = sees(bounds, v, (int32_t)t);
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      const vf x = broadcast(value + r);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        const vf next = x * p[v] + acc[r][v];
        acc[r][v] = bounds ? (seen[v] ? next : acc[r][v]) : next;
      }
    }
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      float *out = output + r * ATTN_L + v * ATTN_W;
      store(out, load(out) + acc[r][v]);
    }
  }
}

/// One key of value_column: acc[v] += value * weights of vector v.
ATTN_INLINE void column_step(const float *value, const float *weights, int32_t t,
                             const int vectors, const lane_bounds *bounds,
                             vf acc[ATTN_VECTORS], vf sum[ATTN_VECTORS]) {
  const vf x = broadcast(value);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    const vf p = load(weights + v * ATTN_W);
    const vf next = x * p + acc[v];
    acc[v] = bounds ? (sees(bounds, v, t) ? next : acc[v]) : next;
    sum[v] += p;
  }
}

/// value_tile for a single column: four partial sums, since one chain per vector would wait for
/// itself at every step.
ATTN_INLINE void value_column(const float *const *values, ptrdiff_t column, const float *weights,
                              ptrdiff_t weight_stride, int32_t count, const int vectors,
                              const lane_bounds *bounds, float *output, float *sums) {
  vf acc[4][ATTN_VECTORS], sum[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    sum[v] = acc[0][v] = acc[1][v] = acc[2][v] = acc[3][v] = splat(0);
  }
  ptrdiff_t t = 0;
  for (; t + 4 <= count; t += 4)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++)
      column_step(values[t + u] + column, weights + (t + u) * weight_stride, (int32_t)(t + u),
                  vectors, bounds, acc[u], sum);
  for (; t < count; t++)
    column_step(values[t] + column, weights + t * weight_stride, (int32_t)t, vectors, bounds,
                acc[0], sum);
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *out = output + v * ATTN_W;
    store(out, load(out) + ((acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v])));
    if (sums) store(sums + v * ATTN_W, load(sums + v * ATTN_W) + sum[v]);
  }
}

/// value_tile over all columns. One vector of lanes takes twice the rows: its accumulators are
/// few, and more of them hide the latency of the fused multiply-add.
ATTN_INLINE void value_columns(float *output, float *sums, const float *const *values,
                               const float *weights, ptrdiff_t weight_stride, int32_t count,
                               int32_t columns, const lane_bounds *bounds, const int vectors) {
  int32_t c = 0;
  const int wide = vectors == 1 ? 2 * ATTN_TILE : ATTN_TILE;
  const int sizes[3] = {wide, ATTN_TILE, ATTN_TILE / 2};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++) {
    const int rows = sizes[i];
    if (sums && c == 0 && rows <= columns) {
      value_tile(values, 0, weights, weight_stride, count, rows, vectors, bounds, output, sums);
      c = rows;
    }
    for (; c + rows <= columns; c += rows)
      value_tile(values, c, weights, weight_stride, count, rows, vectors, bounds,
                 output + (ptrdiff_t)c * ATTN_L, NULL);
  }
  for (; c < columns; c++)
    value_column(values, c, weights, weight_stride, count, vectors, bounds,
                 output + (ptrdiff_t)c * ATTN_L, c == 0 ? sums : NULL);
}

// MARK: Online softmax

/// Raises the reference exponents that lag behind the tile in hand by more than 8 to its maximum
/// and brings everything accumulated so far to the new reference. Rare: see score_tile. A lane that
/// does not lag keeps its reference, so that no row's bits depend on the rows beside it.
static __attribute__((noinline)) void raise_maxima(const attn_panel *panel, ptrdiff_t lane,
                                                   int32_t vectors, int32_t weights_done,
                                                   const float *tile_maxima) {
  for (int32_t v = 0; v < vectors; v++, lane += ATTN_W) {
    const vf old = load(panel->maxima + lane);
    const vf peak = load(tile_maxima + v * ATTN_W);
    const vf new = peak > old + splat(8) ? peak : old;
    // A row that still sees nothing stays at -inf; everything it holds is zero.
    const vf factor = old == new ? splat(1) : exp2_vector(old - new);
    store(panel->maxima + lane, new);
    // Rows that have seen nothing yet have nothing to bring along.
    if (!any(old > splat(-INFINITY))) continue;
    store(panel->sums + lane, load(panel->sums + lane) * factor);
    for (ptrdiff_t t = 0; t < weights_done; t++) {
      float *p = panel->weights + t * ATTN_L + lane;
      store(p, load(p) * factor);
    }
    for (ptrdiff_t c = 0; c < panel->value_dim; c++) {
      float *p = panel->output + c * ATTN_L + lane;
      store(p, load(p) * factor);
    }
  }
}

/// What the pieces of one call share: the panel from its first vector in use on, what it sees,
/// and the references its weights are relative to.
typedef struct attend_state {
  const attn_panel *panel;
  const lane_bounds *bounds;
  ptrdiff_t lane;
  vf reference[ATTN_VECTORS];
} attend_state;

/// The reference of a vector of rows; a row that has seen nothing yet is measured against 0, since
/// -inf - (-inf) would be NaN.
ATTN_INLINE vf load_reference(const attn_panel *panel, ptrdiff_t lane) {
  const vf maxima = load(opaque(panel->maxima + lane));
  return maxima == splat(-INFINITY) ? splat(0) : maxima;
}

ATTN_INLINE void read_references(attend_state *state, const int vectors) {
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++)
    state->reference[v] = load_reference(state->panel, state->lane + v * ATTN_W);
}

/// Turns a key's scores, stored by score_tile, into weights 2^(score - reference).
ATTN_INLINE void weigh_key(const attend_state *state, int32_t t, const int vectors) {
  float *weights = state->panel->weights + (ptrdiff_t)t * ATTN_L + state->lane;
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    store(weights + v * ATTN_W,
          exp2_vector(load(weights + v * ATTN_W) - state->reference[v]));
  }
}

/// Scores of keys [done, done + rows) of the block and their weights 2^(score - reference).
///
/// With overlap, the scores are only stored, and the `pending` keys before them, scored by the call
/// before, get their weights meanwhile: exponentials run mostly on pipes that the products leave
/// idle. Without, the weights are computed from the registers and summed.
///
/// The reference trails the maximum: it moves only when a score exceeds it by more than 8, so that
/// almost every tile leaves the accumulator alone (the threshold is in log2 units: weights stay
/// below 256, which costs no accuracy in fp32).
ATTN_INLINE void score_tile(attend_state *state, const float *const *keys, int32_t done,
                            int32_t pending, const int rows, const int vectors,
                            const int overlap) {
  const attn_panel *panel = state->panel;
  const ptrdiff_t lane = state->lane;
  const float *queries = panel->queries + lane;
  vf acc[ATTN_TILE][ATTN_VECTORS];
  const float *key[ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    key[r] = keys[done + r];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  }
  ptrdiff_t t = 0;
  if (overlap && pending) {
    const ptrdiff_t steps = panel->head_dim / pending;
    for (int32_t p = done - pending; p < done; p++) {
      for (const ptrdiff_t stop = t + steps; t < stop; t++)
        dot_step(queries, key, t, rows, vectors, acc);
      weigh_key(state, p, vectors);
    }
  }
  for (; t < panel->head_dim; t++) dot_step(queries, key, t, rows, vectors, acc);

  vi grew = splat_int(0);
  vf peak[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++) {
      if (state->bounds)
        acc[r][v] = sees(state->bounds, v, done + r) ? acc[r][v] : splat(-INFINITY);
      peak[v] = r ? larger(acc[r][v], peak[v]) : acc[0][v];
    }
    grew |= peak[v] > load(panel->maxima + lane + v * ATTN_W) + splat(8);
  }
  if (__builtin_expect(any(grew), 0)) {
    float tile_maxima[ATTN_L];
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(tile_maxima + v * ATTN_W, peak[v]);
    raise_maxima(panel, lane, vectors, done, tile_maxima);
    if (overlap) read_references(state, vectors);
  }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) {
    float *weights = panel->weights + (ptrdiff_t)done * ATTN_L + lane + v * ATTN_W;
    if (overlap) {
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) store(weights + r * ATTN_L, acc[r][v]);
    } else {
      const vf reference = load_reference(panel, lane + v * ATTN_W);
      vf sum = splat(0);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf p = exp2_vector(acc[r][v] - reference);
        store(weights + r * ATTN_L, p);
        sum += p;
      }
      float *sums = panel->sums + lane + v * ATTN_W;
      store(sums, load(sums) + sum);
    }
  }
}

/// Scores all keys that fill tiles of `rows`; returns how many keys are done.
ATTN_INLINE int32_t score_tiles(attend_state *state, const float *const *keys, int32_t done,
                                int32_t *pending, int32_t count, const int rows,
                                const int vectors, const int overlap) {
  for (; done + rows <= count; done += rows) {
    score_tile(state, keys, done, *pending, rows, vectors, overlap);
    *pending = rows;
  }
  return done;
}

ATTN_INLINE void attend_vectors(const attn_panel *panel, const float *const *keys,
                                const float *const *values, int32_t count, ptrdiff_t lane,
                                const lane_bounds *bounds, const int vectors) {
  // A single vector's products wait for themselves: there is nothing to overlap with.
  const int overlap = ATTN_OVERLAP && vectors > 1;
  attend_state state = {panel, bounds, lane, {}};
  if (overlap) read_references(&state, vectors);
  int32_t done = 0, pending = 0;
  done = score_tiles(&state, keys, done, &pending, count, ATTN_TILE, vectors, overlap);
  done = score_tiles(&state, keys, done, &pending, count, ATTN_TILE / 2, vectors, overlap);
  done = score_tiles(&state, keys, done, &pending, count, 1, vectors, overlap);
  if (overlap)
    for (int32_t t = done - pending; t < done; t++) weigh_key(&state, t, vectors);
  value_columns(panel->output + lane, overlap ? panel->sums + lane : NULL, values,
                panel->weights + lane, ATTN_L, count, panel->value_dim, bounds, vectors);
}

static void attend(const attn_panel *panel, const float *const *keys, const float *const *values,
                   int32_t count, int32_t first_vector, int32_t vectors) {
  const ptrdiff_t lane = (ptrdiff_t)first_vector * ATTN_W;
  ATTN_FOR_VECTORS(vectors, attend_vectors, panel, keys, values, count, lane, NULL)
}

static void attend_masked(const attn_panel *panel, const float *const *keys,
                          const float *const *values, int32_t count, int32_t first_vector,
                          int32_t vectors, int32_t first_key, const int32_t *lower,
                          const int32_t *upper) {
  const ptrdiff_t lane = (ptrdiff_t)first_vector * ATTN_W;
  const lane_bounds bounds = {lower + lane, upper + lane, first_key};
  ATTN_FOR_VECTORS(vectors, attend_vectors, panel, keys, values, count, lane, &bounds)
}

// MARK: Products without the exponential

ATTN_INLINE void dots_tile(const float *queries, const float *const *keys, int32_t head_dim,
                           const int rows, const int vectors, float *weights) {
  vf acc[ATTN_TILE][ATTN_VECTORS];
  dot_tile(queries, keys, head_dim, rows, vectors, acc);
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(weights + r * ATTN_L + v * ATTN_W, acc[r][v]);
}

ATTN_INLINE void dots_vectors(float *weights, const float *queries, const float *const *keys,
                              int32_t count, int32_t head_dim, const int vectors) {
  ptrdiff_t t = 0;
  for (; t + ATTN_TILE <= count; t += ATTN_TILE)
    dots_tile(queries, keys + t, head_dim, ATTN_TILE, vectors, weights + t * ATTN_L);
  for (; t + ATTN_TILE / 2 <= count; t += ATTN_TILE / 2)
    dots_tile(queries, keys + t, head_dim, ATTN_TILE / 2, vectors, weights + t * ATTN_L);
  for (; t < count; t++)
    dots_tile(queries, keys + t, head_dim, 1, vectors, weights + t * ATTN_L);
}

static void dots(const float *queries, const float *const *keys, int32_t count, int32_t head_dim,
                 int32_t vectors, float *weights) {
  ATTN_FOR_VECTORS(vectors, dots_vectors, weights, queries, keys, count, head_dim)
}

static void accumulate(const float *const *values, const float *weights, int64_t weight_stride,
                       int32_t count, int32_t columns, int32_t vectors, float *output) {
  ATTN_FOR_VECTORS(vectors, value_columns, output, NULL, values, weights, weight_stride, count,
                   columns, NULL)
}

static void accumulate_masked(const float *const *values, const float *weights,
                              int64_t weight_stride, int32_t count, int32_t columns,
                              int32_t vectors, int32_t first_key, const int32_t *lower,
                              const int32_t *upper, float *output) {
  const lane_bounds bounds = {lower, upper, first_key};
  ATTN_FOR_VECTORS(vectors, value_columns, output, NULL, values, weights, weight_stride, count,
                   columns, &bounds)
}

// MARK: Rows

static float softmax_row(float *row, int64_t count, float scale, float *maximum) {
  // Four vectors at a time, so that four chains of maxima and sums are in flight.
  const vf lowest = splat(-INFINITY), factor = splat(scale);
  vf top[4] = {lowest, lowest, lowest, lowest};
  int64_t j = 0;
  for (; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) top[u] = larger(load(row + j + u * ATTN_W) * factor, top[u]);
  float peak = max_lanes(larger(larger(top[0], top[1]), larger(top[2], top[3])));
  for (int64_t i = j; i < count; i++) peak = row[i] * scale > peak ? row[i] * scale : peak;
  *maximum = peak;
  const vf reference = splat(peak == -INFINITY ? 0 : peak);
  vf sum[4] = {splat(0), splat(0), splat(0), splat(0)};
  for (j = 0; j + 4 * ATTN_W <= count; j += 4 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) {
      const vf p = exp2_vector(load(row + j + u * ATTN_W) * factor - reference);
      store(row + j + u * ATTN_W, p);
      sum[u] += p;
    }
  float total = sum_lanes((sum[0] + sum[1]) + (sum[2] + sum[3]));
  for (; j < count; j++) {
    const vf p = exp2_vector(splat(row[j]) * factor - reference);
    row[j] = p[0];
    total += p[0];
  }
  return total;
}

static void scale_row(float *row, int64_t count, float factor) {
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) store(row + j, load(row + j) * splat(factor));
  for (; j < count; j++) row[j] *= factor;
}

static void elu_plus_one(const float *x, int64_t count, float *out) {
  const vf log2e = splat(1.44269504f);
  int64_t j = 0;
  for (; j + ATTN_W <= count; j += ATTN_W) {
    const vf value = load(x + j);
    // The exponential of the negative part only, so that a large x cannot overflow it; NaN
    // takes the second branch and stays NaN.
    const vf power = exp2_vector(smaller(splat(0), value) * log2e);
    store(out + j, value > splat(0) ? value + splat(1) : power);
  }
  for (; j < count; j++) {
    const vf value = splat(x[j]);
    const vf power = exp2_vector(smaller(splat(0), value) * log2e);
    out[j] = x[j] > 0 ? x[j] + 1 : power[0];
  }
}

// MARK: The machine's own limits

#define ATTN_FMA_CHAINS (ATTN_VECTORS * ATTN_TILE)

static float fma_rounds(int64_t rounds) {
  vf acc[ATTN_FMA_CHAINS];
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) acc[i] = splat((float)i);
  vf a = splat(0.999999f), b = splat(1e-6f);
  for (int64_t n = 0; n < rounds; n++)
#pragma clang loop unroll(full)
    for (int i = 0; i < ATTN_FMA_CHAINS; i++) {
      acc[i] = acc[i] * a + b;
      ATTN_KEEP(acc[i]);
    }
  vf total = splat(0);
  for (int i = 0; i < ATTN_FMA_CHAINS; i++) total += acc[i];
  return sum_lanes(total);
}

static float read_floats(const float *x, int64_t count) {
  // Integer adds: memory-bound without the latency of a floating-point chain.
  vi sum[8] = {};
  int64_t j = 0;
  for (; j + 8 * ATTN_W <= count; j += 8 * ATTN_W)
#pragma clang loop unroll(full)
    for (int u = 0; u < 8; u++) sum[u] += load_int((const int32_t *)(x + j + u * ATTN_W));
  vi total = (sum[0] + sum[1]) + (sum[2] + sum[3]) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  uint32_t bits = 0;
  for (int i = 0; i < ATTN_W; i++) bits += (uint32_t)total[i];
  for (; j < count; j++) {
    uint32_t word;
    __builtin_memcpy(&word, x + j, sizeof word);
    bits += word;
  }
  return (float)bits;
}

const attn_kernels ATTN_PASTE(attn_kernels_, ATTN_NAME) = {
    .name = ATTN_STRING(ATTN_NAME),
    .vector_lanes = ATTN_W,
    .panel_lanes = ATTN_L,
    .tile_keys = ATTN_TILE,
    .pack = pack,
    .unpack = unpack,
    .prefetch = prefetch,
    .gather = gather,
    .attend = attend,
    .attend_masked = attend_masked,
    .dots = dots,
    .accumulate = accumulate,
    .accumulate_masked = accumulate_masked,
    .softmax_row = softmax_row,
    .scale_row = scale_row,
    .elu_plus_one = elu_plus_one,
    .fma_rounds = fma_rounds,
    .fma_flops_per_round = 2 * ATTN_W * ATTN_FMA_CHAINS,
    .read_floats = read_floats,
};
