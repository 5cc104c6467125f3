import Attention
import AttentionTestSupport
import Testing

/// The largest error against fp64 that a strategy may show.
///
/// Softmax classes: twice the error of the naive fp32 implementation on the same inputs, plus a
/// floor for inputs on which that one happens to be lucky. With S the largest |LSE|, which is about
/// the largest logit, the floor is 5e-7 + 2^-25 S (2 + sqrt(d)): a few roundings of a sum of values
/// of size 1 to 5, and the roundings of a logit, d of them a random walk, each of which moves its
/// weight by up to 2^-24 S. Both implementations round that often; who is luckier is chance. Under
/// a softcap S is that of the logits before it, whose roundings it passes on where they are small.
///
/// On inputs of fewer bits the naive products of elements are exact, while the strategies, which
/// scale queries first, still round each: the roundings of a logit count twice.
///
/// Up to three softmaxes added up with gates of at most 1: three times the softmax gate, by the naive softmax over
/// all keys.
///
/// Recurrences: twice the error of the recurrence in fp32 as it is written down, plus a few roundings of the
/// largest output, and so with LSE.
///
/// Softmax of other scores: 8, or 2 (2 + sqrt(d)) where that is more, times the most that the definition changes by when every element of query, key
/// and value moves by a unit in its last place, up or down at random four times, and some roundings of sums of values and of weights.
enum ErrorGate {
  static let floor = 5e-7
  static let linear = 5e-6

  static func check(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ outputs: TestOutputs, _ comment: String, roundedTo type: ElementType = .float32,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    if specimen.strategy.arithmetic.hasRowScales {
      return checkScaled(
        specimen.strategy, problem, inputs, outputs, comment, sourceLocation: sourceLocation)
    }
    if specimen.strategy.arithmetic == .bfloat16 {
      return checkBFloat16(
        specimen.strategy, problem, inputs, outputs, comment, sourceLocation: sourceLocation)
    }
    let truth = oracleRows(specimen.strategy.oracle(for: problem), inputs)
    let largest = truth.lazy.flatMap(\.output).map(abs).max() ?? 0
    // Of what is stored in a narrower type, half a unit in its last place.
    let rounding = type == .float32 ? 0 : 1.01 * type.unitRoundoff * largest + type.leastRoundoff
    let error = outputs.deviation(from: truth)
    #expect(
      outputs.hasIntactPadding, "\(comment): wrote outside its rows",
      sourceLocation: sourceLocation)
    if specimen.isSoftmax {
      let naive = NaiveSoftmax(problem) { specimen.strategy.pattern(for: $0) }
        .deviation(from: truth, inputs)
      let uncapped = try? problem.with { _, scoring, _, _ in scoring.softcap = nil }
      let logits =
        uncapped.flatMap {
          problem.scoring.softcap == nil ? nil : specimen.strategy.oracle(for: $0)
        }
        .map { oracleRows($0, inputs) } ?? truth
      check(
        error, naive: naive, logits: logits, problem, comment, rounding: rounding,
        sourceLocation: sourceLocation)
    } else if let naive = try? specimen.naive(for: problem) {
      let written = naive.deviation(from: truth, inputs)
      let gate = 2 * written.maximum + floor * max(1, largest) + rounding
      #expect(
        error.maximum <= gate, "\(comment): \(error), naive \(written)",
        sourceLocation: sourceLocation)
      #expect(
        error.logSumExp <= linear + 2 * written.logSumExp, "\(comment): \(error)",
        sourceLocation: sourceLocation)
    } else if specimen.hasWeights {
      // Scores by weights of its own.
      var change = Deviation()
      for seed in 1...4 {
        let moved = oracleRows(
          specimen.strategy.oracle(for: problem), inputs.moved(seed: seed))
        for (row, truth) in zip(moved, truth) {
          change.add(row.output.map { Float($0) }, logSumExp: Float(row.logSumExp), truth: truth)
        }
      }
      // Rows are projected before they are multiplied: two sums of d products, whose roundings grow as sqrt(d).
      let roundings = max(8, 2 * (2 + Double(problem.shape.headDim).squareRoot()))
      let gate = roundings * change.maximum + 4 * floor * max(1, largest) + rounding
      #expect(
        error.maximum <= gate, "\(comment): \(error), moved \(change)",
        sourceLocation: sourceLocation)
      #expect(
        error.logSumExp <= 4 * floor + roundings * change.logSumExp,
        "\(comment): \(error), moved \(change)",
        sourceLocation: sourceLocation)
    } else {
      let full = oracleRows(SoftmaxOracle(full: problem), inputs)
      let naive = NaiveSoftmax(problem) { DensePattern($0) }.deviation(from: full, inputs)
      let logit = full.lazy.map { abs($0.logSumExp) }.filter(\.isFinite).max() ?? 0
      let allowance = floor + 0x1p-25 * logit * (2 + Double(problem.shape.headDim).squareRoot())
      #expect(
        error.maximum <= 3 * (2 * naive.maximum + allowance) + rounding,
        "\(comment): \(error); naive softmax \(naive)", sourceLocation: sourceLocation)
      #expect(error.logSumExp == 0, "\(comment): \(error)", sourceLocation: sourceLocation)
    }
  }

  /// The gate of bf16 products, against fp64 on operands that are rounded alike, so that the rounding
  /// of the weights is all that is left. It changes each of them by up to u = 2^-8 relative, and so an
  /// output by up to u sum p |v - o| <= u (sum p |v| + |o|), where sum p |v| is the oracle's output
  /// for |v|. A log-sum-exp changes by up to u. The floor of fp32 comes on top.
  /// A key left out shows as long as its weight is more than about u: up to a few hundred keys.
  static func checkBFloat16(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ outputs: TestOutputs, _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let oracle = strategy.arithmeticOracle(for: problem)
    let truth = oracleRows(oracle, inputs)
    let sizes = inputs.copy()
    sizes.value.forEachRow { batch, head, row in
      for column in 0..<sizes.value.shape.columns {
        sizes.value[batch, head, row, column] = abs(inputs.value[batch, head, row, column])
      }
    }
    let means = oracleRows(oracle, sizes)
    let logit = truth.lazy.map { abs($0.logSumExp) }.filter(\.isFinite).max() ?? 0
    let allowance =
      floor + 0x1p-24 * logit * (2 + Double(problem.shape.headDim).squareRoot())
    let unit = 1.01 * Arithmetic.bfloat16.unitRoundoff
    var (index, wrong, worst) = (0, 0, 0.0)
    outputs.output.forEachRow { batch, head, row in
      let (reference, mean) = (truth[index], means[index])
      for (column, value) in outputs.output[batch, head, row].enumerated() {
        let error = abs(Double(value) - reference.output[column])
        let bound = unit * (mean.output[column] + abs(reference.output[column])) + allowance
        worst = max(worst, error / bound)
        if !(error <= bound) { wrong += 1 }
      }
      index += 1
    }
    let error = outputs.deviation(from: truth)
    #expect(
      wrong == 0, "\(comment): \(wrong) elements, the worst \(worst) times the bound; \(error)",
      sourceLocation: sourceLocation)
    #expect(
      error.logSumExp <= unit + allowance, "\(comment): \(error)", sourceLocation: sourceLocation)
    #expect(
      outputs.hasIntactPadding, "\(comment): wrote outside its rows",
      sourceLocation: sourceLocation)
  }

  /// The gate of products whose rows have scales, against fp64 on operands that are rounded alike: four times
  /// what roundings of sums and weights, drawn at random four times, do to the rows of the problem, and the
  /// floor of fp32.
  static func checkScaled(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ outputs: TestOutputs, _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let truth = oracleRows(strategy.arithmeticOracle(for: problem), inputs)
    var drawn = Deviation()
    for draw in 0..<4 {
      guard let oracle = strategy.roundingOracle(for: problem, draw: UInt64(draw)) else { break }
      for (row, exact) in zip(oracleRows(oracle, inputs), truth) {
        drawn.add(row.output.map { Float($0) }, logSumExp: Float(row.logSumExp), truth: exact)
      }
    }
    let logit = truth.lazy.map { abs($0.logSumExp) }.filter(\.isFinite).max() ?? 0
    let largest = truth.lazy.flatMap(\.output).filter(\.isFinite).map(abs).max() ?? 0
    let relative = floor + 0x1p-23 * logit * (2 + Double(problem.shape.headDim).squareRoot())
    let error = outputs.deviation(from: truth)
    // The weights' own polynomial is off by 7.5e-5.
    #expect(
      error.maximum <= 4 * drawn.maximum + (relative + 1.5e-4) * max(1, largest),
      "\(comment): \(error); drawn \(drawn)", sourceLocation: sourceLocation)
    #expect(
      error.logSumExp <= 4 * drawn.logSumExp + relative + 1.5e-4,
      "\(comment): \(error); drawn \(drawn)", sourceLocation: sourceLocation)
    #expect(
      outputs.hasIntactPadding, "\(comment): wrote outside its rows",
      sourceLocation: sourceLocation)
  }

  /// The gate of the softmax classes; `logits` are rows whose LSE tells their size.
  static func check(
    _ error: Deviation, naive: Deviation, logits: [OracleRow], _ problem: AttentionProblem,
    _ comment: String, rounding: Double = 0, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let logit = logits.lazy.map { abs($0.logSumExp) }.filter(\.isFinite).max() ?? 0
    let unit = rounding > 0 ? 0x1p-24 : 0x1p-25
    let allowance = floor + unit * logit * (2 + Double(problem.shape.headDim).squareRoot())
    #expect(
      error.maximum <= 2 * naive.maximum + allowance + rounding,
      "\(comment): \(error); naive \(naive)",
      sourceLocation: sourceLocation)
    #expect(
      error.logSumExp <= 2 * naive.logSumExp + allowance,
      "\(comment): \(error); naive \(naive)", sourceLocation: sourceLocation)
  }
}
