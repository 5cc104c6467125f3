import Attention
import Records
import Statistics
import Units

/// Query, key and value of one problem, and what strategies take beyond them, in memory of their own.
public struct ProblemTensors: Sendable {
  /// `[b, h, nQ, d]`.
  public let query: Tensor
  /// `[b, hKV, nKV, d]`.
  public let key: Tensor
  /// `[b, hKV, nKV, dV]`.
  public let value: Tensor
  /// What strategies declare beyond these, by name, in fp32.
  public private(set) var named: [String: Tensor] = [:]

  /// Tensors of zeros.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public init(_ shape: AttentionShape, layout: TensorLayout = .bhnd) throws(AttentionError) {
    query = try Tensor(shape.query, layout: layout)
    key = try Tensor(shape.key, layout: layout)
    value = try Tensor(shape.value, layout: layout)
  }

  /// Independent standard normal elements, the same for the same shape and seed.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  public init(random shape: AttentionShape, seed: UInt64) throws(AttentionError) {
    try self.init(shape)
    for (role, tensor) in [query, key, value].enumerated() {
      NormalFill(tensor, role: role, seed: seed).work(worker: 0)
    }
  }

  private init(query: Tensor, key: Tensor, value: Tensor, named: [String: Tensor]) {
    self.query = query
    self.key = key
    self.value = value
    self.named = named
  }

  /// The same query, key and value with these operands beside them instead of those that there were.
  public func with(_ named: [String: Tensor]) -> ProblemTensors {
    ProblemTensors(query: query, key: key, value: value, named: named)
  }

  /// Query, key, value and those of the operands that a strategy takes.
  package func views(for strategy: any AttentionStrategy) -> InputViews {
    var views = views
    let taken = Set(strategy.operands.map(\.name))
    views.named = views.named.filter { taken.contains($0.key) }
    return views
  }

  /// All of them, for a plan or an oracle. The views do not keep the tensors alive.
  public var views: InputViews {
    InputViews(
      query: query.view, key: key.view, value: value.view, named: named.mapValues(\.view))
  }

  /// The same numbers rounded to other element types; fp32 gives them back without another rounding.
  /// Named operands stay as they are.
  ///
  /// - Throws: `AttentionError` when an element type is an integer or memory is refused.
  public func stored(as elements: Storage) throws(AttentionError) -> ProblemTensors {
    func copy(_ tensor: Tensor, _ type: ElementType) throws(AttentionError) -> Tensor {
      try tensor.elementType == type
        ? tensor : Tensor(copying: tensor.view, as: type, layout: tensor.layout)
    }
    return ProblemTensors(
      query: try copy(query, elements.query), key: try copy(key, elements.keyValue),
      value: try copy(value, elements.keyValue), named: named)
  }
}
