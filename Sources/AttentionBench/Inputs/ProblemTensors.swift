import Attention

/// Query, key and value of one problem, in memory of their own.
public struct ProblemTensors: Sendable {
  /// `[b, h, nQ, d]`.
  public let query: Tensor
  /// `[b, hKV, nKV, d]`.
  public let key: Tensor
  /// `[b, hKV, nKV, dV]`.
  public let value: Tensor

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

  private init(query: Tensor, key: Tensor, value: Tensor) {
    self.query = query
    self.key = key
    self.value = value
  }

  /// The same numbers rounded to other element types; fp32 gives them back without another rounding.
  ///
  /// - Throws: `AttentionError` when an element type is an integer or memory is refused.
  public func stored(as elements: Storage) throws(AttentionError) -> ProblemTensors {
    func copy(_ tensor: Tensor, _ type: ElementType) throws(AttentionError) -> Tensor {
      try tensor.elementType == type
        ? tensor : Tensor(copying: tensor.view, as: type, layout: tensor.layout)
    }
    return ProblemTensors(
      query: try copy(query, elements.query), key: try copy(key, elements.keyValue),
      value: try copy(value, elements.keyValue))
  }

  /// The same elements, one finite one in four replaced by a neighbouring fp32 number.
  ///
  /// A neighbour is at most 2u away, u = 2^-24 being the relative error of one rounding, so the
  /// root mean square of the change is at most u: as if every input had been rounded once more.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  func perturbed(_ shape: AttentionShape, seed: UInt64) throws(AttentionError) -> ProblemTensors {
    let copy = try ProblemTensors(shape, layout: query.layout)
    var generator = SeededGenerator(seed: seed)
    for (from, to) in [(query, copy.query), (key, copy.key), (value, copy.value)] {
      for (index, element) in from.elements.enumerated() {
        let choice = element.isFinite ? generator.next() >> 61 : 7
        to.elements[index] = choice == 0 ? element.nextUp : choice == 1 ? element.nextDown : element
      }
    }
    return copy
  }

  /// For every key a relative change d, uniform with mean square `share`^2: the tensors with values
  /// v (1 + d), and with values d.
  ///
  /// - Throws: `AttentionError` when the system refuses the memory.
  func movingWeights(
    by share: Double, _ shape: AttentionShape, seed: UInt64
  ) throws(AttentionError) -> (moved: ProblemTensors, moves: ProblemTensors) {
    let moved = try Tensor(shape.value, layout: value.layout)
    let moves = try Tensor(shape.value, layout: value.layout)
    var generator = SeededGenerator(seed: seed)
    let range = share * Double(3).squareRoot()
    let (from, out, own) = (value.view, moved.mutableView, moves.mutableView)
    for batch in 0..<shape.batch {
      for head in 0..<shape.kvHeads {
        for row in 0..<shape.keyLength {
          let change = Float(Double.random(in: -range...range, using: &generator))
          let elements = from.floats(batch, head, row)
          let (scaled, changes) = (out.row(batch, head, row), own.row(batch, head, row))
          for (column, element) in elements.enumerated() {
            scaled[column] = element * (1 + change)
            changes[column] = change
          }
        }
      }
    }
    return (
      ProblemTensors(query: query, key: key, value: moved),
      ProblemTensors(query: query, key: key, value: moves)
    )
  }
}
