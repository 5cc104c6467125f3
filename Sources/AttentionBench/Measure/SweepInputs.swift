import Attention
import TensorFiles

/// Where the query, key and value of a sweep come from.
public enum SweepInputs: Sendable {
  /// Unit normals, the same for the same seed.
  case normal(seed: UInt64)
  /// The user's tensors; a size n takes their first n rows.
  case tensors(InputTensors)
}

/// The user's query, key and value, known to fit each other.
public struct InputTensors: Sendable {
  private let inputs: AttentionInputs
  /// `[b, h, nQ, d]`, `[b, hKV, nKV, d]` and `[b, hKV, nKV, dV]`.
  private let query: TensorShape
  private let key: TensorShape
  private let value: TensorShape
  private let name: String

  /// Checks that three tensors of rank 4, or 3 with batch 1, fit each other.
  ///
  /// - Parameter name: what they are called in messages, such as the file's path.
  /// - Throws: `AttentionError` naming the tensor and the rule.
  public init(_ inputs: AttentionInputs, name: String) throws(AttentionError) {
    self.inputs = inputs
    self.name = name
    query = try Self.shape(of: inputs.query, "q", name)
    key = try Self.shape(of: inputs.key, "k", name)
    value = try Self.shape(of: inputs.value, "v", name)
    func mismatch(_ tensor: String, _ shape: TensorShape, _ advice: String) -> AttentionError {
      AttentionError(.shapeMismatch, argument: "\(tensor) of \(name)", value: shape, advice: advice)
    }
    guard key.batch == query.batch, key.columns == query.columns else {
      throw mismatch("k", key, "must agree with q \(query) in batch and head dimension")
    }
    guard value.batch == key.batch, value.heads == key.heads, value.rows == key.rows else {
      throw mismatch("v", value, "must agree with k \(key) in batch, heads and length")
    }
    guard query.heads % key.heads == 0 else {
      throw mismatch("q", query, "its heads must be a multiple of k's (\(key.heads))")
    }
  }

  /// Reads and checks `q`, `k` and `v` of a file.
  ///
  /// - Throws: `TensorFileError` when the file cannot be read, `AttentionError` when the tensors do
  ///   not fit each other.
  public init(_ reference: TensorReference) throws {
    try self.init(AttentionInputs(reference), name: reference.description)
  }

  /// How many rows there are: the largest n.
  public var rows: Int { min(query.rows, key.rows) }

  /// The problem's shape with the first n rows of each tensor.
  ///
  /// - Throws: `AttentionError` when n is below 1.
  public func shape(n: Int) throws(AttentionError) -> AttentionShape {
    try AttentionShape(
      batch: query.batch, heads: query.heads, kvHeads: key.heads, queryLength: n,
      headDim: query.columns, valueDim: value.columns)
  }

  /// Refuses sizes that are larger than the tensors.
  ///
  /// - Throws: `PlanError` that says how many rows there are.
  public func check(sizes: [Int]) throws(PlanError) {
    guard let largest = sizes.max(), largest > rows else { return }
    throw PlanError(
      argument: "--n", value: "\(largest)", rule: "\(name) has \(rows) rows",
      fix: "use sizes up to \(rows)")
  }

  /// Copies the first rows of every head into tensors of that many rows.
  func copy(query: Tensor, key: Tensor, value: Tensor) {
    Self.copy(inputs.query, rows: self.query.rows, to: query)
    Self.copy(inputs.key, rows: self.key.rows, to: key)
    Self.copy(inputs.value, rows: self.value.rows, to: value)
  }

  private static func copy(_ source: HostTensor, rows: Int, to target: Tensor) {
    let shape = target.shape
    let (from, to) = (rows * shape.columns, shape.rows * shape.columns)
    source.withUnsafeElements { elements in
      for head in 0..<shape.batch * shape.heads {
        for index in 0..<to { target.elements[head * to + index] = elements[head * from + index] }
      }
    }
  }

  private static func shape(
    of tensor: HostTensor, _ role: String, _ name: String
  ) throws(AttentionError) -> TensorShape {
    let sizes = tensor.shape.count == 3 ? [1] + tensor.shape : tensor.shape
    guard sizes.count == 4, sizes.allSatisfy({ $0 >= 1 }) else {
      throw AttentionError(
        .shapeMismatch, argument: "\(role) of \(name)", value: "\(tensor.shape)",
        advice: "must be [batch, heads, n, dim] or [heads, n, dim], each size at least 1")
    }
    return try TensorShape(sizes[0], sizes[1], sizes[2], sizes[3])
  }
}
