// Rows into lanes and back: transposing, prefetching.

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

/// Prefetches rows of `length` bytes that are about to be read, into the second-level cache.
ATTN_INLINE void prefetch_rows(const void *const *rows, const int count, int32_t length) {
#pragma clang loop unroll(full)
  for (int r = 0; r < count; r++)
    for (ptrdiff_t c = 0; c < length; c += ATTN_LINE_BYTES)
      __builtin_prefetch((const char *)rows[r] + c, 0, 2);
}

static void prefetch(const void *const *rows, int32_t count, int32_t length) {
  for (int32_t r = 0; r < count; r++) prefetch_rows(rows + r, 1, length);
}

/// Prefetches the rows of the vector of lanes after `lane`, near enough to be still there when they
/// are read: rows a large power of two apart share a few cache sets.
ATTN_INLINE void prefetch_lanes(const float *const *rows, int32_t lane, int32_t count,
                                int32_t columns) {
  const int32_t left = count - lane;
  const void *const *next = (const void *const *)rows + lane;
  if (left > 0) prefetch(next, left < ATTN_W ? left : ATTN_W, columns * (int32_t)sizeof(float));
}

/// Rows to lanes last, times a scale; NULL leaves bits as they are.
ATTN_INLINE void pack_rows(const float *const *rows, int32_t count, int32_t columns,
                           const float *scale, float *out) {
  const vf factor = splat(scale ? *scale : 1);
  prefetch_lanes(rows, 0, count, columns);
  for (int32_t lane = 0; lane < ATTN_L; lane += ATTN_W) {
    const int32_t live = count - lane < ATTN_W ? count - lane : ATTN_W;
    prefetch_lanes(rows, lane + ATTN_W, count, columns);
    int32_t t = 0;
    for (; t + ATTN_W <= columns; t += ATTN_W) {
      vf r[ATTN_W];
      for (int i = 0; i < ATTN_W; i++) r[i] = i < live ? load(rows[lane + i] + t) : splat(0);
      transpose(r);
      for (int i = 0; i < ATTN_W; i++)
        store(out + (ptrdiff_t)(t + i) * ATTN_L + lane, scale ? r[i] * factor : r[i]);
    }
    for (; t < columns; t++) {
      vf r = splat(0);
      for (int i = 0; i < live; i++) r[i] = rows[lane + i][t];
      store(out + (ptrdiff_t)t * ATTN_L + lane, scale ? r * factor : r);
    }
  }
}

static void pack(const float *const *rows, int32_t count, int32_t columns, float scale,
                 float *out) {
  pack_rows(rows, count, columns, &scale, out);
}

ATTN_INLINE void unpack_lanes(const float *in, const float *factors, const float *kept,
                              int32_t live, int32_t columns, float *const *rows,
                              const int keeps) {
  const vf factor = load(factors);
  int32_t t = 0;
  for (; t + ATTN_W <= columns; t += ATTN_W) {
    vf r[ATTN_W];
    for (int i = 0; i < ATTN_W; i++) r[i] = load(in + (ptrdiff_t)(t + i) * ATTN_L) * factor;
    transpose(r);
    for (int i = 0; i < live; i++) {
      if (keeps) r[i] += load(rows[i] + t) * splat(kept[i]);
      store(rows[i] + t, r[i]);
    }
  }
  for (; t < columns; t++)
    for (int i = 0; i < live; i++) {
      const float x = in[(ptrdiff_t)t * ATTN_L + i] * factors[i];
      rows[i][t] = keeps ? x + rows[i][t] * kept[i] : x;
    }
}

static void unpack(const float *in, const float *factors, const float *kept, int32_t count,
                   int32_t columns, float *const *rows) {
  prefetch_lanes((const float *const *)rows, 0, count, columns);
  for (int32_t lane = 0; lane < count; lane += ATTN_W) {
    const int32_t live = count - lane < ATTN_W ? count - lane : ATTN_W;
    prefetch_lanes((const float *const *)rows, lane + ATTN_W, count, columns);
    if (kept)
      unpack_lanes(in + lane, factors + lane, kept + lane, live, columns, rows + lane, 1);
    else
      unpack_lanes(in + lane, factors + lane, NULL, live, columns, rows + lane, 0);
  }
}
