// Checks every kernel table of a build against fp64 loops, in plain C: for processors that can be
// emulated but not run the Swift tests here (make test-neon). The Swift tests cover the same
// kernels in more cases on the processors there are.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention_kernels.h"

enum { most_lanes = 48, most_columns = 80, most_keys = ATTN_BLOCK_KEYS };

static int failures, checks;

static void expect(int holds, const char *isa, const char *what, int a, int b) {
  checks++;
  if (holds) return;
  failures++;
  printf("FAIL %s %s (%d, %d)\n", isa, what, a, b);
}

static float noise(void) {
  static unsigned state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / (1 << 23) - 1;
}

static float queries[most_lanes][most_columns], keys[most_keys][most_columns];
static float values[most_keys][most_columns], back[most_lanes][most_columns];
static float packed[most_columns * most_lanes], weights[most_keys * most_lanes];
static float output[most_columns * most_lanes], maxima[most_lanes], sums[most_lanes];
static float factors[most_lanes];
static int32_t lower[most_lanes], upper[most_lanes];
static float bias[most_keys * most_lanes], key_bias[most_keys];

static void check_attend(const attn_kernels *k, int live, int d, int e, int count, int masked) {
  const int lanes = k->panel_lanes;
  const float *rows[most_lanes], *key_rows[most_keys], *value_rows[most_keys];
  float *out_rows[most_lanes];
  for (int i = 0; i < lanes; i++) {
    rows[i] = queries[i];
    out_rows[i] = back[i];
    maxima[i] = -INFINITY;
    sums[i] = 0;
    lower[i] = masked & ATTN_BY_BOUNDS ? i % 5 : 0;
    upper[i] = masked & ATTN_BY_BOUNDS ? (i * 7) % (count + 1) : count;
    for (int t = 0; t < count; t++)
      bias[t * lanes + i] = (t + i) % 3 == 0 ? -INFINITY : 0.0625f * (float)(t % 4);
  }
  for (int t = 0; t < count; t++) {
    key_rows[t] = keys[t];
    value_rows[t] = values[t];
    key_bias[t] = 0.0625f * (float)(t % 7);
  }
  k->pack(rows, live, d, 1.5f / 4, packed);
  memset(output, 0, sizeof output);
  const int vectors = (live + k->vector_lanes - 1) / k->vector_lanes;
  const attn_panel panel = {packed, weights, output, maxima, sums, d, e, vectors, 1, 0, NULL};
  const attn_piece pieces[2] = {{0, count / 2, 0, vectors, masked},
                                {count / 2, count - count / 2, 0, vectors, masked}};
  const attn_block block = {(const void *const *)key_rows, (const void *const *)value_rows,
                            pieces, 2, 0, lower, upper, NULL, bias, key_bias, NULL};
  attn_attend(k, ATTN_FP32, &panel, &block);
  for (int i = 0; i < lanes; i++) factors[i] = sums[i] == 0 ? 0 : 1 / sums[i];
  k->unpack(output, factors, NULL, live, e, out_rows);
  for (int i = 0; i < live; i++) {
    double total = 0, truth[most_columns] = {0};
    for (int t = lower[i]; t < upper[i]; t++) {
      double score = masked & ATTN_BY_BIAS ? bias[t * lanes + i] : 0;
      if (masked & ATTN_BY_KEY_BIAS) score += key_bias[t];
      for (int c = 0; c < d; c++) score += 1.5 / 4 * queries[i][c] * keys[t][c];
      total += exp2(4 * score);
      for (int c = 0; c < e; c++) truth[c] += exp2(4 * score) * values[t][c];
    }
    double worst = 0;
    for (int c = 0; c < e; c++)
      worst = fmax(worst, fabs(back[i][c] - (total == 0 ? 0 : truth[c] / total)));
    expect(worst < 1e-5, k->name, masked ? "attend, masked" : "attend", live, count);
    const double lse = total == 0 ? -INFINITY : log2(total);
    const double found = 4 * maxima[i] + log2(sums[i]);
    expect(lse == found || fabs(lse - found) < 1e-5, k->name, "sum of weights", live, count);
  }
}

static void check_rows(const attn_kernels *k, int count) {
  float row[most_keys], twin[most_keys];
  double total = 0, peak = -INFINITY;
  for (int j = 0; j < count; j++) {
    row[j] = 20 * noise();
    twin[j] = row[j];
    peak = fmax(peak, 0.7 * (double)row[j]);
  }
  float maximum;
  const float sum = k->softmax_row(row, count, 0.7f / 4, &maximum);
  for (int j = 0; j < count; j++) {
    const double truth = exp2(0.7 * (double)twin[j] - peak);
    total += truth;
    expect(fabs(row[j] - truth) < 3e-6, k->name, "softmax_row", count, j);
  }
  expect(fabs(sum - total) < 1e-5 * total, k->name, "softmax_row sum", count, 0);
  k->elu_plus_one(twin, count, row);
  for (int j = 0; j < count; j++) {
    const double truth = twin[j] > 0 ? twin[j] + 1.0 : exp(twin[j]);
    expect(fabs(row[j] - truth) < 1e-6 * (1 + truth), k->name, "elu_plus_one", count, j);
  }
}

static uint16_t patterns[1 << 16], narrowed[1 << 16], reference[1 << 16];
static float wide[1 << 16], expected[1 << 16];

/// Conversions against the portable table's, bit for bit: of all 16-bit patterns, and of random fp32
/// patterns back.
static void check_storage(const attn_kernels *k, const attn_kernels *portable) {
  for (int type = ATTN_FLOAT16; type <= ATTN_BFLOAT16; type++) {
    for (int columns = 7; columns <= 1 << 16; columns += (1 << 16) - 7) {
      const int used = (1 << 16) / columns * columns;
      for (int i = 0; i < used; i++) patterns[i] = (uint16_t)i;
      for (int i = 0; i < used; i += columns) {
        const void *row = patterns + i;
        k->widen(&row, 1, columns, (attn_storage)type, NULL, wide + i);
        portable->widen(&row, 1, columns, (attn_storage)type, NULL, expected + i);
      }
      expect(!memcmp(wide, expected, (size_t)used * sizeof *wide), k->name, "widen", type,
             columns);
      for (int i = 0; i < used; i++) {
        uint32_t bits = (uint32_t)i << 16 | (uint32_t)(rand() & 0xffff);
        memcpy(wide + i, &bits, sizeof bits);
      }
      for (int i = 0; i < used; i += columns) {
        const float *row = wide + i;
        void *out = narrowed + i, *other = reference + i;
        k->narrow(&row, 1, columns, (attn_storage)type, &out);
        portable->narrow(&row, 1, columns, (attn_storage)type, &other);
      }
      expect(!memcmp(narrowed, reference, (size_t)used * sizeof *narrowed), k->name, "narrow",
             type, columns);
    }
  }
}

/// Takes denormal numbers for zeros, as a team's workers do, or not.
static void flush_denormals(int on) {
#if defined(__x86_64__)
  const unsigned control = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(on ? control | 0x8040 : control & ~0x8040u);
#elif defined(__aarch64__)
  uint64_t control;
  __asm__ volatile("mrs %0, fpcr" : "=r"(control));
  control = on ? control | UINT64_C(1) << 24 : control & ~(UINT64_C(1) << 24);
  __asm__ volatile("msr fpcr, %0" : : "r"(control));
#else
  (void)on;
#endif
}

/// Every finite fp16 number, the denormal ones too, widens to what it is where denormal fp32 numbers
/// count as zeros.
static void check_flushed_halves(const attn_kernels *k) {
  for (int i = 0; i < 1 << 16; i++) patterns[i] = (uint16_t)i;
  const void *row = patterns;
  flush_denormals(1);
  k->widen(&row, 1, 1 << 16, ATTN_FLOAT16, NULL, wide);
  flush_denormals(0);
  for (int i = 0; i < 1 << 16; i++) {
    const int exponent = i >> 10 & 31, mantissa = i & 1023;
    if (exponent == 31) continue;
    const double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    expect(wide[i] == (i >> 15 ? -size : size), k->name, "widen, flushed", i, 0);
  }
}

/// However large finite scores and biases are, results are finite and the largest has all the weight.
static void check_large(const attn_kernels *k, int count) {
  float row[most_keys], maximum;
  const float sizes[3] = {1.5e9f, 7e20f, 3.4e38f};
  for (int s = 0; s < 3; s++) {
    for (int j = 0; j < count; j++) row[j] = j == count / 2 ? sizes[s] : -0.77f * sizes[s];
    const float sum = k->softmax_row(row, count, 0.37f, &maximum);
    int right = sum == 1 && maximum == sizes[s] * 0.37f;
    for (int j = 0; j < count; j++) right &= row[j] == (j == count / 2);
    expect(right, k->name, "softmax_row, large", count, s);
  }
  const float lowest = -3.40282347e38f;
  float biases[most_keys];
  for (int j = 0; j < count; j++) {
    row[j] = j % 2 ? -1e38f : 1;
    biases[j] = lowest;
  }
  const attn_row_bias all = {NULL, biases, 1000, count, 3e38f / 4};
  k->bias_row(row, count, 0.25f, 0.25f, &all);
  for (int j = 0; j < count; j++)
    expect(row[j] == lowest / 4, k->name, "bias_row saturates", count, j);
}

enum { most_width = 48, chunk = 48, most_rows = 80 };

static float left[chunk * most_rows], right[most_rows * most_width], state[most_rows * most_width];
static float result[chunk * most_width], kept_square[chunk * chunk], keep[most_rows];

/// The products of a recurrence's chunks: `count` tokens, `d` rows of the state, `vectors` of its columns.
static void check_recurrence(const attn_kernels *k, int count, int d, int vectors) {
  const int width = vectors * k->vector_lanes;
  for (int i = 0; i < chunk * most_rows; i++) left[i] = noise() / 4;
  for (int i = 0; i < most_rows * most_width; i++) right[i] = noise();
  for (int i = 0; i < most_rows * most_width; i++) state[i] = noise();
  for (int i = 0; i < most_rows; i++) keep[i] = fabsf(noise());
  const attn_triangle triangles[3] = {ATTN_RECTANGLE, ATTN_LOWER, ATTN_SOLVE};
  for (int t = 0; t < 3; t++) {
    for (int i = 0; i < chunk * most_width; i++) result[i] = noise();
    double truth[chunk][most_width];
    for (int r = 0; r < count; r++)
      for (int lane = 0; lane < width; lane++) {
        truth[r][lane] = result[r * most_width + lane];
        const int end = t == 0 ? d : t == 1 ? r + 1 : r;
        for (int c = 0; c < end; c++)
          truth[r][lane] += left[r * most_rows + c] *
                            (t == 2 ? truth[c][lane] : (double)right[c * most_width + lane]);
      }
    k->product(left, most_rows, count, d, t == 2 ? result : right, most_width, vectors,
               triangles[t], 1, result, most_width);
    for (int r = 0; r < count; r++)
      for (int lane = 0; lane < width; lane++)
        expect(fabs(result[r * most_width + lane] - truth[r][lane]) <
                   2e-5 * (1 + fabs(truth[r][lane])),
               k->name, "product", count, d);
  }
  // Of the state and of each other.
  for (int i = 0; i < chunk * most_width; i++) result[i] = noise();
  double solved[chunk][most_width];
  for (int r = 0; r < count; r++)
    for (int lane = 0; lane < width; lane++) {
      solved[r][lane] = result[r * most_width + lane];
      for (int c = 0; c < d; c++)
        solved[r][lane] += left[r * most_rows + c] * (double)state[c * width + lane];
      for (int c = 0; c < r; c++) solved[r][lane] += left[r * most_rows + c] * solved[c][lane];
    }
  const attn_chunk_rows rows = {left, most_rows, count, d, left, most_rows, ATTN_SOLVE, most_width,
                               most_width};
  k->chunk_rows(&rows, state, result, vectors, NULL, result);
  for (int r = 0; r < count; r++)
    for (int lane = 0; lane < width; lane++)
      expect(fabs(result[r * most_width + lane] - solved[r][lane]) <
                 2e-5 * (1 + fabs(solved[r][lane])),
             k->name, "chunk_rows", count, d);
  double taken[most_rows][most_width];
  for (int c = 0; c < d; c++)
    for (int lane = 0; lane < width; lane++) {
      taken[c][lane] = (double)keep[c] * state[c * width + lane];
      for (int t = 0; t < count; t++)
        taken[c][lane] += (double)left[t * most_rows + c] * right[t * most_width + lane];
    }
  k->take_in(left, most_rows, right, most_width, count, d, vectors, keep, NULL, state);
  for (int c = 0; c < d; c++)
    for (int lane = 0; lane < width; lane++)
      expect(fabs(state[c * width + lane] - taken[c][lane]) < 2e-5, k->name, "take_in", count, d);
  // One token more, from the state that is there.
  double read[most_width] = {0};
  for (int lane = 0; lane < width; lane++) {
    double written = right[lane];
    for (int c = 0; c < d; c++)
      written -= (double)state[c * width + lane] * left[most_rows + c];
    for (int c = 0; c < d; c++)
      read[lane] += left[2 * most_rows + c] *
                    ((double)keep[c] * state[c * width + lane] + left[c] * written);
  }
  const attn_step token = {left, left + most_rows, keep, left + 2 * most_rows, 0, 1, d};
  const attn_step_state held = {state, width, state, width, state};
  k->step(&token, &held, vectors, right, result, 0);
  for (int lane = 0; lane < width; lane++)
    expect(fabs(result[lane] - read[lane]) < 2e-5, k->name, "step", d, vectors);
  k->kept_between(keep, 1, count, chunk, kept_square);
  double kept = 1;
  for (int s = count - 1; s >= 0; s--) {
    expect(fabs(kept_square[(count - 1) * chunk + s] - kept) < 1e-5, k->name, "kept_between", count, s);
    kept *= keep[s];
  }
}

/// Additive scores, where exponentials are multiplied, bounded, and where every tanh is taken by itself.
static void check_additive(const attn_kernels *k, int hidden, int live, int count, float size) {
  enum { most_units = 24 };
  const int lanes = k->panel_lanes, e = 5;
  const int units = (hidden + ATTN_ADDITIVE_UNITS - 1) / ATTN_ADDITIVE_UNITS * ATTN_ADDITIVE_UNITS;
  static float panel[(3 * most_units + 2) * most_lanes], made[most_keys * (2 * most_units + 1)];
  static float projected[most_keys][most_units];
  const float *rows[most_keys], *value_rows[most_keys], *key_rows[most_keys];
  float *out_rows[most_lanes];
  memset(panel, 0, sizeof panel);
  for (int i = 0; i < lanes; i++) {
    maxima[i] = -INFINITY;
    sums[i] = 0;
    lower[i] = 0;
    upper[i] = i % (count + 1);
    out_rows[i] = back[i];
    float *total = panel + 3 * units * lanes + i;
    for (int h = 0; h < hidden; h++) {
      const float weight = noise() / 8;
      panel[(units + h) * lanes + i] = -2 * weight;
      panel[(2 * units + h) * lanes + i] = size * noise();
      *total += weight;
    }
  }
  for (int t = 0; t < count; t++) {
    rows[t] = projected[t];
    key_rows[t] = made + t * (2 * units + 1);
    value_rows[t] = values[t];
    for (int h = 0; h < hidden; h++) projected[t][h] = size * noise();
  }
  k->additive_queries(panel, units);
  k->additive_keys(rows, count, hidden, units, made);
  memset(output, 0, sizeof output);
  const int vectors = (live + k->vector_lanes - 1) / k->vector_lanes;
  const attn_panel state = {panel, weights, output, maxima, sums, units, e, vectors, 1, 0, NULL};
  const attn_piece piece = {0, count, 0, vectors, ATTN_BY_BOUNDS};
  const attn_block block = {(const void *const *)key_rows, (const void *const *)value_rows,
                            &piece, 1, 0, lower, upper, NULL, NULL, NULL, NULL};
  k->attend_additive(&state, &block);
  for (int i = 0; i < lanes; i++) factors[i] = sums[i] == 0 ? 0 : 1 / sums[i];
  k->unpack(output, factors, NULL, live, e, out_rows);
  for (int i = 0; i < live; i++) {
    double total = 0, worst = 0, truth[most_columns] = {0};
    for (int t = 0; t < upper[i]; t++) {
      double score = 0;
      for (int h = 0; h < hidden; h++)
        score -= 0.5 * panel[(units + h) * lanes + i] *
                 tanh((double)panel[(2 * units + h) * lanes + i] + projected[t][h]);
      total += exp2(4 * score);
      for (int c = 0; c < e; c++) truth[c] += exp2(4 * score) * values[t][c];
    }
    for (int c = 0; c < e; c++)
      worst = fmax(worst, fabs(back[i][c] - (total == 0 ? 0 : truth[c] / total)));
    expect(worst < 1e-5, k->name, "attend, additive", hidden, count);
  }
}

int main(void) {
  for (int i = 0; i < most_lanes; i++)
    for (int c = 0; c < most_columns; c++) queries[i][c] = noise();
  for (int t = 0; t < most_keys; t++)
    for (int c = 0; c < most_columns; c++) {
      keys[t][c] = noise();
      values[t][c] = noise();
    }
  int32_t tables;
  const attn_kernels *const *compiled = attn_kernels_compiled(&tables);
  for (int n = 0; n < tables; n++) {
    const attn_kernels *k = compiled[n];
    if (!attn_kernels_supported(k)) continue;
    for (int live = 1; live <= k->panel_lanes; live += 3)
      for (int count = 1; count <= 40; count += live % 2 ? 3 : 7)
        for (int masked = 0; masked <= (ATTN_BY_BOUNDS | ATTN_BY_KEY_BIAS); masked++)
          check_attend(k, live, 1 + (live * 5 + count) % most_columns,
                       1 + (live + count * 11) % most_columns, count, masked);
    check_attend(k, k->panel_lanes, 64, 64, most_keys, 0);
    for (int count = 1; count <= 70; count++) check_rows(k, count);
    for (int count = 1; count <= 70; count++) check_large(k, count);
    check_storage(k, compiled[tables - 1]);
    check_flushed_halves(k);
    for (int count = 1; count <= chunk; count += 5)
      for (int vectors = 1; vectors * k->vector_lanes <= k->panel_lanes; vectors++)
        check_recurrence(k, count, 1 + count * 7 % most_rows, vectors);
    for (int hidden = 1; hidden <= 21; hidden += 4)
      for (int count = 1; count <= 40; count += 3) {
        const float sizes[4] = {1e-3f, 1, 15, 60};
        for (int s = 0; s < 4; s++)
          check_additive(k, hidden, 1 + (hidden * 5 + count) % k->panel_lanes, count, sizes[s]);
      }
    printf("%s: checked\n", k->name);
  }
  printf("%d passed, %d failed\n", checks - failures, failures);
  return failures != 0;
}
