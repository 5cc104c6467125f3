// Any processor: vectors of 4 floats that the compiler lowers to what the baseline has.
#define ATTN_NAME portable
#define ATTN_W 4
#define ATTN_VECTORS 2
#define ATTN_TILE 6
#define ATTN_KEEP(x) (void)(x)
#define ATTN_OVERLAP 0
#include "../template/kernels.h"
