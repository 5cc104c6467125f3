// AVX2 with FMA: 16 registers of 8 floats; a tile of 6 x 2 accumulators, 2 operands, a broadcast.
#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define ATTN_NAME avx2
#define ATTN_W 8
#define ATTN_VECTORS 2
#define ATTN_TILE 6
#define ATTN_KEEP(x) __asm__("" : "+x"(x))
#define ATTN_OVERLAP 0
#include "../template/kernels.h"
#pragma clang attribute pop
#endif
