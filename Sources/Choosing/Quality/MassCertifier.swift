import Attention
import MachineTopology
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Certifies restricted strategies on one problem: bounds on every row's distance from full
/// softmax attention that hold whatever the data, fp32 rounding included.
///
/// It computes the QK^T half of full attention once, with 8 value columns (see `RowBound` for which
/// and why), and runs each strategy twice: as it is, for its output and LSE, and with one of those
/// columns. Full attention's output itself is never computed.
///
/// - Complexity: 2 pairs (d + 8) operations once, and the strategy's own work twice; O(n (d + dV))
///   beside it. Memory beyond the tensors: O(b h nQ), and the strategy's output and workspace.
public struct MassCertifier {
  /// Value columns beside the scores of full attention: one tile of the kernels.
  static let columns = 8

  private let problem: AttentionProblem
  private let tensors: ProblemTensors
  private let team: WorkerTeam
  private let spread: ValueSpread
  private let full: FullMass
  /// `[b, h, nQ]`: scale |q| max |k|, or the size of the head's sink logit where that is larger.
  private let largestLogits: [Double]

  /// Computes what all strategies share.
  ///
  /// - Parameters:
  ///   - tensors: must have the shape of `problem`.
  ///   - directions: along which full attention is computed instead of bounded; no more than
  ///     values have dimensions are taken. 7 and the distances fill a tile of the kernels.
  /// - Throws: `AttentionError` when memory is refused.
  public init(
    _ problem: AttentionProblem, tensors: ProblemTensors, team: WorkerTeam,
    directions: Int = 7
  ) throws(AttentionError) {
    self.problem = problem
    self.tensors = tensors
    self.team = team
    let shape = problem.shape
    let spread = try ValueSpread(
      problem, key: tensors.key.view, value: tensors.value.view, directions: directions)
    self.spread = spread
    full = try FullMass(
      problem, query: tensors.query.view, key: tensors.key.view, columns: spread.columns.view,
      on: team)
    largestLogits = (0..<shape.batch * shape.heads).flatMap { index in
      let (batch, head) = (index / shape.heads, index % shape.heads)
      let rows = HeadRows(tensors.query.view, batch: batch, head: head)
      let longest = spread.head(batch: batch, kvHead: head / shape.groupSize).longestKey
      let sink = abs(Double(problem.scoring.sinkLogits?[head] ?? 0))
      return (0..<shape.queryLength).map {
        max(abs(Double(problem.scale)) * rows.norm($0) * longest, sink.isFinite ? sink : 0)
      }
    }
  }

  /// What is certain about a strategy over all rows.
  ///
  /// - Returns: nil for a different operator, whose rows are no means over a subset of the keys.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory is refused.
  public func certificate(
    of strategy: any AttentionStrategy
  ) throws(AttentionError) -> MassCertificate? {
    if strategy.operatorClass == .different { return nil }
    return MassCertificate(try rowBounds(of: strategy))
  }

  /// What is certain about a strategy on each of some query heads, over all rows of the head.
  ///
  /// - Returns: by head; empty for a different operator.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory is refused.
  public func certificates(
    of strategy: any AttentionStrategy, heads: [Int]
  ) throws(AttentionError) -> [Int: MassCertificate] {
    if strategy.operatorClass == .different { return [:] }
    let bounds = try rowBounds(of: strategy)
    let (all, rows) = (problem.shape.heads, problem.shape.queryLength)
    var certificates: [Int: MassCertificate] = [:]
    for head in heads {
      certificates[head] = MassCertificate(
        (0..<problem.shape.batch).flatMap { batch in
          let first = (batch * all + head) * rows
          return bounds[first..<first + rows]
        })
    }
    return certificates
  }

  /// The bound of every row, in the order of batch, head and row.
  ///
  /// - Parameter strategy: softmax over a subset of the keys.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory is refused.
  public func rowBounds(
    of strategy: any AttentionStrategy
  ) throws(AttentionError) -> [RowBound] {
    let shape = problem.shape
    let output = try Tensor(shape.output)
    let logSumExp = try Tensor(shape.logSumExp)
    try run(strategy, problem, value: tensors.value.view, output, logSumExp)
    let kept = try Tensor(shape.logSumExp)
    try run(strategy, try problem.withOneValueColumn(), value: try spread.distances(), kept, nil)

    var bounds: [RowBound] = []
    bounds.reserveCapacity(shape.logSumExp.count)
    let scratch = DoubleScratch(count: spread.directionCount)
    for batch in 0..<shape.batch {
      let keyCounts = strategy.pattern(for: problem.geometry(batch: batch)).keyCounts
      for head in 0..<shape.heads {
        let kvHead = spread.head(batch: batch, kvHead: head / shape.groupSize)
        let outputs = HeadRows(output.view, batch: batch, head: head)
        for row in 0..<shape.queryLength {
          let index = (batch * shape.heads + head) * shape.queryLength + row
          let own = kvHead.look(at: outputs.pointer(row), along: scratch.elements)
          bounds.append(
            bound(
              index, head: kvHead, own: own, ownAlong: scratch.elements,
              logSumExp: Double(logSumExp.elements[index]),
              keptSpread: Double(kept.elements[index]), keyCount: keyCounts[row]))
        }
      }
    }
    return bounds
  }

  /// - Parameters:
  ///   - index: of the row among all.
  ///   - own: the strategy's output row, and `ownAlong` P times it.
  private func bound(
    _ index: Int, head: ValueSpread.Head, own: RowSpread,
    ownAlong: UnsafeMutableBufferPointer<Double>, logSumExp: Double, keptSpread: Double,
    keyCount: Int
  ) -> RowBound {
    let fullLSE = full.logSumExp[index]
    if fullLSE == -.infinity { return RowBound(emptyRowWithOutputNorm: own.norm) }
    let (headDim, logit) = (problem.shape.headDim, largestLogits[index])
    let ofFull = RoundingSlack(
      headDim: headDim, largestLogit: logit, terms: min(FullMass.chunk, problem.shape.keyLength))
    let ofKept = RoundingSlack(headDim: headDim, largestLogit: logit, terms: keyCount)

    let width = spread.directionCount + 1
    var square = 0.0
    var differenceSquare = 0.0
    for column in 0..<head.directionCount {
      let mean = full.means[index * width + column]
      square += mean * mean
      differenceSquare += (mean - ownAlong[column]) * (mean - ownAlong[column])
    }
    // Once for the means of the parts and once for their weights; a last bit for each column.
    let rounding =
      (ofFull.merged.outputDistance + 2 * Double(width) * Double.exp2(-24)) * head.longestValue

    var parts = RowBound.Parts(
      massKept: Double.exp(logSumExp - fullLSE - ofFull.logarithm - ofKept.logarithm),
      fullSpread: full.means[index * width + width - 1] * ofFull.merged.meanFactor,
      keptSpread: keptSpread / ofKept.meanFactor, outputSpread: own.fromCentre,
      outputNorm: own.norm)
    parts.rounding = ofKept.outputDistance * head.longestValue
    if head.directionCount > 0 {
      parts.alongDirections = differenceSquare.squareRoot() + rounding
      parts.fullAlongDirections = max(square.squareRoot() - rounding, 0)
    }
    parts.outputBesideDirections = own.besideDirections
    return RowBound(parts)
  }

  /// Runs a strategy; what it does not write stays NaN and has no finite bound.
  private func run(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, value: TensorView,
    _ output: Tensor, _ logSumExp: Tensor?
  ) throws(AttentionError) {
    output.elements.update(repeating: .nan)
    logSumExp?.elements.update(repeating: .nan)
    try strategy.plan(for: problem, on: team).run(
      AttentionOperands(
        query: tensors.query.view, key: tensors.key.view, value: value,
        named: tensors.views(for: strategy).named, output: output.mutableView,
        logSumExp: logSumExp?.mutableView))
  }
}

extension KeyPattern {
  /// How many keys each query row sees.
  fileprivate var keyCounts: [Int] {
    // Every residue has as many sequences.
    let sequenceCounts = rowStrides.indices.map { sequences(pass: $0, residue: 0).count }
    return (0..<geometry.queryLength).map { row in
      sequenceCounts.enumerated().reduce(0) { count, pass in
        (0..<pass.element).reduce(count) {
          $0
            + range(pass: pass.offset, sequence: $1, position: row + geometry.offset).count
        }
      }
    }
  }
}
