import Attention

/// Masks and biases of every kind that a test needs, from a seed.
public enum TestMask: String, Sendable, CaseIterable {
  /// Every key by itself.
  case random
  /// Blocks of rows and keys, half of them hidden: whole tiles hidden, plain and cut.
  case blocks
  /// Nearly all keys visible: most tiles plain.
  case dense
  /// Nearly all hidden.
  case sparse
  /// Every third row sees nothing, the others everything.
  case emptyRows
  /// One document after another; a query sees its own.
  case documents

  /// Whether the mask leaves key `key` visible to row `row`; blocks have `size` rows and keys.
  private func shows(_ row: Int, _ key: Int, size: Int, seed: Int) -> Bool {
    func number(_ a: Int, _ b: Int) -> Float {
      var generator = TestGenerator(seed: seed &* 7919 &+ a &* 104_729 &+ b)
      return generator.uniform()
    }
    return switch self {
    case .random: number(row, key) < 0.5
    case .blocks: number(row / size, key / size) < 0.5
    case .dense: number(row, key) < 0.995
    case .sparse: number(row, key) < 0.01
    case .emptyRows: row % 3 != 1
    case .documents: row / (3 * size) == key / (3 * size)
    }
  }

  /// A boolean mask `[batch, heads, rows, columns]`.
  public func mask(_ shape: TensorShape, size: Int = 16, seed: Int) -> BroadcastTensor<UInt8> {
    BroadcastTensor(shape) { elements in
      forEach(shape) { index, row, key, seed in
        // Any number but 0 shows a key.
        elements[index] = shows(row, key, size: size, seed: seed) ? UInt8(1 + key % 255) : 0
      } seed: {
        seed + $0
      }
    }
  }

  /// An additive mask of the same shape: -inf where the mask hides, elsewhere 0 or, with a
  /// deviation, noise.
  public func bias(
    _ shape: TensorShape, size: Int = 16, deviation: Float, seed: Int
  ) -> BroadcastTensor<Float> {
    var generator = TestGenerator(seed: seed)
    return BroadcastTensor(shape) { elements in
      forEach(shape) { index, row, key, seed in
        let noise = deviation == 0 ? 0 : deviation * generator.normal()
        elements[index] = shows(row, key, size: size, seed: seed) ? noise : -.infinity
      } seed: {
        seed + $0
      }
    }
  }

  private func forEach(
    _ shape: TensorShape, _ body: (_ index: Int, _ row: Int, _ key: Int, _ seed: Int) -> Void,
    seed: (Int) -> Int
  ) {
    for head in 0..<shape.batch * shape.heads {
      for row in 0..<shape.rows {
        for key in 0..<shape.columns {
          body((head * shape.rows + row) * shape.columns + key, row, key, seed(head))
        }
      }
    }
  }
}

extension AttentionProblem {
  /// The axes of a mask for the problem: broadcast along those whose bit in `number` is set, `short`
  /// columns less than keys.
  public func maskShape(_ number: Int, short: Int = 0) throws(AttentionError) -> TensorShape {
    try TensorShape(
      number & 1 != 0 ? 1 : shape.batch, number & 2 != 0 ? 1 : shape.heads,
      number & 4 != 0 ? 1 : shape.queryLength, max(shape.keyLength - short, 1))
  }

  /// The same problem with other options; what is not given stays.
  public func with(
    prefixLengths: [Int]? = nil, mask: BroadcastTensor<UInt8>? = nil,
    bias: BroadcastTensor<Float>? = nil, alibiSlopes: [Float]? = nil, softcap: Float? = nil,
    sinkLogits: [Float]? = nil
  ) throws(AttentionError) -> AttentionProblem {
    try with { _, scoring, visibility, _ in
      scoring.softcap = softcap ?? scoring.softcap
      scoring.sinkLogits = sinkLogits ?? scoring.sinkLogits
      visibility.prefixLengths = prefixLengths ?? visibility.prefixLengths
      visibility.mask = mask ?? visibility.mask
      visibility.bias = bias ?? visibility.bias
      visibility.alibiSlopes = alibiSlopes ?? visibility.alibiSlopes
    }
  }
}
