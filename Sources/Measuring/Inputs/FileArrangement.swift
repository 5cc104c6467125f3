import Attention
import Records
import Statistics
import Units

/// How the axes of tensors in files are to be read.
public struct FileArrangement: Sendable {
  /// Query and key/value heads of tensors `[b, n, h d]`, which hold all heads of a row behind each
  /// other.
  public struct FoldedHeads: Sendable {
    /// `h`.
    public var query: Int
    /// `hKV`.
    public var keyValue: Int

    /// States both numbers.
    public init(query: Int, keyValue: Int) {
      self.query = query
      self.keyValue = keyValue
    }
  }

  /// The order of the axes.
  public var layout: TensorLayout
  /// Not nil for tensors of rank 3 whose last axis holds the heads, too; `layout` then is `bnhd`.
  public var foldedHeads: FoldedHeads?
  /// The first row of each sequence and the number of all rows, where sequences of unequal length
  /// lie behind each other along the axis `n`: queries and keys. Nil for a batch axis.
  public var sequenceStarts: (query: [Int], key: [Int])?

  /// Tensors of rank 3 or 4 in the given order.
  public init(_ layout: TensorLayout = .bhnd) { self.layout = layout }

  /// How past and present keys and values lie: as the tensors do, and `[b, h, n, d]` where those
  /// hold their heads in the last axis.
  var caches: FileArrangement { FileArrangement(foldedHeads == nil ? layout : .bhnd) }
}

/// Where the rows of one tensor in a file lie.
struct FilePlacement: Sendable {
  let batch: Int
  let heads: Int
  /// Of the longest sequence.
  let rows: Int
  let columns: Int
  /// Rows of each of several packed sequences.
  let sequenceLengths: [Int]?

  private let layout: TensorLayout
  private let isFolded: Bool
  private let fileShape: [Int]
  /// Rows of a head in the file.
  private let fileRows: Int
  private let starts: RowStarts?

  /// - Parameters:
  ///   - folded: the heads of the last axis, if it holds them.
  ///   - starts: the first row of each sequence and the end, for packed ones.
  ///   - mayBeEmpty: whether there may be no rows.
  init(
    _ source: FileProblem.Source, _ arrangement: FileArrangement, folded: Int? = nil,
    starts: [Int]? = nil, mayBeEmpty: Bool = false
  ) throws(FileProblemError) {
    let sizes = source.tensor.shape
    func refusal(_ rule: String) -> FileProblemError {
      FileProblemError(source: source.name, problem: "has shape \(sizes); \(rule)")
    }
    let isBHND = arrangement.layout == .bhnd
    guard sizes.count == 3 || sizes.count == 4 && folded == nil else {
      throw refusal(
        folded != nil
          ? "[b, n, heads x d] is needed"
          : (isBHND ? "[h, n, d] or [b, h, n, d]" : "[n, h, d] or [b, n, h, d]") + " is needed")
    }
    let inner = sizes.suffix(3).map { $0 }
    if let folded {
      guard folded > 0, inner[2] % folded == 0 else {
        throw refusal("its last axis must be a multiple of the \(folded) heads it holds")
      }
      (heads, fileRows, columns) = (folded, inner[1], inner[2] / folded)
    } else {
      (heads, fileRows) = isBHND ? (inner[0], inner[1]) : (inner[1], inner[0])
      columns = inner[2]
    }
    guard sizes.allSatisfy({ $0 > 0 }) || mayBeEmpty && fileRows == 0 && columns > 0 else {
      throw refusal("every size must be at least 1")
    }
    let fileBatch = folded != nil || sizes.count == 4 ? sizes[0] : 1
    if let starts {
      guard fileBatch == 1 else {
        throw refusal("sequences behind each other are one batch entry")
      }
      guard starts.last == fileRows else {
        throw refusal(
          "the sequences end at row \(starts.last ?? 0), and it has \(fileRows) rows a head")
      }
      batch = starts.count - 1
      rows = zip(starts.dropFirst(), starts).map { $0 - $1 }.max() ?? 0
      self.starts = RowStarts(starts)
      sequenceLengths = zip(starts.dropFirst(), starts).map { $0 - $1 }
    } else {
      (batch, rows, self.starts) = (fileBatch, fileRows, nil)
      sequenceLengths = nil
    }
    layout = arrangement.layout
    isFolded = folded != nil
    fileShape = sizes
  }

  var isPacked: Bool { starts != nil }
  /// The file's rank.
  var rank: Int { fileShape.count }

  /// The shape of a file with the same rows and other columns; nil leaves out the axis, a number
  /// for each row.
  func shape(columns: Int?) -> [Int] {
    let outer = fileShape.dropLast()
    if isFolded { return outer + [heads * (columns ?? 1)] }
    return outer + [columns].compactMap { $0 }
  }

  /// The shape of a file with each head several times, and how many runs of heads there are before the
  /// axis of heads; the heads of a row in one axis, of which keys and values have as many, do not occur.
  func repeatingHeads(_ share: Int) -> (shape: [Int], outer: Int) {
    let axis = fileShape.count - (layout == .bhnd ? 3 : 2)
    var sizes = fileShape
    sizes[axis] *= share
    return (sizes, fileShape[..<axis].reduce(1, *))
  }

  /// The shape of a file with another number of rows.
  func shape(rows: Int) -> [Int] {
    var sizes = fileShape
    sizes[sizes.count - (layout == .bhnd ? 2 : 3)] = rows
    return sizes
  }

  /// Elements between batch entries, heads and rows of `columns` elements.
  func strides(columns: Int) -> (batch: Int, head: Int, row: Int) {
    let batch = heads * fileRows * columns
    return layout == .bhnd
      ? (batch, fileRows * columns, columns) : (batch, columns, heads * columns)
  }

  /// The tensor at an address, with as many columns as it has or is given.
  func view(
    _ address: UnsafeRawPointer, _ type: ElementType, columns: Int
  ) throws(AttentionError) -> TensorView {
    try TensorView(
      address, type, shape: TensorShape(batch, heads, rows, columns),
      strides: strides(columns: columns), placement: starts?.placement ?? .strided,
      owner: starts)
  }

  /// As `view`, for writing.
  func mutableView(
    _ address: UnsafeMutableRawPointer, _ type: ElementType, columns: Int
  ) throws(AttentionError) -> MutableTensorView {
    try MutableTensorView(
      address, type, shape: TensorShape(batch, heads, rows, columns),
      strides: strides(columns: columns), placement: starts?.placement ?? .strided,
      owner: starts)
  }
}

/// Owns the table of a packed placement.
private final class RowStarts: @unchecked Sendable {
  private let base: UnsafeMutablePointer<Int32>

  /// The starts fit 32 bits, for they are at most a checked number of rows.
  init(_ starts: [Int]) {
    base = .allocate(capacity: starts.count)
    for (index, start) in starts.enumerated() { base[index] = Int32(clamping: start) }
  }

  deinit { base.deallocate() }

  var placement: RowPlacement { .packed(starts: base) }
}
