import AttentionContract
import AttentionKernels
import CAttentionKernels
import Tensors

/// A product of every row of queries or keys with a matrix of its head, declared as an operand.
struct RowProjection: Sendable {
  /// Name of the operand, `[1, heads, columns of the result, columns of a row]`, or the other way round.
  let operand: String
  /// Whether a row x becomes W^T x instead of W x.
  let isTransposed: Bool
  /// Columns of the result.
  let columns: Int

  init(by operand: String, isTransposed: Bool = false, columns: Int) {
    self.operand = operand
    self.isTransposed = isTransposed
    self.columns = columns
  }
}

/// Projected rows of a tensor, in fp32. Different rows are written by any worker.
final class ProjectedRows: @unchecked Sendable {
  let projection: RowProjection
  let shape: TensorShape
  private let memory: AlignedFloats

  static func shape(_ source: TensorShape, _ projection: RowProjection) -> TensorShape {
    TensorShape(unchecked: source.batch, source.heads, source.rows, projection.columns)
  }

  init(_ source: TensorShape, _ projection: RowProjection) throws(AttentionError) {
    self.projection = projection
    shape = Self.shape(source, projection)
    memory = try AlignedFloats(count: shape.count, for: "projected rows")
  }

  var view: TensorView { TensorView(dense: memory.base, .float32, shape: shape, layout: .bhnd) }

  func row(_ batch: Int, _ head: Int, _ row: Int) -> UnsafeMutablePointer<Float> {
    memory.base + ((batch * shape.heads + head) * shape.rows + row) * shape.columns
  }
}

/// One worker's memory for projecting a panel of rows.
final class ProjectionScratch {
  struct Layout: Sendable {
    private(set) var arena = ArenaLayout()
    fileprivate let kernels: KernelTable
    fileprivate let packed: ArenaPart<Float>
    fileprivate let products: ArenaPart<Float>
    fileprivate let copies: ArenaPart<Float>
    fileprivate let ones: ArenaPart<Float>
    fileprivate let inputRows: ArenaPart<UnsafeRawPointer>
    fileprivate let outputRows: ArenaPart<UnsafeMutablePointer<Float>>

    /// - Parameters:
    ///   - columns: of the rows that are read.
    ///   - projected: most columns of a result.
    init(columns: Int, projected: Int, kernels: KernelTable) {
      let lanes = kernels.panelLanes
      self.kernels = kernels
      packed = arena.add(columns * lanes)
      products = arena.add(projected * lanes)
      copies = arena.add(columns * lanes)
      ones = arena.add(lanes)
      inputRows = arena.add(lanes)
      outputRows = arena.add(lanes)
    }
  }

  private let layout: Layout
  private let arena: Arena
  private let functions: UnsafePointer<attn_kernels>
  private let lanes: Int

  init(_ layout: Layout) throws(AttentionError) {
    self.layout = layout
    arena = try Arena(layout.arena)
    functions = layout.kernels.functions
    lanes = layout.kernels.panelLanes
    arena[layout.ones].update(repeating: 1, count: lanes)
  }

  /// Projects rows of one head, at most a panel of them at a time.
  func project(
    _ rows: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int, by weights: TensorView,
    into projected: ProjectedRows
  ) {
    var first = rows.lowerBound
    while first < rows.upperBound {
      let panel = first..<min(first + lanes, rows.upperBound)
      projectPanel(panel, of: tensor, batch, head, by: weights, into: projected)
      first = panel.upperBound
    }
  }

  private func projectPanel(
    _ rows: Range<Int>, of tensor: TensorView, _ batch: Int, _ head: Int, by weights: TensorView,
    into projected: ProjectedRows
  ) {
    let (inputRows, outputRows) = (arena[layout.inputRows], arena[layout.outputRows])
    let (packed, products) = (arena[layout.packed], arena[layout.products])
    let columns = tensor.shape.columns
    let count = rows.count
    for (lane, row) in rows.enumerated() {
      inputRows[lane] = tensor.rowAddress(batch, head, row)
      outputRows[lane] = projected.row(batch, head, row)
    }
    if tensor.elementType != .float32 {
      inputRows.widen(
        count: count, columns: columns, storage: tensor.elementType.storage,
        columnScales: tensor.channelScales(batch, head), into: arena[layout.copies], functions)
    }
    functions.pointee.pack(inputRows.floats, Int32(count), Int32(columns), 1, packed)
    let matrix = weights.row(0, head, 0)
    let stride = Int64(weights.rowStride)
    let vectors = Int32(lanes / layout.kernels.vectorLanes)
    let result = Int32(projected.projection.columns)
    if projected.projection.isTransposed {
      products.update(repeating: 0, count: Int(result) * lanes)
      functions.pointee.take_in(
        matrix, stride, packed, Int64(lanes), Int32(columns), result, vectors, nil, nil,
        products)
    } else {
      functions.pointee.product(
        matrix, stride, result, Int32(columns), packed, Int64(lanes), vectors, ATTN_RECTANGLE, 0,
        products, Int64(lanes))
    }
    functions.pointee.unpack(products, arena[layout.ones], nil, Int32(count), result, outputRows)
  }
}
