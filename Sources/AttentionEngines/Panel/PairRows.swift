import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// What makes scores of products: queries are packed times one factor, products multiplied by another.
///
/// fp32 queries, and rows with scales of their own, take all of it. bf16 ones take a power of two, which changes no bit of them, and the
/// rest follows in fp32; it is above 0, so that a hidden key's score stays -inf.
extension ScoreScale {
  init(_ scale: Float, for arithmetic: Arithmetic) {
    if arithmetic != .bfloat16 {
      self.init(ofQueries: scale * .log16e, ofProducts: 1)
    } else {
      self.init(scale)
    }
  }
}

extension RowPointers {
  /// Rounds the first `count` rows, which must be fp32, to bf16 rows of whole words and points at
  /// those.
  func round(
    count: Int, columns: Int, into copies: UnsafeMutableRawPointer,
    _ pairs: UnsafePointer<attn_pair_rows>
  ) {
    pairs.pointee.round_rows(floats, Int32(count), Int32(columns), copies)
    let stride = (columns + 1) / 2 * 4
    for i in 0..<count { self[i] = UnsafeRawPointer(copies + i * stride) }
  }

  /// Copies the first `count` rows, which must be bf16, to rows of whole words and points at those.
  func copyWords(count: Int, columns: Int, into copies: UnsafeMutableRawPointer) {
    let stride = (columns + 1) / 2 * 4
    for i in 0..<count {
      let copy = copies + i * stride
      copy.storeBytes(of: 0, toByteOffset: stride - 4, as: UInt32.self)
      copy.copyMemory(from: self[i], byteCount: 2 * columns)
      self[i] = UnsafeRawPointer(copy)
    }
  }
}
