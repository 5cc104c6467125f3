import CAttentionKernels
import Tensors

/// How words of 32 bits hold the operands of an arithmetic: an fp32 number, or a pair of bf16 numbers.
extension Arithmetic {
  package var format: attn_format { self == .float32 ? ATTN_FP32 : ATTN_BF16_PAIRS }

  /// The elements that are multiplied.
  package var elementType: ElementType { self == .float32 ? .float32 : .bfloat16 }

  /// Elements of a word. Keys are visited in multiples of it.
  package var grain: Int { self == .float32 ? 1 : 2 }

  /// Words of a row of queries or keys.
  package func words(_ columns: Int) -> Int { (columns + grain - 1) / grain }

  /// Columns of a row of values: of pairs, whole multiples of what a kernel takes at a time.
  package func wholeColumns(_ columns: Int) -> Int {
    let step = self == .float32 ? 1 : Int(ATTN_PAIR_COLUMNS)
    return (columns + step - 1) / step * step
  }
}
