import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// Tables of the key and value rows that are met together, and room for copies of rows that are not met as they
/// are stored.
struct KeyValueRows {
  /// Where its memory lies.
  struct Layout: Sendable {
    /// `[count]` each.
    fileprivate let keys: ArenaPart<UnsafeRawPointer>
    fileprivate let values: ArenaPart<UnsafeRawPointer>
    /// `[count][d]` and `[count][dV]` as fp32, where there are copies.
    fileprivate let keyCopies: ArenaPart<Float>
    fileprivate let valueCopies: ArenaPart<Float>
    fileprivate let isCopied: Bool
    fileprivate let elementType: ElementType

    /// - Parameters:
    ///   - count: rows that are met at a time.
    ///   - isCopied: whether rows are brought to fp32 before they are met.
    init(
      _ problem: AttentionProblem, count: Int, isCopied: Bool, in arena: inout ArenaLayout
    ) {
      keys = arena.add(count)
      values = arena.add(count)
      keyCopies = arena.add(isCopied ? count * problem.shape.headDim : 0)
      valueCopies = arena.add(isCopied ? count * problem.shape.valueDim : 0)
      self.isCopied = isCopied
      elementType = isCopied ? .float32 : problem.storage.keyValue
    }
  }

  /// `[count]` each.
  let keys: RowPointers
  let values: RowPointers
  /// How rows lie when they are met.
  let elementType: ElementType
  private let keyCopies: UnsafeMutablePointer<Float>
  private let valueCopies: UnsafeMutablePointer<Float>
  private let isCopied: Bool
  private let functions: UnsafePointer<attn_kernels>

  /// - Parameter arena: outlives it.
  init(
    _ parts: Layout, _ arena: borrowing Arena, _ functions: UnsafePointer<attn_kernels>
  ) {
    keys = arena[parts.keys]
    values = arena[parts.values]
    elementType = parts.elementType
    keyCopies = arena[parts.keyCopies]
    valueCopies = arena[parts.valueCopies]
    isCopied = parts.isCopied
    self.functions = functions
  }

  /// Points at the rows of some places of a key sequence, from a place of the tables on.
  func point(
    _ place: Int = 0, at places: Range<Int>, of sequence: KeySequence, _ batch: Int, _ kvHead: Int,
    _ operands: AttentionOperands
  ) {
    (keys + place).point(
      at: places, of: sequence, in: operands.key, batch: batch, head: kvHead)
    (values + place).point(
      at: places, of: sequence, in: operands.value, batch: batch, head: kvHead)
  }

  /// Points at consecutive rows.
  func point(
    _ place: Int = 0, at rows: Range<Int>, _ batch: Int, _ kvHead: Int,
    _ operands: AttentionOperands
  ) {
    point(place, at: 0..<rows.count, of: KeySequence(rows), batch, kvHead, operands)
  }

  /// Copies the first rows of the tables where they are not met as they are stored.
  func bring(_ count: Int, _ batch: Int, _ kvHead: Int, _ operands: AttentionOperands) {
    if !isCopied { return }
    keys.bring(count, of: operands.key, batch, kvHead, by: keyCopies, functions)
    values.bring(count, of: operands.value, batch, kvHead, by: valueCopies, functions)
  }
}
