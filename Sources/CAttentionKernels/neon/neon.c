// NEON: 32 registers of 4 floats; a tile of 8 x 3 accumulators.
#if defined(__aarch64__)
#include <arm_neon.h>
#define ATTN_NAME neon
#define ATTN_W 4
#define ATTN_VECTORS 3
#define ATTN_TILE 8
#define ATTN_KEEP(x) __asm__("" : "+w"(x))
#define ATTN_OVERLAP 1
#define ATTN_FROM_HALF(x) ((vf)vcvt_f32_f16((float16x4_t)(x)))
#define ATTN_TO_HALF(x) ((halves)vcvt_f16_f32((float32x4_t)(x)))
#include "../template/kernels.h"
#endif
