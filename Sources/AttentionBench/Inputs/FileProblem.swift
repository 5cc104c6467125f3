import Attention
import TensorFiles

/// Why tensors from files are no attention problem: which argument named the tensor, and the rule.
public struct FileProblemError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The argument and file at fault: `--k k.npy`.
  public let source: String
  /// What is wrong and what would fit.
  public let problem: String

  /// One line: the argument, what is wrong and what would fit.
  public var description: String { "\(source) \(problem)" }
}

/// Query, key and value read from files, known to fit together.
///
/// Tensors have rank 4 `[b, h, n, d]` or rank 3 `[h, n, d]`; with the layout `bnhd`, `[b, n, h, d]`
/// or `[n, h, d]`.
public struct FileProblem: Sendable {
  /// A tensor and the words that name it in messages: `--k k.npy`.
  public struct Source: Sendable {
    /// The tensor.
    public let tensor: HostTensor
    /// The argument and the file.
    public let name: String

    /// Names a tensor.
    public init(_ tensor: HostTensor, name: String) {
      self.tensor = tensor
      self.name = name
    }
  }

  /// The sizes the three agree on.
  public let shape: AttentionShape
  /// The order of the axes in memory.
  public let layout: TensorLayout
  /// The rank of the query, which the output gets too.
  public let rank: Int

  private let sources: [Source]

  /// Checks that three tensors fit together.
  ///
  /// - Throws: `FileProblemError` naming the tensor that does not.
  public init(
    query: Source, key: Source, value: Source, layout: TensorLayout = .bhnd
  ) throws(FileProblemError) {
    let q = try Axes(query, layout)
    let k = try Axes(key, layout)
    let v = try Axes(value, layout)
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
    self.layout = layout
    rank = query.tensor.shape.count
    sources = [query, key, value]
  }

  /// Calls `body` with query, key and value as they lie in memory, without a copy. The views are
  /// valid during the call only.
  public func withViews<Result>(
    _ body: (TensorView, TensorView, TensorView) throws -> Result
  ) throws -> Result {
    try withView(0, shape.query) { query in
      try withView(1, shape.key) { key in
        try withView(2, shape.value) { value in try body(query, key, value) }
      }
    }
  }

  /// A copy that can be written.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public func tensors() throws(AttentionError) -> ProblemTensors {
    let copy = try ProblemTensors(shape, layout: layout)
    for (source, target) in zip(sources, [copy.query, copy.key, copy.value]) {
      source.tensor.withUnsafeElements { elements in
        _ = target.elements.update(from: elements)
      }
    }
    return copy
  }

  /// A tensor with the rank and the layout of the query: `[b, h, nQ]`, in that layout, and the
  /// sizes of `trailing`.
  ///
  /// - Throws: what `body`, which must write every element, throws, or a failed allocation.
  func makeTensor(
    trailing: [Int], initializing body: (UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws -> HostTensor {
    let inner =
      layout == .bhnd ? [shape.heads, shape.queryLength] : [shape.queryLength, shape.heads]
    return try HostTensor(
      shape: (rank == 3 ? [] : [shape.batch]) + inner + trailing, initializing: body)
  }

  private func withView<Result>(
    _ index: Int, _ shape: TensorShape, _ body: (TensorView) throws -> Result
  ) throws -> Result {
    try sources[index].tensor.withUnsafeElements { elements in
      // A checked shape has at least one element, so there is a first one.
      guard let base = elements.baseAddress else {
        throw FileProblemError(source: sources[index].name, problem: "is empty")
      }
      return try body(TensorView(base, shape: shape, layout: layout))
    }
  }
}

/// The four sizes of one tensor.
private struct Axes {
  let batch: Int
  let heads: Int
  let rows: Int
  let columns: Int

  init(_ source: FileProblem.Source, _ layout: TensorLayout) throws(FileProblemError) {
    let sizes = source.tensor.shape
    let letters = layout == .bhnd ? "[h, n, d] or [b, h, n, d]" : "[n, h, d] or [b, n, h, d]"
    guard sizes.count == 3 || sizes.count == 4 else {
      throw FileProblemError(
        source: source.name, problem: "has shape \(sizes); \(letters) is needed")
    }
    guard !sizes.contains(0) else {
      throw FileProblemError(
        source: source.name, problem: "has shape \(sizes); every size must be at least 1")
    }
    let inner = sizes.suffix(3).map { $0 }
    batch = sizes.count == 4 ? sizes[0] : 1
    (heads, rows) = layout == .bhnd ? (inner[0], inner[1]) : (inner[1], inner[0])
    columns = inner[2]
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
