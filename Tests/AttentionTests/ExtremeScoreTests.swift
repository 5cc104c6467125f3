import Attention
import AttentionTestSupport
import Testing

/// Every engine at the ends of fp32's range: finite scores and biases give finite results, and the
/// right ones, whatever the number of query rows and however keys are stored.
@Suite struct ExtremeScoreTests {
  static let elements = [
    Storage(), Storage(.float16), Storage(.bfloat16),
    Storage(.float32, keyValue: .bfloat16), Storage(.float32, keyValue: .int8PerToken),
    Storage(.float32, keyValue: .int8PerChannel),
    Storage(.bfloat16, keyValue: .int8PerToken),
  ]

  @Test(arguments: Specimen.softmaxInAnyArithmetic)
  func agreesWithTheOracle(_ specimen: Specimen) throws { try Self.check(specimen) }

  static func check(_ specimen: Specimen) throws {
    for kind in ExtremeScores.allCases {
      for (number, rows) in ExtremeScores.rows.enumerated() {
        let problem = try kind.problem(rows: rows)
        let inputs = kind.inputs(problem, seed: number)
        check(
          specimen, problem, inputs, try specimen.run(problem, inputs, threads: number % 2 + 1),
          "\(specimen.text), \(kind), \(rows) rows")
        for elements in elements where kind.fitsFloat16 || elements.query != .float16 {
          let stored = StoredInputs(inputs, elements)
          let outputs = try specimen.run(problem.storing(elements), stored)
          check(
            specimen, problem, stored.widened(),
            TestOutputs(output: outputs.output.widened(), logSumExp: outputs.logSumExp),
            "\(specimen.text), \(kind), \(rows) rows, \(elements)",
            rounding: elements.query.unitRoundoff)
        }
      }
    }
  }

  /// - Parameter rounding: the relative error of storing the output.
  private static func check(
    _ specimen: Specimen, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ outputs: TestOutputs, _ comment: String, rounding: Double = 0
  ) {
    let truth = oracleRows(specimen.strategy.arithmeticOracle(for: problem), inputs)
    let products = specimen.strategy.arithmetic.unitRoundoff
    // Beyond the definition sums in fp16 are rounded, of scores up to 14 here, and weights out of 255.
    let arithmetic = specimen.strategy.arithmetic
    let sums = (arithmetic == .float16 ? 40 : arithmetic.hasRowScales ? 12 : 1) * products
    var wrong: [String] = []
    var index = 0
    outputs.output.forEachRow { batch, head, row in
      let (found, lse) = (outputs.output[batch, head, row], outputs.logSumExp?[batch, head, row, 0])
      let (right, rightLSE) = (truth[index].output, truth[index].logSumExp)
      index += 1
      // Values are within +-6.
      let isRight = zip(found, right).allSatisfy {
        abs(Double($0) - $1) <= 1e-5 + 6 * (rounding + 2 * products) + sums
      }
      let distance = lse.map { Double($0) == rightLSE ? 0 : abs(Double($0) - rightLSE) } ?? 0
      let isFinite = rightLSE.isFinite ? lse?.isFinite ?? true : true
      if !isRight || !isFinite || !(distance <= 1e-5 + sums + 2e-6 * abs(rightLSE)) {
        wrong.append("row \(row): \(Array(found)), \(lse ?? 0) for \(right), \(rightLSE)")
      }
    }
    #expect(wrong.isEmpty, "\(comment): \(wrong.count) rows, \(wrong.first ?? "")")
  }

  /// Weights times values are the output, and no score that shows is infinite.
  @Test(arguments: ExtremeScores.allCases, ["flash", "window(9)"])
  func scoreMatricesAgree(_ kind: ExtremeScores, _ text: String) throws {
    let specimen = Specimen(text: text, strategy: try Specimen.registry.strategy(text))
    for rows in ExtremeScores.rows {
      let problem = try kind.problem(rows: rows)
      let inputs = kind.inputs(problem, seed: rows)
      func scores(_ stage: ScoreStage) throws -> TestTensor {
        let scores = TestTensor(try ScoreMatrix.shape(for: problem))
        try ScoreMatrix.compute(
          stage, of: problem, pattern: { specimen.strategy.pattern(for: $0) },
          query: inputs.query.view, key: inputs.key.view, into: scores.mutableView,
          on: Teams.of(2))
        return scores
      }
      let weights = try scores(.probabilities)
      let outputs = TestOutputs(problem, logSumExp: false)
      outputs.output.fill { batch, head, row, column in
        (0..<ExtremeScores.keys).reduce(Float(0)) {
          $0 + weights[batch, head, row, $1] * inputs.value[batch, 0, $1, column]
        }
      }
      Self.check(specimen, problem, inputs, outputs, "\(kind), \(rows) rows")
      let masked = try scores(.masked)
      var wrong = 0
      masked.forEachRow { batch, head, row in
        for (key, score) in masked[batch, head, row].enumerated() {
          let shows =
            specimen.strategy.pattern(for: problem.geometry(batch: batch)).includes(
              position: row + problem.geometry(batch: batch).offset, key: key)
            && problem.visibility.bias?.row(batch, head, row)[key] != -.infinity
          if shows ? !score.isFinite : score != -.infinity { wrong += 1 }
        }
      }
      #expect(wrong == 0, "\(kind), \(rows) rows: \(wrong) scores")
    }
  }
}
