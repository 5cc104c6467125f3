// The exponential.
//
// Scores are in log16 units: a weight is 16^score. A natural unit is 0.36 of them, so that every
// finite score and every finite bias has a finite counterpart, and so has the sum of any two. Powers
// of two between the bases cost nothing: they are part of the constants below, and no bit differs.

/// Log16 units in a natural one: log2(e) / 4.
#define ATTN_LOG16E 0.36067376022224085f
/// How far a score may exceed its row's reference: weights stay below 16^2.
#define ATTN_LAG 2

// 16^x for x <= 31.5, relative error 1.7e-7, 0 from -31.75 down, NaN stays NaN. Rounding is by
// adding a number whose ulp is the grain wanted (Cody & Waite 1980); powers of two are assembled in
// the exponent field. Polynomials are minimax in relative error.

#ifdef ATTN_SCALE
/// 2^(j/32). Then the two coefficients of 16^r - 1 for 0 <= r < 1/128, and the magic number.
static const struct {
  float roots[32];
  float linear, square, magic;
} exp16_by_scale_constants = {
    {
        0x1p0f, 0x1.059b0ep0f, 0x1.0b5586p0f, 0x1.11301ep0f, 0x1.172b84p0f, 0x1.1d4874p0f,
        0x1.2387a6p0f, 0x1.29e9ep0f, 0x1.306fep0f, 0x1.371a74p0f, 0x1.3dea64p0f, 0x1.44e086p0f,
        0x1.4bfdaep0f, 0x1.5342b6p0f, 0x1.5ab07ep0f, 0x1.6247ecp0f, 0x1.6a09e6p0f, 0x1.71f75ep0f,
        0x1.7a1148p0f, 0x1.82589ap0f, 0x1.8ace54p0f, 0x1.93737cp0f, 0x1.9c4918p0f, 0x1.a5504p0f,
        0x1.ae89fap0f, 0x1.b7f77p0f, 0x1.c199bep0f, 0x1.cb720ep0f, 0x1.d5818ep0f, 0x1.dfc974p0f,
        0x1.ea4afap0f, 0x1.f50766p0f
    },
    4 * 0x1.62e11ep-1f, 16 * 0x1.f0f3e6p-3f, 12582912.0f / 128};

/// 4x = n + j/32 + 4r, rounded down, by instructions for it: nine operations instead of eleven with the
/// subtraction of the reference, but more of them on the pipes of multiply-adds. Faster where all pipes are
/// those: see attn_pipes_are_shared.
ATTN_INLINE vf exp16_by_scale(vf x) {
  const float *constants = opaque((const float *)&exp16_by_scale_constants);
  const vf r = ATTN_BELOW_128TH(x);
  const vf shifted = ATTN_ADD_DOWN(x, splat(constants[34]));
  const vf root = ATTN_PERMUTE_32(load(constants), shifted, load(constants + ATTN_W));
  const vf p = root * r * (splat(constants[33]) * r + splat(constants[32])) + root;
  return ATTN_SCALE(p, x * splat(4));
}
#endif

#ifdef ATTN_PERMUTE_32
/// Bits of 2^(j/32), with j taken off those that it will itself occupy when the exponent is added:
/// bits(2^(j/32)) - (j << 18). Then the two coefficients of 16^r - 1 for |r| <= 1/256, the magic
/// number and the least exponent.
static const struct {
  uint32_t roots[32];
  float linear, square, magic, least;
} exp16_constants = {
    {
        0x3f800000, 0x3f7ecd87, 0x3f7daac3, 0x3f7c980f, 0x3f7b95c2, 0x3f7aa43a,
        0x3f79c3d3, 0x3f78f4f0, 0x3f7837f0, 0x3f778d3a, 0x3f76f532, 0x3f767043,
        0x3f75fed7, 0x3f75a15b, 0x3f75583f, 0x3f7523f6, 0x3f7504f3, 0x3f74fbaf,
        0x3f7508a4, 0x3f752c4d, 0x3f75672a, 0x3f75b9be, 0x3f76248c, 0x3f76a81e,
        0x3f7744fd, 0x3f77fbb8, 0x3f78ccdf, 0x3f79b907, 0x3f7ac0c7, 0x3f7be4ba,
        0x3f7d257d, 0x3f7e83b3
    },
    4 * 6.931573286e-1f, 16 * 2.402265066e-1f, 12582912.0f / 128, -127.0f / 4};

/// 4x = n + j/32 + 4r: a table look-up in two registers and a quadratic. Three operations on the
/// multiply-add pipes; the rest runs beside them.
ATTN_INLINE vf exp16_vector(vf x) {
  const float *constants = opaque((const float *)&exp16_constants);
  const vf magic = splat(constants[34]);
  x = larger(splat(constants[35]), x);
  const vf shifted = x + magic;
  const vf r = x - (shifted - magic);
  const vf root = ATTN_PERMUTE_32(load(constants), shifted, load(constants + ATTN_W));
  const vf power = (vf)((vi)root + ((vi)shifted << 18));
  return power * r * (splat(constants[33]) * r + splat(constants[32])) + power;
}
#else
static const float exp16_constants[8] = {
    1.0f,
    4 * 6.931470037e-1f,
    16 * 2.402224243e-1f,
    64 * 5.550733581e-2f,
    256 * 9.671512991e-3f,
    1024 * 1.326472731e-3f,
    (12582912.0f + 127.0f) / 4,
    -127.0f / 4};

/// 4x = n + 4f with |4f| <= 1/2: a polynomial of degree 5. The magic number has already biased n.
ATTN_INLINE vf exp16_vector(vf x) {
  const float *constants = opaque(exp16_constants);
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

/// How the weights of a block are taken.
typedef enum weight_exponential {
  EXPONENTIAL_BY_TABLE,
  EXPONENTIAL_BY_SCALE,
} weight_exponential;

ATTN_INLINE vf exp16_by(const weight_exponential how, vf x) {
#ifdef ATTN_SCALE
  if (how == EXPONENTIAL_BY_SCALE) return exp16_by_scale(x);
#else
  (void)how;
#endif
  return exp16_vector(x);
}
