// What is added to scores: the one rule, whatever computes them.
//
// Scores, biases and slopes are numbers in units of at most half a natural one, so that the sum of
// two finite numbers is finite. What natural units cannot hold saturates at their largest number: a
// bias of -FLT_MAX must not turn into one of -inf, which hides.

#define ATTN_LARGEST 0x1.fffffep127f

ATTN_INLINE vf magnitude(vf x) { return (vf)((vi)x & splat_int(0x7fffffff)); }

/// A sum of two numbers, held within +-limit; infinite or NaN only where one of them is.
ATTN_INLINE vf saturated(vf sum, vf limit) {
  const vf held = smaller(limit, larger(-limit, sum));
  return magnitude(sum) < splat(INFINITY) ? held : sum;
}

/// Score plus bias, in log16 units. A key whose bias is -inf is hidden, whatever its score: not by
/// adding, since that may be NaN.
ATTN_INLINE vf biased(vf score, vf bias) {
  const vf sum = saturated(score + bias, splat(ATTN_LARGEST * ATTN_LOG16E));
  return bias == splat(-INFINITY) ? bias : sum;
}

/// What a slope takes off at a distance, which may be negative.
ATTN_INLINE vf slope_share(vf slope, vf distance, vf limit) {
  const vf share = -slope * magnitude(distance);
  return smaller(limit, larger(-limit, share));
}

/// The bias of a key in units of `unit` natural ones, of which `limit` is the largest: what a row of
/// biases has for it, and the share of a slope. -inf stays -inf.
ATTN_INLINE vf bias_in_units(vf bias, vf share, vf unit, vf limit) {
  const vf own = bias * unit;
  return saturated(own + share, limit);
}
