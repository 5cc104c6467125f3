// Products of 8-bit integers (AVX512_VNNI): 64 an instruction.
#if defined(__x86_64__)
#include "avx512_shape.h"
#pragma clang attribute push(                                                     \
    __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,avx512vnni"))), \
    apply_to = function)
#include "avx512_scaled.h"
#include "../template/scaled_kernels.h"
#pragma clang attribute pop
#endif
