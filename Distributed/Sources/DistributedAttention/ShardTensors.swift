import Attention
import AttentionBench

/// What one rank holds of the tensors of a problem: its rows, in the order of its segments.
public struct ShardTensors {
  /// `[b, h, rows of the rank, d]`.
  public let query: Tensor
  /// `[b, hKV, key rows of the rank, d]`.
  public let key: Tensor
  /// `[b, hKV, key rows of the rank, dV]`.
  public let value: Tensor
  /// `[b, h, rows of the rank, dV]`.
  public let output: Tensor
  /// `[b, h, rows of the rank, 1]`.
  public let logSumExp: Tensor
  /// What the strategy takes beyond these, by name, as it declares it, of the rank's rows.
  public let named: [String: Tensor]

  /// Tensors that there are already.
  init(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, logSumExp: Tensor,
    named: [String: Tensor] = [:]
  ) {
    self.query = query
    self.key = key
    self.value = value
    self.output = output
    self.logSumExp = logSumExp
    self.named = named
  }

  /// Tensors of random numbers, unit normals, which depend on the seed and on the whole problem's head and
  /// row alone: shards of any layout are parts of one problem.
  ///
  /// - Parameter operands: what the strategy takes; of those that may be left out there is none.
  /// - Throws: `AttentionError` when memory is refused, or for operands that are not one row a token.
  public init(
    random problem: AttentionProblem, operands: [OperandDeclaration], queries: [Segment],
    keys: [Segment], seed: UInt64
  ) throws(AttentionError) {
    let shape = problem.shape
    query = try Tensor(
      TensorShape(shape.batch, shape.heads, queries.rowCount, shape.headDim))
    key = try Tensor(TensorShape(shape.batch, shape.kvHeads, keys.rowCount, shape.headDim))
    value = try Tensor(TensorShape(shape.batch, shape.kvHeads, keys.rowCount, shape.valueDim))
    output = try Tensor(
      TensorShape(shape.batch, shape.heads, queries.rowCount, shape.valueDim))
    logSumExp = try Tensor(TensorShape(shape.batch, shape.heads, queries.rowCount, 1))
    var named: [String: Tensor] = [:]
    for operand in operands where !operand.isOptional {
      let axis = try operand.rowAxis
      let segments = axis == .queryLength ? queries : keys
      let whole = try operand.shape(in: shape)
      let tensor = try Tensor(
        TensorShape(whole.batch, whole.heads, segments.rowCount, whole.columns))
      tensor.fill(segments, role: 100 + operand.name.utf8.reduce(0) { 31 &* $0 &+ Int($1) }, seed) {
        operand.value(of: $0, for: shape)
      }
      named[operand.name] = tensor
    }
    self.named = named
    query.fillNormal(queries, role: 0, seed)
    key.fillNormal(keys, role: 1, seed)
    value.fillNormal(keys, role: 2, seed)
  }

  /// The whole problem's tensors, as one process holds them.
  ///
  /// - Throws: `AttentionError` as the other.
  public init(
    whole problem: AttentionProblem, operands: [OperandDeclaration], seed: UInt64
  ) throws(AttentionError) {
    try self.init(
      random: problem, operands: operands,
      queries: [Segment(rows: 0..<problem.shape.queryLength, start: 0)],
      keys: [Segment(rows: 0..<problem.shape.keyLength, start: 0)], seed: seed)
  }

  /// Fills output and LSE with NaN, so that what a run leaves out shows.
  public func poison() {
    output.elements.update(repeating: .nan)
    logSumExp.elements.update(repeating: .nan)
  }

  /// What a plan of the whole problem runs on, where these are all of its rows.
  ///
  /// - Parameter documents: packed sequences that the rows are.
  /// - Throws: `AttentionError` as `PackedSequences.operands`.
  func operands(_ documents: Documents?) throws(AttentionError) -> AttentionOperands {
    guard let documents else {
      return AttentionOperands(
        inputs, output: output.mutableView, logSumExp: logSumExp.mutableView)
    }
    return try documents.packed.operands(
      query: query.view, key: key.view, value: value.view, output: output.mutableView,
      logSumExp: logSumExp.mutableView)
  }

  /// Query, key, value and the named ones.
  public var inputs: InputViews {
    InputViews(
      query: query.view, key: key.view, value: value.view, named: named.mapValues(\.view))
  }
}

extension OperandDeclaration {
  /// The axis of its rows, which shards and heads can be cut along.
  ///
  /// - Throws: `AttentionError` of kind `invalidArgument` where it has no row a token and head.
  var rowAxis: OperandAxis {
    get throws(AttentionError) {
      if axes.count >= 3, axes[0] == .batch {
        if axes[1] == .kvHeads, axes[2] == .keyLength { return .keyLength }
        if axes[1] == .heads, axes[2] == .queryLength { return .queryLength }
      }
      throw AttentionError(
        .invalidArgument, argument: "strategy operand", value: name,
        advice: "\(letters) has no row a head and token that could be dealt to ranks; run this "
          + "strategy in one process")
    }
  }
}

extension Tensor {
  /// Normals of each row's own sequence of random numbers.
  fileprivate func fillNormal(_ segments: [Segment], role: Int, _ seed: UInt64) {
    // The sum of four uniform numbers, centred and scaled: near enough to a normal, and cheap enough for
    // a million rows.
    fill(
      segments, role: role, seed,
      bits: { bits in
        let sum = (0..<4).reduce(Float(0)) { $0 + Float(bits >> (16 * UInt64($1)) & 0xFFFF) }
        return (sum * 0x1p-16 - 2 + 0x1p-15) * 1.7320508
      })
  }

  fileprivate func fill(
    _ segments: [Segment], role: Int, _ seed: UInt64, value: (Double) -> Float
  ) {
    fill(segments, role: role, seed, bits: { value(Double($0 >> 11) * 0x1p-53) })
  }

  private func fill(
    _ segments: [Segment], role: Int, _ seed: UInt64, bits value: (UInt64) -> Float
  ) {
    let (columns, rows) = (shape.columns, shape.rows)
    let ofRole = SeededGenerator.word(
      seed ^ SeededGenerator.word(UInt64(truncatingIfNeeded: role)))
    elements.withUnsafeMutableBufferPointer { elements in
      for head in 0..<shape.batch * shape.heads {
        for segment in segments {
          for row in segment.rows {
            // One generator a row, so that a row is the same whoever has it.
            var generator = SeededGenerator(
              seed: ofRole ^ SeededGenerator.word(UInt64(head) << 40 | UInt64(row)))
            let first = (head * rows + row + segment.shift) * columns
            for column in first..<first + columns { elements[column] = value(generator.next()) }
          }
        }
      }
    }
  }
}

extension SeededGenerator {
  /// The first number of a seed: seeds that differ in a bit give unrelated ones.
  fileprivate static func word(_ seed: UInt64) -> UInt64 {
    var generator = SeededGenerator(seed: seed)
    return generator.next()
  }
}
