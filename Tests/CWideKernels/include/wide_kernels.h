// The AVX-512 table's template parameters in plain vector code: its overlapped tiles, its panels of
// 48 rows, its exponential and its bf16 products, on processors that do not have AVX-512.
#pragma once
#include "attention_kernels.h"

/// The table; NULL where this processor cannot run it either.
const attn_kernels *_Nullable attn_wide_kernels(void);
