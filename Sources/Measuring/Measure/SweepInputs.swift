import Attention
import Records
import Statistics
import Units

/// Where the query, key and value of a sweep come from.
public enum SweepInputs: Sendable {
  /// Unit normals, the same for the same seed.
  case normal(seed: UInt64)
  /// The user's tensors; a size n takes their first n queries and keys.
  case tensors(FileProblem)

  /// What strategies declare beyond the three, by name.
  ///
  /// - Throws: `AttentionError` naming an operand that the user's tensors lack, and when memory is
  ///   refused.
  public func operands(
    _ declarations: [OperandDeclaration], for shape: AttentionShape
  ) throws(AttentionError) -> [String: Tensor] {
    switch self {
    case .normal(let seed): try declarations.random(for: shape, seed: seed)
    case .tensors(let given): try given.operands(declarations, for: shape)
    }
  }
}

extension FileProblem {
  /// The largest n that a sweep can take from these tensors.
  public var rows: Int { min(shape.queryLength, shape.keyLength) }

  /// The shape with the first n queries and keys.
  ///
  /// - Parameter queries: query rows, where they are not as many.
  /// - Throws: `PlanError` that says how many rows there are.
  public func shape(n: Int, queries: Int? = nil) throws(PlanError) -> AttentionShape {
    let rows = queries == nil ? rows : shape.keyLength
    func refusal(_ rule: String) -> PlanError {
      PlanError(argument: "--n", value: "\(n)", rule: rule, fix: "use sizes up to \(rows)")
    }
    guard n <= rows else { throw refusal("the tensors of --inputs have \(rows) rows") }
    if let queries, queries > shape.queryLength {
      throw PlanError(
        argument: "--decode", value: "\(queries)",
        rule: "the tensors of --inputs have \(shape.queryLength) queries",
        fix: "use at most that")
    }
    do throws(AttentionError) {
      return try AttentionShape(
        batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads,
        queryLength: queries ?? n, keyLength: n, headDim: shape.headDim, valueDim: shape.valueDim)
    } catch {
      throw refusal("\(error)")
    }
  }

  /// The sizes of a sweep that names none: the usual ones as far as there are rows, all rows, and of few
  /// rows some that double up to them.
  ///
  /// - Parameter isDecoding: whether sizes are numbers of keys.
  public func usualSizes(isDecoding: Bool = false) throws(PlanError) -> [Int] {
    let rows = isDecoding ? shape.keyLength : rows
    let last = min(rows, SizeList.usual.sizes.last ?? rows)
    let first = min(SizeList.usual.sizes.first ?? 1, max(1, last / 8))
    return try SizeList(parsing: "\(first)..\(last)").sizes
  }

  /// Copies the first rows of every head into tensors of that many rows.
  package func copy(query: Tensor, key: Tensor, value: Tensor) throws {
    try withViews { queryView, keyView, valueView in
      for (view, tensor) in [(queryView, query), (keyView, key), (valueView, value)] {
        tensor.copyFirstRows(of: view)
      }
    }
  }
}

extension Tensor {
  /// Overwrites a tensor in the default layout with the first rows of each head of a larger one.
  fileprivate func copyFirstRows(of view: TensorView) {
    let target = self.view
    for batch in 0..<shape.batch {
      for head in 0..<shape.heads {
        for row in 0..<shape.rows {
          let from = view.row(batch, head, row)
          let to =
            batch * target.batchStride + head * target.headStride + row * target.rowStride
          for column in 0..<shape.columns { elements[to + column] = from[column] }
        }
      }
    }
  }
}
