// The micro-kernels, written once over a vector of W floats and instantiated per instruction set.
// The including file defines, before inclusion:
//   ATTN_NAME           the table's name, a token: avx512
//   ATTN_W              floats in a vector: 4, 8 or 16
//   ATTN_VECTORS        vectors of lanes in a panel
//   ATTN_TILE           rows of a register tile: TILE x VECTORS accumulators must leave room for
//                       VECTORS operands and one broadcast
//   ATTN_KEEP(x)        keeps a broadcast in a register, or nothing
//   ATTN_OVERLAP        1 where registers suffice to compute exponentials inside product loops
// and may define
//   ATTN_PERMUTE_32     (low, index, high): looks each lane's low five index bits up in 32 floats
//   ATTN_PAIR_DOT       and
//   ATTN_PAIR           products of bf16 pairs: see formats.h
//   ATTN_LANE_BITS      one bit for each lane of a comparison that holds, and
//   ATTN_COMPRESS       (bits, x): the lanes whose bits are set, one behind the other
//   ATTN_INT8_NAME,     names of tables that scaled_kernels.h makes with more instructions than these, of
//   ATTN_FP16_NAME      vectors and panels of the same size
//   ATTN_FROM_HALF(x)   W fp16 patterns to fp32, and
//   ATTN_TO_HALF(x)     back, to nearest even
// Multiplications followed by additions are contracted to fused multiply-adds where the
// instruction set has them.
#include "vector.h"
#include "exp16.h"
#include "softcap.h"
#include "transpose.h"
#include "storage.h"
#include "bias.h"
#include "formats.h"
#include "tiles.h"
#include "values.h"
#include "scores.h"
#include "additive.h"
#include "online_softmax.h"
#include "products.h"
#if ATTN_HAS_PAIRS
#include "pair_rows.h"
#endif
#include "rows.h"
#include "recurrence.h"
#include "selection.h"
#include "masks.h"
#include "decode_tiles.h"
#include "decode.h"
#include "kept.h"
#include "limits.h"

static float fma_rounds(int64_t rounds) {
  return product_rounds(rounds, splat(0.999999f), splat(1e-6f), ATTN_FP32);
}

static const attn_format_kernels ATTN_PASTE(attn_fp32_, ATTN_NAME) = {attend_fp32, fma_rounds, 1, NULL, NULL};

#if ATTN_HAS_PAIRS
/// Two products of opposite sign: the sums stay where they are.
static float pair_rounds(int64_t rounds) {
  return product_rounds(rounds, (vf)splat_int(0x3f803f80), (vf)splat_int((int32_t)0x3f80bf80),
                        ATTN_BF16_PAIRS);
}

static const attn_pair_rows ATTN_PASTE(attn_pairs_, ATTN_NAME) = {round_rows, pack_pairs, pair_values};
static const attn_format_kernels ATTN_PASTE(attn_bf16_, ATTN_NAME) = {
    attend_pairs, pair_rounds, 2, &ATTN_PASTE(attn_pairs_, ATTN_NAME), NULL};
#endif

#ifdef ATTN_INT8_NAME
extern const attn_format_kernels ATTN_PASTE(attn_int8_, ATTN_INT8_NAME),
    ATTN_PASTE(attn_int8_fp32_, ATTN_INT8_NAME);
#endif
#ifdef ATTN_FP16_NAME
extern const attn_format_kernels ATTN_PASTE(attn_fp16_, ATTN_FP16_NAME),
    ATTN_PASTE(attn_int8_fp16_, ATTN_FP16_NAME);
#endif

const attn_kernels ATTN_PASTE(attn_kernels_, ATTN_NAME) = {
    .name = ATTN_STRING(ATTN_NAME),
    .vector_lanes = ATTN_W,
    .panel_lanes = ATTN_L,
    .tile_keys = ATTN_TILE,
    .pack = pack,
    .unpack = unpack,
    .prefetch = prefetch,
    .widen = widen,
    .narrow = narrow,
    .dots = dots,
    .accumulate = accumulate,
    .decode_query = decode_query,
    .decode = decode,
    .softmax_row = softmax_row,
    .softcap_row = softcap_row,
    .fill_bias = fill_bias,
    .bias_row = bias_row,
    .key_bits = key_bits,
    .scale_row = scale_row,
    .elu_plus_one = elu_plus_one,
    .product = product,
    .chunk_rows = chunk_rows,
    .take_in = take_in,
    .transpose_rows = transpose_rows,
    .kept_between = kept_between,
    .add_lower_sums = add_lower_sums,
    .add_rows = add_rows,
    .decayed_dots = decayed_dots,
    .channel_decays = channel_decays,
    .keep_keys = keep_keys,
    .dot_rows = dot_rows,
    .multiply_rows = multiply_rows,
    .scale_rows = scale_rows,
    .unit_rows = unit_rows,
    .exp_row = exp_row,
    .step = step,
    .index_scores = index_scores,
    .count_from = count_from,
    .keep_from = keep_from,
    .find_visits = find_visits,
    .attend_kept = attend_kept,
    .read_floats = read_floats,
    .attend_additive = attend_additive,
    .attend_otherwise = ATTN_OTHERWISE,
    .additive_queries = additive_queries,
    .additive_keys = additive_keys,
    .chains = ATTN_FMA_CHAINS,
    .formats = {
        [ATTN_FP32] = &ATTN_PASTE(attn_fp32_, ATTN_NAME),
#if ATTN_HAS_PAIRS
        [ATTN_BF16_PAIRS] = &ATTN_PASTE(attn_bf16_, ATTN_NAME),
#endif
#ifdef ATTN_INT8_NAME
        [ATTN_INT8_QUADS] = &ATTN_PASTE(attn_int8_, ATTN_INT8_NAME),
        [ATTN_INT8_SCORES_FP32] = &ATTN_PASTE(attn_int8_fp32_, ATTN_INT8_NAME),
#endif
#ifdef ATTN_FP16_NAME
        [ATTN_FP16_PAIRS] = &ATTN_PASTE(attn_fp16_, ATTN_FP16_NAME),
        [ATTN_INT8_SCORES_FP16] = &ATTN_PASTE(attn_int8_fp16_, ATTN_FP16_NAME),
#endif
    },
};
