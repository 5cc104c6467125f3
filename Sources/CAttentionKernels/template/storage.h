// Elements as they are stored: to fp32 and back.
//
// A row's last elements go through a vector of zeros like all others, so that no element's bits
// depend on its place. What an instruction set has no conversion for is done on bit patterns; the
// results agree bit for bit, NaNs included: they keep their sign and the bits of their payload that
// fit, and are quiet.

typedef uint16_t halves __attribute__((ext_vector_type(ATTN_W)));
typedef halves halves_unaligned __attribute__((aligned(2)));
typedef uint32_t words __attribute__((ext_vector_type(ATTN_W)));
typedef int8_t bytes __attribute__((ext_vector_type(ATTN_W)));
typedef bytes bytes_unaligned __attribute__((aligned(1)));

ATTN_INLINE vf from_brain(halves x) {
  return (vf)(__builtin_convertvector(x, words) << 16);
}

ATTN_INLINE halves to_brain(vf x) {
  const words bits = (words)x;
  const words rounded = bits + 0x7fff + ((bits >> 16) & 1);
  // A NaN is made quiet, so that dropping its low bits cannot leave infinity.
  const words kept = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
  return __builtin_convertvector(kept >> 16, halves);
}

#ifdef ATTN_FROM_HALF
ATTN_INLINE vf from_half(halves x) { return ATTN_FROM_HALF(x); }
ATTN_INLINE halves to_half(vf x) { return ATTN_TO_HALF(x); }
#else
/// Exponent and mantissa, moved into their fp32 places, want 112 added to the exponent, 224 for
/// infinity and NaN, which then are quiet. Subnormals are integers of 2^-24 each: no step passes
/// through fp32 subnormals, which count as zeros while a team computes.
ATTN_INLINE vf from_half(halves x) {
  const words wide = __builtin_convertvector(x, words);
  const words magnitude = (wide & 0x7fff) << 13;
  const words rebias = 112 << 23, infinite = 0x7c00 << 13;
  const words quiet = magnitude > infinite ? (words)0x400000 : (words)0;
  const words number = magnitude + rebias;
  const words wider = magnitude >= infinite ? (number + rebias) | quiet : number;
  const vf small = __builtin_convertvector(wide & 0x3ff, vf) * splat(0x1p-24f);
  return (vf)((magnitude < (words)(0x0400 << 13) ? (words)small : wider) | (wide & 0x8000) << 16);
}

/// Adding a power of two whose last mantissa bit is the last bit fp16 can hold makes the adder round
/// (Dukhan's method in FP16). The scaling pair in front turns all that overflows into infinity; the
/// lower limit on the added exponent is what makes subnormal results come out right.
ATTN_INLINE halves to_half(vf x) {
  const words bits = (words)x;
  const vf clamped = ((vf)(bits & 0x7fffffff) * splat(0x1p112f)) * splat(0x1p-110f);
  const words doubled = bits + bits;
  const words exponent = doubled & 0xff000000;
  const words least = exponent > 0x71000000 ? exponent : (words)0x71000000;
  const words rounded = (words)((vf)((least >> 1) + 0x07800000) + clamped);
  const words number = ((rounded >> 13) & 0x7c00) + (rounded & 0x0fff);
  const words nan = 0x7e00 | ((bits >> 13) & 0x03ff);
  const words magnitude = doubled > 0xff000000 ? nan : number;
  return __builtin_convertvector(((bits >> 16) & 0x8000) | magnitude, halves);
}
#endif

ATTN_INLINE vf from_int8(bytes x, vf scale) {
  return __builtin_convertvector(__builtin_convertvector(x, vi), vf) * scale;
}

/// One row of 16-bit elements to fp32.
ATTN_INLINE void widen_halves(const uint16_t *in, int32_t columns, float *out, const int brain) {
  ptrdiff_t t = 0;
  for (; t + ATTN_W <= columns; t += ATTN_W) {
    const halves x = *(const halves_unaligned *)(in + t);
    store(out + t, brain ? from_brain(x) : from_half(x));
  }
  if (t == columns) return;
  halves rest = 0;
  const size_t left = (size_t)(columns - t);
  __builtin_memcpy(&rest, in + t, left * sizeof *in);
  const vf wide = brain ? from_brain(rest) : from_half(rest);
  __builtin_memcpy(out + t, &wide, left * sizeof *out);
}

/// One row of integers to fp32, by one scale or a scale a column.
ATTN_INLINE void widen_int8(const int8_t *in, int32_t columns, float scale,
                            const float *column_scales, float *out) {
  ptrdiff_t t = 0;
  for (; t + ATTN_W <= columns; t += ATTN_W) {
    const bytes x = *(const bytes_unaligned *)(in + t);
    store(out + t, from_int8(x, column_scales ? load(column_scales + t) : splat(scale)));
  }
  for (; t < columns; t++)
    out[t] = (float)in[t] * (column_scales ? column_scales[t] : scale);
}

/// Bytes of a row, with its scale if it has one.
ATTN_INLINE int32_t row_bytes(attn_storage storage, int32_t columns) {
  switch (storage) {
    case ATTN_FLOAT32: return 4 * columns;
    case ATTN_FLOAT16:
    case ATTN_BFLOAT16: return 2 * columns;
    case ATTN_INT8_PER_TOKEN: return ((columns + 3) & ~3) + 4;
    default: return columns;
  }
}

static void widen(const void *const *rows, int32_t count, int32_t columns, attn_storage storage,
                  const float *column_scales, float *out) {
  // Far enough ahead to cover a miss to memory, near enough to be still there.
  enum { distance = 16 };
  const int32_t length = row_bytes(storage, columns);
  prefetch(rows, count < distance ? count : distance, length);
  for (int32_t r = 0; r < count; r++, out += columns) {
    if (r + distance < count) prefetch_rows(rows + r + distance, 1, length);
    const char *row = rows[r];
    switch (storage) {
      case ATTN_FLOAT32: __builtin_memcpy(out, row, (size_t)length); break;
      case ATTN_FLOAT16: widen_halves((const uint16_t *)row, columns, out, 0); break;
      case ATTN_BFLOAT16: widen_halves((const uint16_t *)row, columns, out, 1); break;
      case ATTN_INT8_PER_TOKEN: {
        float scale;
        __builtin_memcpy(&scale, row + length - sizeof scale, sizeof scale);
        widen_int8((const int8_t *)row, columns, scale, NULL, out);
        break;
      }
      case ATTN_INT8_PER_CHANNEL:
        widen_int8((const int8_t *)row, columns, 0, column_scales, out);
        break;
    }
  }
}

/// One row of fp32 to 16-bit elements.
ATTN_INLINE void narrow_row(const float *in, int32_t columns, uint16_t *out, const int brain) {
  ptrdiff_t t = 0;
  for (; t + ATTN_W <= columns; t += ATTN_W) {
    const vf x = load(in + t);
    *(halves_unaligned *)(out + t) = brain ? to_brain(x) : to_half(x);
  }
  if (t == columns) return;
  vf rest = splat(0);
  const size_t left = (size_t)(columns - t);
  __builtin_memcpy(&rest, in + t, left * sizeof *in);
  const halves narrowed = brain ? to_brain(rest) : to_half(rest);
  __builtin_memcpy(out + t, &narrowed, left * sizeof *out);
}

static void narrow(const float *const *rows, int32_t count, int32_t columns,
                   attn_storage storage, void *const *out) {
  for (int32_t r = 0; r < count; r++) {
    if (storage == ATTN_BFLOAT16)
      narrow_row(rows[r], columns, out[r], 1);
    else if (storage == ATTN_FLOAT16)
      narrow_row(rows[r], columns, out[r], 0);
    else
      __builtin_memcpy(out[r], rows[r], sizeof(float) * (size_t)columns);
  }
}
