import Attention

/// A strategy as somebody outside the package would add it: a key pattern handed to the softmax
/// engine, nothing else. A query sees its own block of `size` keys and the block before it.
struct BlockDiagonalAttention: PatternStrategy {
  static let family = StrategyFamily(
    "blockdiagonal", operatorClass: .restricted,
    summary: "the own block of keys and the one before", source: "defined by a test",
    parameters: [StrategyParameter("size", "keys in a block (default 8)")]
  ) { arguments throws(AttentionError) in try BlockDiagonalAttention(arguments) }

  private let size: Int

  init(_ arguments: StrategyArguments) throws(AttentionError) {
    size = try arguments.integer("size", atLeast: 1) ?? 8
  }

  func resolvedParameters(for problem: AttentionProblem) -> String { "\(size)" }

  func pattern(for geometry: MaskGeometry) -> any KeyPattern {
    BlockDiagonalPattern(geometry: geometry, size: size)
  }
}

/// In two passes, so that the merge of passes and rows that travel with a stride are exercised
/// from outside too: the own block, then, every other row together, the block before.
struct BlockDiagonalPattern: KeyPattern {
  let geometry: MaskGeometry
  let size: Int

  private func block(_ position: Int) -> Int {
    Int((Double(position) / Double(size)).rounded(.down))
  }

  func includes(position: Int, key: Int) -> Bool {
    geometry.visible(from: position).contains(key)
      && (block(key) == block(position) || block(key) == block(position) - 1)
  }

  var rowStrides: [Int] { [1, 2] }

  func sequences(pass: Int, residue: Int) -> [KeySequence] {
    [KeySequence(0..<geometry.keyLength)]
  }

  // As the protocol offers it: so that runs over a growing cache need no list of sequences.
  func sequence(_ index: Int, pass: Int, residue: Int) -> KeySequence {
    KeySequence(0..<geometry.keyLength)
  }

  func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
    let first = (block(position) - pass) * size
    return (first..<first + size).clamped(to: geometry.visible(from: position))
  }
}
