import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// One worker's bf16 operands: what is not stored as the kernels want it is copied here, a panel or
/// a block at a time.
///
/// A row is even: where it has an odd number of elements a zero follows.
final class BFloat16Scratch: @unchecked Sendable {
  let functions: UnsafePointer<attn_bf16_kernels>
  /// Pairs of elements in a row of queries or keys.
  let headWords: Int
  let scale: ScoreScale
  private let memory: AlignedFloats
  private let valueDim: Int
  private let lanes: Int

  /// Rows of a panel's output: its last tile of value columns is whole.
  static func outputRows(_ valueDim: Int) -> Int {
    (valueDim + Int(ATTN_BF16_COLUMNS) - 1) & ~(Int(ATTN_BF16_COLUMNS) - 1)
  }

  private static func wordCount(_ shape: AttentionShape, lanes: Int) -> Int {
    let (headWords, valueWords) = ((shape.headDim + 1) / 2, (shape.valueDim + 1) / 2)
    return Int(ATTN_BLOCK_KEYS) * (headWords + valueWords)
      + Int(ATTN_BLOCK_KEYS) / 2 * outputRows(shape.valueDim) + lanes * headWords
  }

  /// Bytes of one worker's memory.
  static func bytes(_ shape: AttentionShape, lanes: Int) -> Int {
    4 * wordCount(shape, lanes: lanes)
  }

  init(
    _ problem: AttentionProblem, lanes: Int, functions: UnsafePointer<attn_bf16_kernels>
  ) throws(AttentionError) {
    let shape = problem.shape
    self.functions = functions
    self.lanes = lanes
    headWords = (shape.headDim + 1) / 2
    valueDim = shape.valueDim
    scale = ScoreScale(problem.scale)
    memory = try AlignedFloats(
      count: BFloat16Scratch.wordCount(shape, lanes: lanes), for: "workspace", touched: true)
  }

  private func words(at offset: Int) -> UnsafeMutableRawPointer {
    UnsafeMutableRawPointer(memory.base + offset)
  }

  /// `[ATTN_BLOCK_KEYS / 2][outputRows]` words: the values of a block, pairs of keys.
  var valuePairs: UnsafeMutablePointer<UInt32> {
    words(at: 0).assumingMemoryBound(to: UInt32.self)
  }
  private var pairCount: Int {
    Int(ATTN_BLOCK_KEYS) / 2 * BFloat16Scratch.outputRows(valueDim)
  }
  /// `[ATTN_BLOCK_KEYS]` even rows.
  var keyCopies: UnsafeMutableRawPointer { words(at: pairCount) }
  /// `[ATTN_BLOCK_KEYS]` even rows.
  var valueCopies: UnsafeMutableRawPointer {
    keyCopies + 4 * Int(ATTN_BLOCK_KEYS) * headWords
  }
  /// `[L]` even rows.
  var queryCopies: UnsafeMutableRawPointer {
    valueCopies + 4 * Int(ATTN_BLOCK_KEYS) * ((valueDim + 1) / 2)
  }
}

extension RowPointers {
  /// The table as the kernels read it, where all rows are bf16.
  @inline(__always)
  var bf16: UnsafePointer<UnsafePointer<UInt16>> {
    UnsafeRawPointer(self).assumingMemoryBound(to: UnsafePointer<UInt16>.self)
  }

  /// Rounds the first `count` rows, which must be fp32, into even rows and points at those.
  func round(
    count: Int, columns: Int, into copies: UnsafeMutableRawPointer,
    _ functions: UnsafePointer<attn_bf16_kernels>
  ) {
    functions.pointee.round_rows(
      floats, Int32(count), Int32(columns), copies.assumingMemoryBound(to: UInt16.self))
    let stride = (columns + 1) / 2 * 4
    for i in 0..<count { self[i] = UnsafeRawPointer(copies + i * stride) }
  }

  /// Copies the first `count` rows, which must be bf16, into even rows and points at those.
  func copyEven(count: Int, columns: Int, into copies: UnsafeMutableRawPointer) {
    let stride = (columns + 1) / 2 * 4
    for i in 0..<count {
      let copy = copies + i * stride
      copy.storeBytes(of: 0, toByteOffset: stride - 4, as: UInt32.self)
      copy.copyMemory(from: self[i], byteCount: 2 * columns)
      self[i] = UnsafeRawPointer(copy)
    }
  }
}
