// Products of the chunks of a recurrence: small matrices, value columns in lanes.

/// Rows of a matrix product: out[r] = sum over c of left[r][c] right[c].
typedef struct product_rows {
  const float *left;
  ptrdiff_t left_stride;
  const float *right;
  ptrdiff_t right_stride;
  float *out;
  ptrdiff_t out_stride;
} product_rows;

/// A tile of `rows` rows beginning at `first`. The columns before `common` count for all of them. In a
/// triangle those from `first` on follow: row r has those before its own place and, unless the equations
/// are being solved, its own; what is to the right of them is not read.
ATTN_INLINE void product_tile(const product_rows *p, ptrdiff_t first, ptrdiff_t common,
                              const attn_triangle triangle, const int add, const int rows,
                              const int vectors) {
  const float *left[ATTN_TILE];
  vf acc[ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++) {
    left[r] = p->left + (first + r) * p->left_stride;
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      acc[r][v] = add ? load(p->out + (first + r) * p->out_stride + v * ATTN_W) : splat(0);
  }
  for (ptrdiff_t c = 0; c < common; c++) {
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
  if (triangle == ATTN_LOWER) {
#pragma clang loop unroll(full)
    for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
      for (int s = 0; s <= r; s++) {
        const vf x = broadcast(left[r] + first + s);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++)
          acc[r][v] += x * load(p->right + (first + s) * p->right_stride + v * ATTN_W);
      }
  } else if (triangle == ATTN_SOLVE) {
#pragma clang loop unroll(full)
    for (int r = 1; r < rows; r++)
#pragma clang loop unroll(full)
      for (int s = 0; s < r; s++) {
        const vf x = broadcast(left[r] + first + s);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) acc[r][v] += x * acc[s][v];
      }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      store(p->out + (first + r) * p->out_stride + v * ATTN_W, acc[r][v]);
}

ATTN_INLINE void product_vectors(const product_rows *p, int32_t count, int32_t depth,
                                 attn_triangle triangle, int add, const int vectors) {
  ptrdiff_t first = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; first + rows <= count; first += rows)
      product_tile(p, first, triangle == ATTN_RECTANGLE ? depth : first, triangle, add, rows,
                   vectors);
}

static void product(const float *left, int64_t left_stride, int32_t count, int32_t depth,
                    const float *right, int64_t right_stride, int32_t vectors,
                    attn_triangle triangle, int32_t add, float *out, int64_t out_stride) {
  const product_rows rows = {left, left_stride, right, right_stride, out, out_stride};
  ATTN_FOR_VECTORS(vectors, product_vectors, &rows, count, depth, triangle, add)
}

/// `rows` rows of a state: out[c] = keep[c] out[c] + sum over t of left[t][c] right[t].
ATTN_INLINE void state_tile(const float *left, ptrdiff_t left_stride, const float *right,
                            ptrdiff_t right_stride, int32_t count, const float *keep, float *out,
                            const int rows, const int vectors) {
  const ptrdiff_t width = vectors * ATTN_W;
  vf acc[ATTN_TILE][ATTN_VECTORS];
#pragma clang loop unroll(full)
  for (int r = 0; r < rows; r++)
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) acc[r][v] = splat(0);
  for (ptrdiff_t t = 0; t < count; t++) {
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
                               const float *keep, float *state, const int vectors) {
  ptrdiff_t c = 0;
  const int sizes[3] = {ATTN_TILE, ATTN_TILE / 2, 1};
#pragma clang loop unroll(full)
  for (int i = 0; i < 3; i++)
    for (const int rows = sizes[i]; c + rows <= columns; c += rows)
      state_tile(left + c, left_stride, right, right_stride, count, keep ? keep + c : NULL,
                 state + c * vectors * ATTN_W, rows, vectors);
}

static void take_in(const float *left, int64_t left_stride, const float *right,
                    int64_t right_stride, int32_t count, int32_t columns, int32_t vectors,
                    const float *keep, float *state) {
  ATTN_FOR_VECTORS(vectors, state_vectors, left, left_stride, right, right_stride, count, columns,
                   keep, state)
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
                     float *out) {
  for (ptrdiff_t c = 0; c < columns; c += ATTN_W) {
    vf sum = load(out + c);
    for (ptrdiff_t r = 0; r < count; r++) sum += load(rows + r * stride + c);
    store(out + c, sum);
  }
}

/// Four vectors of a row's columns at most: they stay in registers from key to key.
ATTN_INLINE void decayed_columns(const float *row, const float *keys, const float *decays,
                                 ptrdiff_t stride, ptrdiff_t place, float *partial, const int add,
                                 const int vectors) {
  vf x[4];
#pragma clang loop unroll(full)
  for (int v = 0; v < vectors; v++) x[v] = load(row + v * ATTN_W);
  for (ptrdiff_t s = place; s >= 0; s--) {
    const float *key = keys + s * stride, *decay = decays + s * stride;
    vf sum = add ? load(partial + s * ATTN_W) : splat(0);
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++) {
      sum += x[v] * load(key + v * ATTN_W);
      x[v] *= load(decay + v * ATTN_W);
    }
    store(partial + s * ATTN_W, sum);
  }
}

static void decayed_dots(const float *row, const float *keys, const float *decays, int64_t stride,
                         int32_t columns, int32_t place, float *scratch, float *out) {
  ptrdiff_t c = 0;
  for (; c + 4 * ATTN_W <= columns; c += 4 * ATTN_W)
    decayed_columns(row + c, keys + c, decays + c, stride, place, scratch, c > 0, 4);
  for (; c < columns; c += ATTN_W)
    decayed_columns(row + c, keys + c, decays + c, stride, place, scratch, c > 0, 1);
  for (ptrdiff_t s = 0; s <= place; s++) out[s] = sum_lanes(load(scratch + s * ATTN_W));
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

static void multiply(const float *a, const float *b, float factor, int64_t count, float *out) {
  for (int64_t j = 0; j < count; j += ATTN_W)
    store(out + j, load(a + j) * load(b + j) * splat(factor));
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

/// One token of a recurrence: some lanes of its state.
ATTN_INLINE void step_vectors(const attn_step *step, float *state, const float *value, float *out,
                              ptrdiff_t out_stride, const int vectors) {
  const ptrdiff_t width = vectors * ATTN_W, d = step->columns;
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
        const vf x = splat(step->keep[c + u] * step->erase[c + u]);
#pragma clang loop unroll(full)
        for (int v = 0; v < vectors; v++) sum[u][v] += x * load(state + (c + u) * width + v * ATTN_W);
      }
    for (; c < d; c++) {
      const vf x = splat(step->keep[c] * step->erase[c]);
#pragma clang loop unroll(full)
      for (int v = 0; v < vectors; v++) sum[0][v] += x * load(state + c * width + v * ATTN_W);
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
        float *place = state + (c + u) * width + v * ATTN_W;
        const vf s = kept * load(place) + k * written[v];
        store(place, s);
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
          sum[u][v] += q * load(state + (c + u) * width + v * ATTN_W);
      }
#pragma clang loop unroll(full)
    for (int v = 0; v < vectors; v++)
      store(out + head * out_stride + v * ATTN_W,
            (sum[0][v] + sum[1][v]) + (sum[2][v] + sum[3][v]));
  }
}

static void step(const attn_step *token, int32_t vectors, const float *value, float *state,
                 float *out, int64_t out_stride) {
  ATTN_FOR_VECTORS(vectors, step_vectors, token, state, value, out, out_stride)
}
