import Attention
import MachineTopology
import RealModule

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
      let sink = abs(Double(problem.sinkLogits?[head] ?? 0))
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
    if type(of: strategy).operatorClass == .different { return nil }
    return MassCertificate(try rowBounds(of: strategy))
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
    for batch in 0..<shape.batch {
      let pattern = strategy.pattern(for: problem.geometry(batch: batch))
      let keyCounts = (0..<shape.queryLength).map { pattern.keyCount(row: $0) }
      for head in 0..<shape.heads {
        let rows = HeadRows(output.view, batch: batch, head: head)
        for row in 0..<shape.queryLength {
          let index = (batch * shape.heads + head) * shape.queryLength + row
          bounds.append(
            bound(
              Place(batch: batch, kvHead: head / shape.groupSize, row: row, index: index),
              outputs: rows, logSumExp: Double(logSumExp.elements[index]),
              keptSpread: Double(kept.elements[index]), keyCount: keyCounts[row]))
        }
      }
    }
    return bounds
  }

  /// Where a row stands in its head and among all rows.
  private struct Place {
    let batch: Int
    let kvHead: Int
    let row: Int
    let index: Int
  }

  private func bound(
    _ place: Place, outputs: HeadRows, logSumExp: Double, keptSpread: Double, keyCount: Int
  ) -> RowBound {
    let outputNorm = outputs.norm(place.row)
    let fullLSE = full.logSumExp[place.index]
    if fullLSE == -.infinity { return RowBound(emptyRowWithOutputNorm: outputNorm) }
    let headDim = problem.shape.headDim
    let logit = largestLogits[place.index]
    let ofFull = RoundingSlack(
      headDim: headDim, largestLogit: logit, terms: min(FullMass.chunk, problem.shape.keyLength))
    let ofKept = RoundingSlack(headDim: headDim, largestLogit: logit, terms: keyCount)
    let head = spread.head(batch: place.batch, kvHead: place.kvHead)

    let output = outputs[place.row]
    let width = spread.directionCount
    let means = full.means[place.index * (width + 1)..<(place.index + 1) * (width + 1)]
    let full = Array(means.prefix(head.directions.vectors.count))
    let own = head.directions.coordinates(of: output)
    // Once for the means of the parts and once for their weights; a last bit for each column.
    let fullRounding =
      (ofFull.merged.outputDistance + 2 * Double(width) * Double.exp2(-24)) * head.longestValue

    var parts = RowBound.Parts(
      massKept: Double.exp(logSumExp - fullLSE - ofFull.logarithm - ofKept.logarithm),
      fullSpread: (means.last ?? .nan) * ofFull.merged.meanFactor,
      keptSpread: keptSpread / ofKept.meanFactor,
      outputSpread: head.spread(of: output), outputNorm: outputNorm)
    parts.rounding = ofKept.outputDistance * head.longestValue
    parts.alongDirections = Self.norm(zip(full, own).map { $0 - $1 }) + fullRounding
    parts.fullAlongDirections = max(Self.norm(full) - fullRounding, 0)
    parts.outputBesideDirections = Self.norm(head.directions.beside(output))
    return RowBound(parts)
  }

  private static func norm(_ vector: [Double]) -> Double {
    vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
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
        output: output.mutableView, logSumExp: logSumExp?.mutableView))
  }
}

extension KeyPattern {
  /// How many keys a query row sees.
  fileprivate func keyCount(row: Int) -> Int {
    let position = row + geometry.offset
    return rowStrides.enumerated().reduce(0) { count, pass in
      let residue = ((position % pass.element) + pass.element) % pass.element
      let sequences = sequences(pass: pass.offset, residue: residue).count
      return count
        + (0..<sequences).reduce(0) {
          $0 + range(pass: pass.offset, sequence: $1, position: position).count
        }
    }
  }
}
