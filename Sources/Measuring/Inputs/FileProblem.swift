import Attention
import Records
import Statistics
import TensorFiles
import Units

/// Why tensors from files are no attention problem: which argument named the tensor, and the rule.
public struct FileProblemError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The argument and file at fault: `--k k.npy`.
  public let source: String
  /// What is wrong and what would fit.
  public let problem: String

  /// States what is wrong with a source.
  public init(source: String, problem: String) {
    self.source = source
    self.problem = problem
  }

  /// One line: the argument, what is wrong and what would fit.
  public var description: String { "\(source) \(problem)" }
}

/// Query, key and value read from files, known to fit together.
///
/// Where values have more heads than queries and keys, each head of those serves several of values.
///
/// Tensors have rank 4 `[b, h, n, d]` or rank 3 `[h, n, d]`; with the layout `bnhd`, `[b, n, h, d]`
/// or `[n, h, d]`. With folded heads they are `[b, n, h d]`.
public struct FileProblem: Sendable {
  /// A tensor and the words that name it in messages: `--k k.npy`.
  public struct Source: Sendable {
    public let tensor: FileTensor
    /// The argument and the file.
    public let name: String

    /// Names a tensor of floating-point numbers.
    public init(_ tensor: FileTensor, name: String) {
      self.tensor = tensor
      self.name = name
    }

    /// Names a tensor in fp32.
    public init(_ tensor: HostTensor, name: String) {
      self.init(FileTensor(tensor), name: name)
    }

    /// The elements in fp32.
    ///
    /// - Throws: `FileProblemError` for what holds no floating-point numbers, or one that fp32 has no
    ///   room for; or a failed allocation.
    func floats(_ large: LargeNumbers = .refused) throws -> HostTensor {
      do {
        if let floats = try tensor.floats(large) { return floats }
      } catch let error as Float32RangeError {
        throw FileProblemError(source: name, problem: "\(error)")
      }
      throw FileProblemError(source: name, problem: "does not hold floating-point numbers")
    }

    /// Refuses numbers that fp32 has no room for, before anything is computed.
    fileprivate func checkFloat32Range() throws(FileProblemError) {
      do throws(Float32RangeError) {
        try tensor.checkFloat32Range()
      } catch {
        throw FileProblemError(source: name, problem: "\(error)")
      }
    }

    /// How its elements can lie in a problem; fp64 does not.
    var elementType: ElementType { tensor.elementType.elementType ?? .float32 }
  }

  private struct Operand: Sendable {
    let source: Source
    let placement: FilePlacement
  }

  /// The sizes the three agree on.
  public let shape: AttentionShape
  /// The order of the axes in memory.
  public let layout: TensorLayout
  /// Rows of the past that come before the new keys and values; nil where there is no past.
  public let pastLength: Int?
  /// Keys and values as they are after the new rows were appended to the past, or as given.
  public let present: (key: FileTensor, value: FileTensor)

  /// What strategies declare beyond the three, by name, in fp32; see `adding(_:declared:)`.
  var named: [String: Tensor] = [:]
  /// Where those are from, as users know it.
  var namedSources: [String: String] = [:]

  private let operands: [Operand]
  private var query: FilePlacement { operands[0].placement }

  /// Checks that three tensors fit together.
  ///
  /// - Throws: `FileProblemError` naming the tensor that does not.
  public init(
    query: Source, key: Source, value: Source, layout: TensorLayout = .bhnd
  ) throws {
    try self.init(query: query, key: key, value: value, arrangement: FileArrangement(layout))
  }

  /// Checks that tensors fit together.
  ///
  /// - Parameter past: what the keys and values are appended to.
  /// - Throws: `FileProblemError` naming the tensor that does not, or that holds a number that fp32 has no
  ///   room for; or a failed allocation.
  public init(
    query: Source, key newKey: Source, value newValue: Source, arrangement: FileArrangement,
    past: PastCache? = nil
  ) throws {
    for source in [query, newKey, newValue] + (past.map { [$0.key, $0.value] } ?? []) {
      try source.checkFloat32Range()
    }
    let (folded, starts) = (arrangement.foldedHeads, arrangement.sequenceStarts)
    let key = try past?.key.appending(newKey, arrangement, folded: folded?.keyValue) ?? newKey
    let value =
      try past?.value.appending(newValue, arrangement, folded: folded?.keyValue) ?? newValue
    let (cached, heads) =
      past == nil ? (arrangement, folded?.keyValue) : (arrangement.caches, nil)
    var (sharedQuery, sharedKey) = (query, key)
    var q = try FilePlacement(query, arrangement, folded: folded?.query, starts: starts?.query)
    var k = try FilePlacement(key, cached, folded: heads, starts: starts?.key)
    let v = try FilePlacement(value, cached, folded: heads, starts: starts?.key)
    let share = SharedHeads.share(query: q, key: k, value: v)
    if share > 1 {
      sharedQuery = try query.repeatingHeads(share, q)
      sharedKey = try key.repeatingHeads(share, k)
      q = try FilePlacement(sharedQuery, arrangement, starts: starts?.query)
      k = try FilePlacement(sharedKey, cached, starts: starts?.key)
    }
    try expect(k.batch, of: key, toBe: q.batch, of: query, "sequences (batch)")
    try expect(v.batch, of: value, toBe: q.batch, of: query, "sequences (batch)")
    try expect(k.columns, of: key, toBe: q.columns, of: query, "the head dimension")
    try expect(v.heads, of: value, toBe: k.heads, of: key, "key/value heads")
    try expect(v.rows, of: value, toBe: k.rows, of: key, "the key length")
    guard q.heads % k.heads == 0 else {
      throw FileProblemError(
        source: key.name,
        problem: "has \(k.heads) heads, and \(query.name) has \(q.heads); the query heads must be "
          + "a multiple of the key/value heads")
    }
    do throws(AttentionError) {
      shape = try AttentionShape(
        batch: q.batch, heads: q.heads, kvHeads: k.heads, queryLength: q.rows, keyLength: k.rows,
        headDim: q.columns, valueDim: v.columns)
    } catch {
      throw FileProblemError(source: query.name, problem: "\(error)")
    }
    layout = arrangement.layout
    pastLength = try past.map {
      try FilePlacement($0.key, arrangement.caches, mayBeEmpty: true).rows
    }
    present = (key.tensor, value.tensor)
    operands = [
      Operand(source: sharedQuery, placement: q), Operand(source: sharedKey, placement: k),
      Operand(source: value, placement: v),
    ]
  }

  public var rank: Int { query.rank }

  /// Whether sequences of unequal length lie behind each other.
  public var isPacked: Bool { query.isPacked }

  /// Rows of queries and keys in each of several packed sequences; nil where they are not packed.
  public var sequenceLengths: (query: [Int]?, key: [Int]?)? {
    isPacked
      ? (operands[0].placement.sequenceLengths, operands[1].placement.sequenceLengths) : nil
  }

  /// How the tensors are stored where a problem can have them so; fp32 for the others: fp64, and
  /// keys and values of two types.
  public var storedElements: Storage {
    let types = operands.map(\.source.elementType)
    return Storage(types[0], keyValue: types[1] == types[2] ? types[1] : .float32)
  }

  /// How the queries are stored in their file.
  public var queryType: FileElementType { operands[0].source.tensor.elementType }

  /// Calls `body` with query, key and value as they lie in memory. The views are valid during the
  /// call only.
  ///
  /// - Parameter elements: the types `body` gets; what is not stored so is converted to fp32 first.
  /// - Throws: what `body` throws, or a failed allocation.
  public func withViews<Result>(
    as elements: Storage = Storage(),
    _ body: (TensorView, TensorView, TensorView) throws -> Result
  ) throws -> Result {
    try withView(operands[0], as: elements.query) { query in
      try withView(operands[1], as: elements.keyValue) { key in
        try withView(operands[2], as: elements.keyValue) { value in try body(query, key, value) }
      }
    }
  }

  private func withView<Result>(
    _ operand: Operand, as type: ElementType, _ body: (TensorView) throws -> Result
  ) throws -> Result {
    let (source, placement) = (operand.source, operand.placement)
    func view(_ bytes: UnsafeRawBufferPointer, _ type: ElementType) throws -> TensorView {
      // A checked shape has at least one element, so there is a first one.
      guard let base = bytes.baseAddress else {
        throw FileProblemError(source: source.name, problem: "is empty")
      }
      return try placement.view(base, type, columns: placement.columns)
    }
    if type != .float32, type == source.elementType {
      return try source.tensor.withUnsafeBytes { try body(view($0, type)) }
    }
    return try source.floats().withUnsafeElements {
      try body(view(UnsafeRawBufferPointer($0), .float32))
    }
  }

  /// A copy that can be written; not of packed sequences.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public func tensors() throws(AttentionError) -> ProblemTensors {
    let tensors = try ProblemTensors(shape, layout: layout)
    do {
      try copy(query: tensors.query, key: tensors.key, value: tensors.value)
    } catch {
      throw error as? AttentionError
        ?? AttentionError(
          .outOfMemory, argument: "tensors", value: "\(shape.query)", advice: "\(error)")
    }
    return tensors
  }

  /// A tensor with a row for each query row, arranged as the query is.
  ///
  /// - Parameters:
  ///   - columns: of a row; nil for a number instead of a row.
  ///   - isZeroed: whether to clear it first, for runs that do not write every row.
  /// - Throws: what `body`, which must write the elements, throws, or a failed allocation.
  func makeTensor(
    columns: Int?, _ type: ElementType, isZeroed: Bool = false,
    initializing body: (MutableTensorView) throws -> Void
  ) throws -> FileTensor {
    try FileTensor(
      shape: query.shape(columns: columns), elementType: FileElementType(type) ?? .float32
    ) { bytes in
      // A checked shape has at least one element, so there is a first one.
      guard let base = bytes.baseAddress else { return }
      if isZeroed { _ = bytes.initializeMemory(as: UInt8.self, repeating: 0) }
      try body(query.mutableView(base, type, columns: columns ?? 1))
    }
  }

  /// A state as a file holds it: rank 4 unless the query has rank 3 for want of a batch axis.
  func stateTensor(_ state: Tensor) throws -> FileTensor {
    let all = [state.shape.batch, state.shape.heads, state.shape.rows, state.shape.columns]
    let isShort = query.shape(columns: nil).count == 2
    return try FileTensor(shape: isShort ? Array(all.dropFirst()) : all, elementType: .float32) {
      bytes in
      bytes.copyMemory(from: UnsafeRawBufferPointer(start: state.view.address, count: bytes.count))
    }
  }

  /// The shape of the score matrix: rank 4 unless the query has rank 3 for want of a batch axis.
  var scoreShape: [Int] {
    let matrix = [shape.heads, shape.queryLength, shape.keyLength]
    return query.shape(columns: nil).count == 2 ? matrix : [shape.batch] + matrix
  }
}

private func expect(
  _ found: Int, of source: FileProblem.Source, toBe expected: Int, of other: FileProblem.Source,
  _ what: String
) throws(FileProblemError) {
  if found == expected { return }
  throw FileProblemError(
    source: source.name,
    problem: "has shape \(source.tensor.shape) and \(other.name) has \(other.tensor.shape); "
      + "\(what) must agree: \(found) is not \(expected)")
}
