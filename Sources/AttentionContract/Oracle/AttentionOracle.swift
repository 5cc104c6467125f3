import AttentionKernels
import RealModule
import Tensors

/// One query row of an operator's result, in fp64.
public struct OracleRow: Sendable, Hashable {
  /// `[dV]`.
  public var output: [Double]
  /// The natural logarithm of the row's denominator; -inf for a row that sees no key.
  public var logSumExp: Double

  public init(output: [Double], logSumExp: Double) {
    self.output = output
    self.logSumExp = logSumExp
  }
}

/// A strategy's definition, evaluated in fp64 straight from its formula.
///
/// - Complexity: O(nKV (d + dV)) a row, so that sampled rows are affordable at any length.
public protocol AttentionOracle: Sendable {
  /// The row of `query` in one head.
  func row(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> OracleRow

  /// All rows that are right. More than one where the definition turns on a comparison that roundings may
  /// decide either way: a selection of keys with scores that are nearly alike. By default `row` alone.
  func admissible(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [OracleRow]

  /// The same definition with what all rows of a head have in common worked out, for rows of that head on the
  /// same inputs; by default itself, where there is nothing of the kind.
  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle

  /// The keys that take part in a row, rising; nil, the default, where the definition is no softmax over a
  /// subset of the keys.
  func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]?
}

extension AttentionOracle {
  public func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle { self }

  public func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? { nil }

  public func admissible(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> [OracleRow] {
    [self.row(inputs, batch: batch, head: head, row: row)]
  }
}

/// softmax(softcap(scale q K^T) + bias) V, the sums held within +-FLT_MAX, over the keys that a pattern
/// and a mask include, with a sink logit where there is one, in fp64.
public struct SoftmaxOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let patterns: [any KeyPattern]
  private let operands: Arithmetic
  private let rule: ScoreRule?
  private let discount: (@Sendable (_ key: Int) -> Double)?

  /// What stands in the place of scale q K^T: the scores of a query row, key by key.
  public typealias ScoreRule =
    @Sendable (_ inputs: InputViews, _ batch: Int, _ head: Int, _ row: Int) -> (_ key: Int) ->
    Double

  /// An oracle for softmax under a pattern, which may differ from batch entry to batch entry.
  ///
  /// - Parameters:
  ///   - operands: the arithmetic to whose operands query, key and value are rounded first; everything
  ///     else is fp64 in either.
  ///   - rule: the scores before softcap, bias and mask, where they are no products of queries and keys.
  ///   - discount: what a key's weight is multiplied by once weights are normalised; nil for 1.
  public init(
    _ problem: AttentionProblem, operands: Arithmetic = .float32, rule: ScoreRule? = nil,
    discount: (@Sendable (_ key: Int) -> Double)? = nil, pattern: (MaskGeometry) -> any KeyPattern
  ) {
    self.problem = problem
    self.operands = operands
    self.rule = rule
    self.discount = discount
    patterns = (0..<problem.shape.batch).map { pattern(problem.geometry(batch: $0)) }
  }

  /// An oracle for full softmax attention.
  public init(full problem: AttentionProblem) {
    self.init(problem) { DensePattern($0) }
  }

  public func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    let pattern = patterns[batch]
    let position = row + pattern.geometry.offset
    return pattern.geometry.visible(from: position).filter {
      pattern.includes(position: position, key: $0)
        && isVisible($0, batch, head, row, position: position)
    }
  }

  /// What the softmax of a row is taken of: the keys that take part, rising, and their scores.
  package func scores(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> [(key: Int, score: Double)] {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    let pattern = patterns[batch]
    let position = row + pattern.geometry.offset
    let q = inputs.query.row(batch, head, row)
    var buffers = (query: [Float](), other: [Float]())
    var scores: [(key: Int, score: Double)] = []
    let rule = rule?(inputs, batch, head, row)
    for j in pattern.geometry.visible(from: position)
    where pattern.includes(position: position, key: j)
      && isVisible(j, batch, head, row, position: position)
    {
      var score =
        rule?(j) ?? Double(problem.scale)
        * operands.withOperands(q, shape.headDim, &buffers.query) { q in
          operands.withOperands(inputs.key.row(batch, kvHead, j), shape.headDim, &buffers.other) {
            dot(q, $0, shape.headDim)
          }
        }
      if let softcap = problem.scoring.softcap.map(Double.init) {
        score = softcap * Double.tanh(score / softcap)
      }
      if problem.visibility.bias != nil || problem.visibility.alibiSlopes != nil {
        score = saturated(score + bias(j, batch, head, row, position: position))
      }
      scores.append((j, score))
    }
    return scores
  }

  public func row(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> OracleRow {
    let shape = problem.shape
    let kvHead = head / shape.groupSize
    var buffer: [Float] = []
    let scores = scores(inputs, batch: batch, head: head, row: row)
    var maximum = scores.reduce(-Double.infinity) { max($0, $1.score) }
    var output = [Double](repeating: 0, count: shape.valueDim)
    // A key whose score is -inf is a key not seen.
    if maximum == -.infinity, !scores.contains(where: { $0.score.isNaN }) {
      return OracleRow(output: output, logSumExp: -.infinity)
    }
    let sink = problem.scoring.sinkLogits.map { Double($0[head]) } ?? -.infinity
    maximum = max(maximum, sink)
    var sum = Double.exp(sink - maximum)
    for (j, score) in scores {
      var weight = Double.exp(score - maximum)
      sum += weight
      if let discount { weight *= discount(j) }
      operands.withOperands(inputs.value.row(batch, kvHead, j), shape.valueDim, &buffer) { v in
        for c in output.indices { output[c] += weight * Double(v[c]) }
      }
    }
    for c in output.indices { output[c] /= sum }
    return OracleRow(output: output, logSumExp: maximum + Double.log(sum))
  }

  /// Whether window, chunk, mask and bias leave a key visible. A key that is hidden has no part in the row, even
  /// if its score is NaN.
  private func isVisible(
    _ key: Int, _ batch: Int, _ head: Int, _ row: Int, position: Int
  ) -> Bool {
    if let left = problem.visibility.windowLeft, position - key > left { return false }
    if let right = problem.visibility.windowRight, key - position > right { return false }
    if let chunk = problem.visibility.chunk {
      let first = (Double(position) / Double(chunk)).rounded(.down) * Double(chunk)
      if Double(key) < first || Double(key) >= first + Double(chunk) { return false }
    }
    if let mask = problem.visibility.mask,
      key >= mask.shape.columns || mask.row(batch, head, row)[key] == 0
    {
      return false
    }
    if let bias = problem.visibility.bias {
      return key < bias.shape.columns && bias.row(batch, head, row)[key] != -.infinity
    }
    return true
  }

  private func bias(_ key: Int, _ batch: Int, _ head: Int, _ row: Int, position: Int) -> Double {
    let bias = problem.visibility.bias.map { Double($0.row(batch, head, row)[key]) } ?? 0
    guard let slopes = problem.visibility.alibiSlopes else { return bias }
    return saturated(bias - saturated(Double(slopes[head]) * Double(abs(position - key))))
  }

  /// A sum as fp32 holds it: within +-FLT_MAX, unless a term is infinite, and where fp32's grain is a
  /// unit or more, in its grains. There a score next to a bias of -FLT_MAX vanishes by definition;
  /// below, what fp32 rounds off is an error.
  private func saturated(_ sum: Double) -> Double {
    guard sum.isFinite, abs(sum) >= 0x1p24 else { return sum }
    let limit = Double(Float.greatestFiniteMagnitude)
    return Double(Float(min(max(sum, -limit), limit)))
  }
}

/// The inner product of two fp32 rows in fp64, with four running sums.
package func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ count: Int) -> Double {
  var sums = SIMD4<Double>.zero
  var t = 0
  while t + 4 <= count {
    sums +=
      SIMD4(Double(a[t]), Double(a[t + 1]), Double(a[t + 2]), Double(a[t + 3]))
      * SIMD4(Double(b[t]), Double(b[t + 1]), Double(b[t + 2]), Double(b[t + 3]))
    t += 4
  }
  var total = sums.sum()
  while t < count {
    total += Double(a[t]) * Double(b[t])
    t += 1
  }
  return total
}
