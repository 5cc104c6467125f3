// NEON: 32 registers of 4 floats; a tile of 8 x 3 accumulators.
#if defined(__aarch64__)
#define ATTN_NAME neon
#define ATTN_W 4
#define ATTN_VECTORS 3
#define ATTN_TILE 8
#define ATTN_KEEP(x) __asm__("" : "+w"(x))
#define ATTN_OVERLAP 1
#include "../template/kernels.h"
#endif
