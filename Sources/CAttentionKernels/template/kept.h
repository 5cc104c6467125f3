// Online softmax of many query rows over a stretch of keys of which each row keeps some of its own
// (Milakov & Gimelshein 2018).
//
// A row's own keys fill no lanes: vectors run along the columns, as in decoding. What is gained is where
// operands come from. A stretch lies in the first-level cache while the rows visit it, first its keys, then
// its values, and the rows, in the second-level cache, are read once for all that they keep of it. Every pass
// over the visits does one thing, so that products of one visit overlap with those of the next.

/// Vectors of columns that a row holds in registers.
#if ATTN_VECTORS == 3
#define ATTN_KEPT_VECTORS 8
#else
#define ATTN_KEPT_VECTORS 4
#endif
/// Pairs whose products wait until their lanes are added up, but for the visit that reaches the number.
#define ATTN_KEPT_PENDING 64
#define ATTN_KEPT_SUMS (ATTN_KEPT_PENDING + ATTN_STRETCH_KEYS + ATTN_W)

/// Calls `f` for blocks of columns: the most vectors that registers hold, then half as many, ... The rest of
/// its arguments are the column and the number of vectors, a constant.
#define ATTN_FOR_COLUMNS(columns, f, ...)                                                  \
  do {                                                                                     \
    int32_t column = 0;                                                                    \
    for (; column + ATTN_KEPT_VECTORS * ATTN_W <= (columns); column += ATTN_KEPT_VECTORS * ATTN_W) \
      f(__VA_ARGS__, column, ATTN_KEPT_VECTORS);                                           \
    if (ATTN_KEPT_VECTORS > 4 && column + 4 * ATTN_W <= (columns)) {                       \
      f(__VA_ARGS__, column, 4);                                                           \
      column += 4 * ATTN_W;                                                                \
    }                                                                                      \
    if (column + 2 * ATTN_W <= (columns)) {                                                \
      f(__VA_ARGS__, column, 2);                                                           \
      column += 2 * ATTN_W;                                                                \
    }                                                                                      \
    if (column < (columns)) f(__VA_ARGS__, column, 1);                                     \
  } while (0)

/// Products of some columns, a vector of sums a pair and head; those of the columns before are added.
ATTN_INLINE void kept_products(const attn_kept_rows *all, const attn_stretch *stretch, int32_t visit,
                               int32_t end, const uint8_t *places,
                               float (*sums)[ATTN_KEPT_HEADS][ATTN_W], const int heads, int32_t column,
                               const int vectors) {
  const ptrdiff_t stride = all->key_columns;
  for (; visit < end; visit++) {
    const float *row = all->queries + stretch->visits[visit].row * stride + column;
    const int32_t count = stretch->visits[visit].count;
    vf query[ATTN_KEPT_HEADS][ATTN_KEPT_VECTORS];
#pragma clang loop unroll(full)
    for (int h = 0; h < heads; h++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++)
        query[h][v] = load(row + h * all->head_rows * stride + v * ATTN_W);
    for (int32_t t = 0; t < count; t++) {
      // Opaque, since an operand whose address has an index is an instruction of its own.
      const float *key = opaque(stretch->keys + places[t] * stride + column);
      vf sum[ATTN_KEPT_HEADS];
#pragma clang loop unroll(full)
      for (int h = 0; h < heads; h++) sum[h] = column ? load(sums[t][h]) : splat(0);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        const vf x = load(key + v * ATTN_W);
#pragma clang loop unroll(full)
        for (int h = 0; h < heads; h++) sum[h] += query[h][v] * x;
      }
#pragma clang loop unroll(full)
      for (int h = 0; h < heads; h++) store(sums[t][h], sum[h]);
    }
    places += count;
    sums += count;
  }
}

/// Scores of all pairs, in the order of the visits.
ATTN_INLINE void score_kept(const attn_kept_rows *all, const attn_stretch *stretch, const int heads) {
  _Alignas(64) float sums[ATTN_KEPT_SUMS][ATTN_KEPT_HEADS][ATTN_W];
  const uint8_t *places = stretch->places;
  float *scores = all->scores;
  for (int32_t first = 0, end; first < stretch->visit_count; first = end) {
    int32_t pairs = 0;
    for (end = first; end < stretch->visit_count && pairs < ATTN_KEPT_PENDING; end++)
      pairs += stretch->visits[end].count;
    ATTN_FOR_COLUMNS(all->key_columns, kept_products, all, stretch, first, end, places, sums, heads);
    for (int32_t t = 0; t < pairs; t += ATTN_W)
#pragma clang loop unroll(full)
      for (int h = 0; h < heads; h++) {
        vf x[ATTN_W];
#pragma clang loop unroll(full)
        for (int i = 0; i < ATTN_W; i++) x[i] = load(sums[t + i][h]);
        store(scores + h * all->head_pairs + t, fold(x));
      }
    places += pairs;
    scores += pairs;
  }
}

/// Turns the scores of a visit into weights 16^(score - reference), which may write a vector beyond them.
/// Returns their sum by lanes.
///
/// The reference trails the maximum, as in panels: it moves only when a score exceeds it by more than
/// ATTN_LAG. `factor` is what brings the row's sum and output to where it is then.
ATTN_INLINE vf weigh_visit(float *maximum, const float *scores, float *weights, int32_t count,
                           float *factor) {
  vi place;
  for (int i = 0; i < ATTN_W; i++) place[i] = i;
  vf peak = splat(-INFINITY);
  for (int32_t t = 0; t < count; t += ATTN_W) {
    const vf x = place + t < splat_int(count) ? load(scores + t) : splat(-INFINITY);
    peak = larger(x, peak);
  }
  *factor = 1;
  if (__builtin_expect(any(peak > splat(*maximum + ATTN_LAG)), 0)) {
    const float top = max_lanes(peak);
    *factor = exp16_vector(splat(*maximum - top))[0];
    *maximum = top;
  }
  const vf reference = splat(*maximum == -INFINITY ? 0 : *maximum);
  vf sum = splat(0);
  for (int32_t t = 0; t < count; t += ATTN_W) {
    const vf p = exp16_vector(load(scores + t) - reference);
    store(weights + t, p);
    sum += place + t < splat_int(count) ? p : splat(0);
  }
  return sum;
}

/// Weights of all pairs, and the rows' maxima and sums. Weights do not take the place of scores: a visit would
/// wait for the stores of the one before.
static void weigh_kept(const attn_kept_rows *all, const attn_stretch *stretch, int32_t head) {
  const float *scores = all->scores + head * all->head_pairs;
  float *weights = all->weights + head * all->head_pairs;
  float *maxima = all->maxima + head * all->head_rows, *row_sums = all->sums + head * all->head_rows;
  for (int32_t first = 0; first < stretch->visit_count; first += ATTN_W) {
    const attn_visit *visits = stretch->visits + first;
    const int32_t left = stretch->visit_count - first, count = left < ATTN_W ? left : ATTN_W;
    float *factors = all->factors + head * all->head_rows + first, total[ATTN_W];
    vf sums[ATTN_W];
    for (int32_t i = 0; i < ATTN_W; i++) {
      sums[i] = splat(0);
      if (i >= count) continue;
      sums[i] =
          weigh_visit(maxima + visits[i].row, scores, weights, visits[i].count, factors + i);
      scores += visits[i].count;
      weights += visits[i].count;
    }
    store(total, fold(sums));
    for (int32_t i = 0; i < count; i++) {
      float *sum = row_sums + visits[i].row;
      *sum = *sum * factors[i] + total[i];
    }
  }
}

/// Some columns of the outputs of all visits. A visit is summed from zero and then added: rounding errors
/// grow with the number of stretches, not of keys.
ATTN_INLINE void add_kept_columns(const attn_kept_rows *all, const attn_stretch *stretch,
                                  const int heads, int32_t column, const int vectors) {
  const ptrdiff_t stride = all->value_columns;
  const uint8_t *places = stretch->places;
  const float *weights = all->weights;
  for (int32_t visit = 0; visit < stretch->visit_count; visit++) {
    const int32_t count = stretch->visits[visit].count;
    float *row = all->output + stretch->visits[visit].row * stride + column;
    // One a visit: there are about as many of them as there are lines.
    prefetch_line(stretch->prefetch);
    vf sum[ATTN_KEPT_HEADS][ATTN_KEPT_VECTORS];
#pragma clang loop unroll(full)
    for (int h = 0; h < heads; h++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[h][v] = splat(0);
    for (int32_t t = 0; t < count; t++) {
      const float *value = opaque(stretch->values + places[t] * stride + column);
      vf weight[ATTN_KEPT_HEADS];
#pragma clang loop unroll(full)
      for (int h = 0; h < heads; h++) weight[h] = splat(weights[h * all->head_pairs + t]);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        const vf x = load(value + v * ATTN_W);
#pragma clang loop unroll(full)
        for (int h = 0; h < heads; h++) sum[h][v] += weight[h] * x;
      }
    }
#pragma clang loop unroll(full)
    for (int h = 0; h < heads; h++) {
      const vf factor = splat(all->factors[h * all->head_rows + visit]);
      float *out = row + h * all->head_rows * stride;
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++)
        store(out + v * ATTN_W, load(out + v * ATTN_W) * factor + sum[h][v]);
    }
    places += count;
    weights += count;
  }
}

ATTN_INLINE void attend_heads(const attn_kept_rows *all, const attn_stretch *stretch, const int heads) {
  score_kept(all, stretch, heads);
  if (all->softcap > 0) {
    int32_t pairs = 0;
    for (int32_t visit = 0; visit < stretch->visit_count; visit++) pairs += stretch->visits[visit].count;
    for (int32_t head = 0; head < heads; head++)
      soften(all->scores + head * all->head_pairs, (pairs + ATTN_W - 1) / ATTN_W, all->softcap);
  }
  for (int32_t head = 0; head < heads; head++) weigh_kept(all, stretch, head);
  ATTN_FOR_COLUMNS(all->value_columns, add_kept_columns, all, stretch, heads);
}

static void attend_kept(const attn_kept_rows *all, const attn_stretch *stretch) {
  if (all->heads == 1)
    attend_heads(all, stretch, 1);
  else
    attend_heads(all, stretch, ATTN_KEPT_HEADS);
}

/// How many of a row's keys are before `end`, from where it has come to.
ATTN_INLINE int32_t keys_before(const int32_t *keys, int32_t end) {
  int32_t count = 0, found;
  do {
    found = -__builtin_reduce_add((vi)(load_int(keys + count) < splat_int(end)));
    count += found;
  } while (found == ATTN_W);
  return count;
}

static int32_t find_visits(const attn_kept_lists *lists, int32_t first, int32_t end,
                           attn_visit *visits, uint8_t *places, int64_t *pairs) {
  // Rows that keep equally many come one after the other, so that loops over what they keep are foreseen.
  int32_t begin[ATTN_STRETCH_KEYS + 2] = {0};
  for (int32_t row = 0; row < lists->count; row++) {
    const int32_t count =
        keys_before(lists->keys + row * lists->stride + lists->cursors[row], end);
    lists->found[row] = count;
    begin[count + 1]++;
  }
  // Rows that keep none make no visit.
  const int32_t none = begin[1];
  begin[1] = 0;
  for (int32_t count = 1; count <= ATTN_STRETCH_KEYS; count++) begin[count + 1] += begin[count];
  for (int32_t row = 0; row < lists->count; row++) {
    const int32_t count = lists->found[row];
    if (count == 0) continue;
    visits[begin[count]++] = (attn_visit){(uint16_t)row, (uint16_t)count};
  }
  const int32_t visit_count = lists->count - none;
  uint8_t *out = places;
  for (int32_t visit = 0; visit < visit_count; visit++) {
    const int32_t row = visits[visit].row, count = visits[visit].count;
    const int32_t *keys = lists->keys + row * lists->stride + lists->cursors[row];
    for (int32_t t = 0; t < count; t += ATTN_W) {
      const vb bytes = __builtin_convertvector(load_int(keys + t) - first, vb);
      *(vb_unaligned *)(out + t) = bytes;
    }
    out += count;
    lists->cursors[row] += count;
  }
  *pairs = out - places;
  return visit_count;
}
