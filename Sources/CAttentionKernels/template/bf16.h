// Products of bf16 numbers with sums in fp32, written over the vector of kernels.h, which comes
// before. The including file defines:
//   ATTN_BF16                the table's name
//   ATTN_BF16_DOT(acc, a, b) acc + a[low] b[low] + a[high] b[high] of each word
//   ATTN_BF16_PAIR(x, y)     words of x, rounded, in the lower halves and y in the upper ones
#include "bf16_rows.h"
#include "bf16_softmax.h"

const attn_bf16_kernels ATTN_BF16 = {
    .round_rows = bf16_round_rows,
    .pack = bf16_pack,
    .pair_values = bf16_pair_values,
    .attend = bf16_attend,
    .dot_rounds = bf16_dot_rounds,
    .dot_flops_per_round = 4 * ATTN_W * ATTN_FMA_CHAINS,
};
