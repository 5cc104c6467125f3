// Products of the chunks of a recurrence: small matrices, value columns in lanes.

/// Prefetches a few lines of what is read next. Called between products, so that memory works while they do:
/// asked for all at once, lines wait for each other and products for them.
ATTN_INLINE void prefetch_ahead(attn_ahead *ahead) {
  if (!ahead) return;
  for (int32_t i = 0; i < ahead->lines && ahead->place < ahead->count; i++) {
    const attn_row_stretch *stretch = ahead->stretches + ahead->place;
    __builtin_prefetch((const char *)stretch->start + ahead->row * stretch->stride + ahead->offset, 0, 2);
    ahead->offset += ATTN_LINE_BYTES;
    if (ahead->offset < stretch->bytes) continue;
    ahead->offset = 0;
    if (++ahead->row < stretch->rows) continue;
    ahead->row = 0;
    ahead->place++;
  }
}

/// Columns of a product between which lines are prefetched.
enum { columns_ahead = 32 };

/// Rows of a matrix product: out[r] = sum over c of left[r][c] right[c].
typedef struct product_rows {
  const float *left;
  ptrdiff_t left_stride;
  const float *right;
  ptrdiff_t right_stride;
} product_rows;

/// acc[r] += sum over the columns before `common` of left[first + r][c] right[c].
ATTN_INLINE void tile_columns(const product_rows *p, ptrdiff_t first, ptrdiff_t common,
                              attn_ahead *ahead, const int rows, const int vectors,
                              vf (*acc)[ATTN_VECTORS]) {
  const float *left[ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) left[r] = p->left + (first + r) * p->left_stride;
  for (ptrdiff_t c = 0; c < common;) {
    ptrdiff_t end = common;
    if (ahead) {
      prefetch_ahead(ahead);
      if (c + columns_ahead < common) end = c + columns_ahead;
    }
    for (; c < end; c++) {
      vf right[ATTN_VECTORS];
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) right[v] = load(p->right + c * p->right_stride + v * ATTN_W);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf x = broadcast(left[r] + c);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) acc[r][v] += x * right[v];
      }
    }
  }
}

/// The columns of a triangle from a tile's first row on: row r has those before its own place and, unless
/// equations are being solved, its own; what is to the right of them is not read.
ATTN_INLINE void tile_triangle(const product_rows *p, ptrdiff_t first, attn_triangle triangle,
                               const int rows, const int vectors, vf (*acc)[ATTN_VECTORS]) {
  const float *left[ATTN_TILE];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) left[r] = p->left + (first + r) * p->left_stride + first;
  if (triangle == ATTN_LOWER) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int s = 0; s <= r; s++) {
        const vf x = broadcast(left[r] + s);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
          acc[r][v] += x * load(p->right + (first + s) * p->right_stride + v * ATTN_W);
      }
  } else if (triangle == ATTN_SOLVE) {
#pragma clang loop unroll(full)
    for (int r = 1; r < rows; r++)
#pragma clang loop unroll(full)
      for (int s = 0; s < r; s++) {
        const vf x = broadcast(left[r] + s);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) acc[r][v] += x * acc[s][v];
      }
  }
}

ATTN_INLINE void tile_begin(const float *out, ptrdiff_t stride, const int add, const int rows,
                            const int vectors, vf (*acc)[ATTN_VECTORS]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = add ? load(out + r * stride + v * ATTN_W) : splat(0);
}

ATTN_INLINE void tile_end(float *out, ptrdiff_t stride, const int rows, const int vectors,
                          vf (*acc)[ATTN_VECTORS]) {
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) store(out + r * stride + v * ATTN_W, acc[r][v]);
}

ATTN_INLINE void product_vectors(const product_rows *p, int32_t count, int32_t depth,
                                 attn_triangle triangle, int add, float *out, ptrdiff_t out_stride,
                                 const int vectors) {
  ptrdiff_t first = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; first + rows <= count; first += rows) {
      vf acc[ATTN_TILE][ATTN_VECTORS];
      tile_begin(out + first * out_stride, out_stride, add, rows, vectors, acc);
      tile_columns(p, first, triangle == ATTN_RECTANGLE ? depth : first, NULL, rows, vectors, acc);
      tile_triangle(p, first, triangle, rows, vectors, acc);
      tile_end(out + first * out_stride, out_stride, rows, vectors, acc);
    }
}

static void product(const float *left, int64_t left_stride, int32_t count, int32_t depth,
                    const float *right, int64_t right_stride, int32_t vectors,
                    attn_triangle triangle, int32_t add, float *out, int64_t out_stride) {
  const product_rows rows = {left, left_stride, right, right_stride};
  ATTN_FOR_VECTORS(vectors, product_vectors, &rows, count, depth, triangle, add, out, out_stride)
}

ATTN_INLINE void chunk_vectors(const attn_chunk_rows *p, const float *state, const float *written,
                               float *out, attn_ahead *ahead, const int vectors) {
  const product_rows before = {p->rows, p->row_stride, state, vectors * ATTN_W};
  const product_rows within = {p->square, p->square_stride, written, p->written_stride};
  ptrdiff_t first = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; first + rows <= p->count; first += rows) {
      float *place = out + first * p->out_stride;
      vf acc[ATTN_TILE][ATTN_VECTORS];
      tile_begin(place, p->out_stride, p->triangle == ATTN_SOLVE, rows, vectors, acc);
      tile_columns(&before, first, p->columns, ahead, rows, vectors, acc);
      if (p->triangle != ATTN_RECTANGLE) {
        tile_columns(&within, first, first, ahead, rows, vectors, acc);
        tile_triangle(&within, first, p->triangle, rows, vectors, acc);
      }
      tile_end(place, p->out_stride, rows, vectors, acc);
    }
}

static void chunk_rows(const attn_chunk_rows *rows, const float *state, const float *written,
                       int32_t vectors, attn_ahead *ahead, float *out) {
  ATTN_FOR_VECTORS(vectors, chunk_vectors, rows, state, written, out, ahead)
}

/// `rows` rows of a state: out[c] = keep[c] out[c] + sum over t of left[t][c] right[t].
ATTN_INLINE void state_tile(const float *left, ptrdiff_t left_stride, const float *right,
                            ptrdiff_t right_stride, int32_t count, const float *keep,
                            attn_ahead *ahead, float *out, const int rows, const int vectors) {
  const ptrdiff_t width = vectors * ATTN_W;
  vf acc[ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  for (ptrdiff_t t = 0; t < count;) {
    prefetch_ahead(ahead);
    const ptrdiff_t end = t + columns_ahead < count ? t + columns_ahead : count;
    for (; t < end; t++) {
      vf x[ATTN_VECTORS];
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) x[v] = load(right + t * right_stride + v * ATTN_W);
#pragma clang loop unroll(full)
      for (int r = 0; r < rows; r++) {
        const vf k = broadcast(left + t * left_stride + r);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) acc[r][v] += k * x[v];
      }
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    const vf kept = keep ? broadcast(keep + r) : splat(1);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      float *place = out + r * width + v * ATTN_W;
      store(place, kept * load(place) + acc[r][v]);
    }
  }
}

ATTN_INLINE void state_vectors(const float *left, int64_t left_stride, const float *right,
                               int64_t right_stride, int32_t count, int32_t columns,
                               const float *keep, attn_ahead *ahead, float *state,
                               const int vectors) {
  ptrdiff_t c = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; c + rows <= columns; c += rows)
      state_tile(left + c, left_stride, right, right_stride, count, keep ? keep + c : NULL, ahead,
                 state + c * vectors * ATTN_W, rows, vectors);
}

static void take_in(const float *left, int64_t left_stride, const float *right,
                    int64_t right_stride, int32_t count, int32_t columns, int32_t vectors,
                    const float *keep, attn_ahead *ahead, float *state) {
  ATTN_FOR_VECTORS(vectors, state_vectors, left, left_stride, right, right_stride, count, columns,
                   keep, ahead, state)
}

static void transpose_rows(const float *rows, int64_t stride, int32_t count, int32_t columns,
                           float *out) {
  for (ptrdiff_t lane = 0; lane < count; lane += ATTN_W)
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
      vf r[ATTN_W];
      for (int i = 0; i < ATTN_W; i++)
        r[i] = lane + i < count ? load(rows + (lane + i) * stride + c) : splat(0);
      transpose(r);
      for (int i = 0; i < ATTN_W; i++) store(out + (c + i) * ATTN_L + lane, r[i]);
    }
}

static void kept_between(const float *factors, int64_t factor_stride, int32_t count,
                         int64_t stride, float *out) {
  for (ptrdiff_t t = 0; t < count; t++) {
    float *row = out + t * stride;
    const vf factor = splat(factors[t * factor_stride]);
    for (ptrdiff_t s = 0; s < t; s += ATTN_W) store(row + s, load(row - stride + s) * factor);
    for (ptrdiff_t s = t; s < t + ATTN_W && s < stride; s++) row[s] = 1;
  }
}

static void add_lower_sums(const float *rows, int64_t stride, int32_t count, float *out) {
  vf place;
  for (int i = 0; i < ATTN_W; i++) place[i] = (float)i;
  for (ptrdiff_t r = 0; r < count; r++) {
    const float *row = rows + r * stride;
    vf sum = splat(0);
    ptrdiff_t c = 0;
    for (; c + ATTN_W <= r + 1; c += ATTN_W) sum += load(row + c);
    if (c <= r) {
      const vf last = load(row + c);
      sum += place <= splat((float)(r - c)) ? last : splat(0);
    }
    out[r] += sum_lanes(sum);
  }
}

static void add_rows(const float *rows, int64_t stride, int32_t count, int32_t columns,
                     float *out, float *lost) {
  for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
    vf added = splat(0);
    for (ptrdiff_t r = 0; r < count; r++) added += load(rows + r * stride + c);
    const vf before = load(out + c);
    if (lost) added -= load(lost + c);
    const vf sum = before + added;
    if (lost) store(lost + c, (sum - before) - added);
    store(out + c, sum);
  }
}

/// Four vectors of a row's columns at most: they stay in registers from key to key.
ATTN_INLINE void decayed_columns(const float *row, const float *keys, const float *decays,
                                 ptrdiff_t stride, ptrdiff_t place, float factor, float *partial,
                                 const int add, const int vectors) {
  vf x[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) x[v] = load(row + v * ATTN_W) * splat(factor);
  for (ptrdiff_t s = place;; s--) {
    const float *key = keys + s * stride, *decay = decays + s * stride;
    vf sum = add ? load(partial + s * ATTN_W) : splat(0);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum += x[v] * load(key + v * ATTN_W);
    store(partial + s * ATTN_W, sum);
    if (s == 0) return;
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) x[v] *= load(decay + v * ATTN_W);
  }
}

/// The sums of W vectors, one a lane: log2(W) rounds of interleaving vector i with vector i + W/2.
ATTN_INLINE vf sums_of_vectors(const float *vectors) {
  vf r[ATTN_W];
#pragma clang loop unroll(full)
  for (int i = 0; i < ATTN_W; i++) r[i] = load(vectors + i * ATTN_W);
#pragma clang loop unroll(full)
  for (int half = ATTN_W / 2; half >= 1; half /= 2)
#pragma clang loop unroll(full)
    for (int i = 0; i < half; i++)
      r[i] = ATTN_ZIP_LOW(r[i], r[i + half]) + ATTN_ZIP_HIGH(r[i], r[i + half]);
  return r[0];
}

static void decayed_dots(const float *rows, const float *keys, const float *decays, int64_t stride,
                         int32_t columns, int32_t count, float factor, float *scratch, float *out,
                         int64_t out_stride) {
  // Of row t the vectors from t (t + 1) / 2 on.
  for (ptrdiff_t t = 0; t < count; t++) {
    float *partial = scratch + t * (t + 1) / 2 * ATTN_W;
    const float *row = rows + t * stride;
    ptrdiff_t c = 0;
    for (; c + 4 * ATTN_W <= columns; c += 4 * ATTN_W)
      decayed_columns(row + c, keys + c, decays + c, stride, t, factor, partial, c > 0, 4);
    for (; c < columns; c += ATTN_W)
      decayed_columns(row + c, keys + c, decays + c, stride, t, factor, partial, c > 0, 1);
  }
  float sums[ATTN_DECAYED_VECTORS + ATTN_W];
  for (ptrdiff_t i = 0; i < count * (count + 1) / 2; i += ATTN_W)
    store(sums + i, sums_of_vectors(scratch + i * ATTN_W));
  for (ptrdiff_t t = 0; t < count; t++)
    for (ptrdiff_t s = 0; s <= t; s += ATTN_W)
      store(out + t * out_stride + s, load(sums + t * (t + 1) / 2 + s));
}

static void keep_keys(const float *keys, const float *decays, const float *over, int64_t stride,
                      int32_t columns, int32_t first, int32_t count, float *kept) {
  for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
    const vf whole = load(over + c);
    for (ptrdiff_t s = 0; s < first; s++)
      store(kept + s * stride + c, load(kept + s * stride + c) * whole);
    vf after = splat(1);
    for (ptrdiff_t s = first + count - 1; s >= first; s--) {
      store(kept + s * stride + c, load(keys + s * stride + c) * after);
      after *= load(decays + s * stride + c);
    }
  }
}

/// Dot products of rows with one vector, whose columns are padded with zeros to whole vectors.
static void dot_rows(const float *rows, int64_t stride, int32_t count, int32_t columns,
                     const float *x, float *out) {
  for (ptrdiff_t r = 0; r < count; r++) {
    vf sum[2] = {splat(0), splat(0)};
    ptrdiff_t c = 0;
    for (; c + 2 * ATTN_W <= columns; c += 2 * ATTN_W) {
      sum[0] += load(rows + r * stride + c) * load(x + c);
      sum[1] += load(rows + r * stride + c + ATTN_W) * load(x + c + ATTN_W);
    }
    if (c < columns) sum[0] += load(rows + r * stride + c) * load(x + c);
    out[r] = sum_lanes(sum[0] + sum[1]);
  }
}

static void multiply_rows(const float *rows, int64_t stride, int32_t count, int32_t columns,
                          const float *factors, int64_t factor_stride, float factor, float *out) {
  for (ptrdiff_t r = 0; r < count; r++)
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W)
      store(out + r * stride + c,
            load(rows + r * stride + c) * load(factors + r * factor_stride + c) * splat(factor));
}

static void scale_rows(const float *rows, int64_t stride, int32_t count, int32_t columns,
                       const float *factors, int64_t factor_stride, float factor, float *out) {
  for (ptrdiff_t r = 0; r < count; r++) {
    const vf own = splat(factors[r * factor_stride] * factor);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W)
      store(out + r * stride + c, load(rows + r * stride + c) * own);
  }
}

static void unit_rows(float *rows, int64_t stride, int32_t count, int32_t columns, float epsilon) {
  for (ptrdiff_t r = 0; r < count; r++) {
    float *row = rows + r * stride;
    vf sum = splat(0);
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) sum += load(row + c) * load(row + c);
    const vf factor = splat(1 / sqrtf(sum_lanes(sum) + epsilon));
    for (ptrdiff_t c = 0; c < columns; c += ATTN_W) store(row + c, load(row + c) * factor);
  }
}

/// exp(x) to 1 ulp for x <= 0; 0 from about -87.3 down; NaN stays NaN. Cody and Waite's reduction, then
/// the Taylor polynomial, whose remainder at ln(2) / 2 is 1e-8 of the result.
ATTN_INLINE vf exp_vector(vf x) {
  const vf magic = splat(12582912.0f);
  const vf kept = larger(splat(-88.0f), x);
  const vf shifted = kept * splat(1.44269504f) + magic;
  const vf n = shifted - magic;
  vf r = n * splat(-0.693359375f) + kept;
  r = n * splat(2.12194440e-4f) + r;
  vf p = splat(1.0f / 5040);
  p = p * r + splat(1.0f / 720);
  p = p * r + splat(1.0f / 120);
  p = p * r + splat(1.0f / 24);
  p = p * r + splat(1.0f / 6);
  p = p * r + splat(0.5f);
  p = p * r * r + r + splat(1);
  const vf power = (vf)(((vi)shifted + (127 - 0x4b400000)) << 23);
  const vf result = p * power;
  // -126 is the least exponent: what is below counts as 0, as denormals do while a team computes.
  const vf small = x < splat(-87.33f) ? splat(0) : result;
  return x == x ? small : x;
}

static void exp_row(const float *x, int64_t count, float *out) {
  for (int64_t j = 0; j < count; j += ATTN_W) store(out + j, exp_vector(load(x + j)));
}

static void channel_decays(float *decays, int64_t stride, int32_t count, int32_t columns,
                           int32_t block, float *kept) {
  for (ptrdiff_t c = 0; c < columns; c += ATTN_W)
    for (ptrdiff_t first = 0; first < count; first += block) {
      vf in_block = splat(1);
      for (ptrdiff_t t = first; t < first + block && t < count; t++) {
        const vf own = exp_vector(load(decays + t * stride + c));
        in_block *= own;
        store(decays + t * stride + c, own);
        store(kept + t * stride + c, in_block);
      }
    }
}

/// One token of a recurrence: some lanes of its state.
ATTN_INLINE void step_vectors(const attn_step *step, const attn_step_state *state,
                              const float *value, float *out, ptrdiff_t out_stride,
                              const int vectors) {
  const ptrdiff_t d = step->columns;
  const float *const before = state->before;
  float *const after = state->after;
  const ptrdiff_t stride = state->before_stride, after_stride = state->after_stride;
  vf written[ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) written[v] = load(value + v * ATTN_W);
  if (step->erase) {
    vf sum[4][ATTN_VECTORS];
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[u][v] = splat(0);
    ptrdiff_t c = 0;
    for (; c + 4 <= d; c += 4)
#pragma clang loop unroll(full)
      for (int u = 0; u < 4; u++) {
        const vf x = splat(step->erase[c + u]);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) sum[u][v] += x * load(before + (c + u) * stride + v * ATTN_W);
      }
    for (; c < d; c++) {
      const vf x = splat(step->erase[c]);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[0][v] += x * load(before + c * stride + v * ATTN_W);
    }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      written[v] -= (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]);
  }
  // The first query head's sums are taken while the state is written; others read it once more.
  vf sum[4][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int u = 0; u < 4; u++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) sum[u][v] = splat(0);
  for (ptrdiff_t c = 0; c < d; c += 4)
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++) {
      if (c + u >= d) break;
      const vf kept = splat(step->keep[c + u]), k = splat(step->key[c + u]),
               q = splat(step->queries[c + u]);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) {
        const ptrdiff_t place = (c + u) * stride + v * ATTN_W;
        // Erasing reads the lanes twice, the second time from the nearest cache: the next ones come meanwhile.
        if (step->erase) __builtin_prefetch(state->next + place, 1, 3);
        const vf s = kept * load(before + place) + k * written[v];
        store(after + (c + u) * after_stride + v * ATTN_W, s);
        sum[u][v] += q * s;
      }
    }
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++)
    store(out + v * ATTN_W, (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]));
  for (int32_t head = 1; head < step->heads; head++) {
    const float *query = step->queries + head * step->query_stride;
#pragma clang loop unroll(full)
    for (int u = 0; u < 4; u++)
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[u][v] = splat(0);
    for (ptrdiff_t c = 0; c < d; c += 4)
#pragma clang loop unroll(full)
      for (int u = 0; u < 4; u++) {
        if (c + u >= d) break;
        const vf q = splat(query[c + u]);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
          sum[u][v] += q * load(after + (c + u) * after_stride + v * ATTN_W);
      }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      store(out + head * out_stride + v * ATTN_W,
            (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]));
  }
}

static void step(const attn_step *token, const attn_step_state *state, int32_t vectors,
                 const float *value, float *out, int64_t out_stride) {
  ATTN_FOR_VECTORS(vectors, step_vectors, token, state, value, out, out_stride)
}
