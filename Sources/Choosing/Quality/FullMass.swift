import Attention
import MachineTopology
import Measuring
import RealModule
import Records
import Statistics
import Units

/// Log-sum-exp and a few value columns of full softmax attention, for every query row.
///
/// The QK^T half of full attention and the columns beside it, by the softmax engine. Keys are taken
/// 1024 at a time and the parts merged in fp64, so that the worst rounding of a sum does not grow
/// with n.
struct FullMass {
  /// Keys summed in fp32 before fp64 takes over.
  static let chunk = 1024

  /// `[b, h, nQ]`: the natural logarithm of the denominator; -inf where a row sees no key.
  private(set) var logSumExp: [Double]
  /// `[b, h, nQ, w]`: softmax times the columns.
  private(set) var means: [Double]

  /// - Parameter columns: `[b, hKV, nKV, w]`.
  /// - Throws: `AttentionError` when memory is refused.
  init(
    _ problem: AttentionProblem, query: TensorView, key: TensorView, columns: TensorView,
    on team: WorkerTeam
  ) throws(AttentionError) {
    let shape = problem.shape
    let width = columns.shape.columns
    logSumExp = Array(repeating: -.infinity, count: shape.logSumExp.count)
    means = Array(repeating: 0, count: shape.logSumExp.count * width)
    let partLSE = try Tensor(shape.logSumExp)
    let partMeans = try Tensor(
      try TensorShape(shape.batch, shape.heads, shape.queryLength, width))
    var plan: (any AttentionPlan)?
    for start in stride(from: 0, to: shape.keyLength, by: Self.chunk) {
      let keys = start..<min(start + Self.chunk, shape.keyLength)
      let part = try problem.part(keys, valueDim: width)
      // Where all rows see the same keys no part depends on where it begins.
      let isReusable =
        problem.geometry(batch: 0).isUniform && plan?.problem.shape == part.shape
        && plan?.problem.visibility.keyLengths == part.visibility.keyLengths
      let current =
        isReusable ? plan : try SoftmaxEngine().plan(for: part, on: team) { DensePattern($0) }
      plan = current
      try current?.run(
        AttentionOperands(
          query: query, key: key.rows(first: start, count: keys.count),
          value: columns.rows(first: start, count: keys.count),
          output: partMeans.mutableView, logSumExp: partLSE.mutableView))
      merge(partLSE.elements, partMeans.elements, width: width)
    }
    if let sinks = problem.scoring.sinkLogits { add(sinks, shape, width: width) }
  }

  /// Takes in the sink logits, once: in every part they would count as often as there are parts.
  private mutating func add(_ sinks: [Float], _ shape: AttentionShape, width: Int) {
    for row in logSumExp.indices where logSumExp[row] != -.infinity {
      let sink = Double(sinks[row / shape.queryLength % shape.heads])
      let old = logSumExp[row]
      let reference = max(old, sink)
      let new = reference + Double.log(Double.exp(old - reference) + Double.exp(sink - reference))
      let share = Double.exp(old - new)
      logSumExp[row] = new
      for place in row * width..<(row + 1) * width { means[place] *= share }
    }
  }

  private mutating func merge(
    _ partLSE: TensorElements<Float>, _ partMeans: TensorElements<Float>, width: Int
  ) {
    for row in logSumExp.indices where partLSE[row] != -.infinity {
      let (old, new) = (logSumExp[row], Double(partLSE[row]))
      let reference = max(old, new)
      let (kept, own) = (Double.exp(old - reference), Double.exp(new - reference))
      logSumExp[row] = reference + Double.log(kept + own)
      for place in row * width..<(row + 1) * width {
        means[place] = (kept * means[place] + own * Double(partMeans[place])) / (kept + own)
      }
    }
  }
}

extension AttentionProblem {
  /// The same queries on a range of the keys, with `valueDim` value columns and without sinks.
  fileprivate func part(
    _ keys: Range<Int>, valueDim: Int
  ) throws(AttentionError) -> AttentionProblem {
    let geometries = (0..<shape.batch).map { geometry(batch: $0) }
    return try with { shape, scoring, visibility, _ in
      (shape.keyLength, shape.valueDim) = (keys.count, valueDim)
      scoring = Scoring(scale: scale, softcap: scoring.softcap)
      visibility.offset = .perBatch(geometries.map { $0.offset - keys.lowerBound })
      visibility.keyLengths = geometries.map {
        min(max($0.keyLength - keys.lowerBound, 0), keys.count)
      }
    }
  }

  /// The same problem with one value column.
  func withOneValueColumn() throws(AttentionError) -> AttentionProblem {
    try with { shape, _, _, _ in shape.valueDim = 1 }
  }
}
