import CAttentionKernels
import Tensors

/// How words of 32 bits hold the operands of an arithmetic with a table of kernels: a number, two or four.
///
/// Unchecked: its tables are constants of the program.
package struct OperandFormat: @unchecked Sendable {
  /// What the kernels call it.
  package let code: attn_format
  /// Elements of a word of a query or a key.
  package let wordColumns: Int
  /// Keys of a word of weights or values. Keys are visited in multiples of it.
  package let wordKeys: Int
  /// What makes pairs of bf16 rows; nil elsewhere.
  package let pairs: UnsafePointer<attn_pair_rows>?
  /// What makes rows with scales; nil elsewhere.
  package let scaled: UnsafePointer<attn_scaled_rows>?

  package init(_ arithmetic: Arithmetic, in kernels: KernelTable) {
    switch arithmetic {
    case .float32: (code, wordColumns, wordKeys) = (ATTN_FP32, 1, 1)
    case .bfloat16: (code, wordColumns, wordKeys) = (ATTN_BF16_PAIRS, 2, 2)
    case .float16: (code, wordColumns, wordKeys) = (ATTN_FP16_PAIRS, 2, 2)
    case .int8: (code, wordColumns, wordKeys) = (ATTN_INT8_QUADS, 4, 4)
    case .int8Scores:
      let hasHalves = attn_format_supported(kernels.functions, ATTN_INT8_SCORES_FP16) != 0
      (code, wordColumns, wordKeys) =
        hasHalves ? (ATTN_INT8_SCORES_FP16, 4, 2) : (ATTN_INT8_SCORES_FP32, 4, 1)
    }
    let table = attn_format_table(kernels.functions, code)
    pairs = table?.pointee.pairs
    scaled = table?.pointee.scaled
  }

  /// What the values are multiplied in.
  package var ofValues: Arithmetic {
    switch code {
    case ATTN_INT8_QUADS: .int8
    case ATTN_FP16_PAIRS, ATTN_INT8_SCORES_FP16: .float16
    case ATTN_BF16_PAIRS: .bfloat16
    default: .float32
    }
  }

  /// Whether operands are rows of fp32 numbers as they come.
  package var isFloat32: Bool { code == ATTN_FP32 }

  /// Words of a row of queries or keys.
  package func words(_ columns: Int) -> Int { (columns + wordColumns - 1) / wordColumns }

  /// Columns of a row of values: unless those are fp32, whole multiples of what a kernel takes at a time.
  package func wholeColumns(_ columns: Int) -> Int {
    let step = ofValues == .float32 ? 1 : Int(ATTN_PAIR_COLUMNS)
    return (columns + step - 1) / step * step
  }

  /// Keys that are scored together and begin a word: what blocks and whole pieces are multiples of.
  package func tileKeys(_ kernels: KernelTable) -> Int {
    var keys = kernels.tileKeys
    while keys % wordKeys != 0 { keys += kernels.tileKeys }
    return keys
  }
}
