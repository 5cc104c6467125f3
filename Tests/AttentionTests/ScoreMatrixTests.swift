import Attention
import AttentionTestSupport
import RealModule
import Testing

/// The score matrix at every stage, against fp64.
@Suite struct ScoreMatrixTests {
  @Test(arguments: ScoreStage.allCases, ["flash", "window(9, sinks: 3)", "strided(5)"])
  func everyStageIsItsDefinition(_ stage: ScoreStage, _ text: String) throws {
    let strategy = try Specimen.registry.strategy(text)
    for number in 600..<640 {
      let (problem, test) = try MaskTests.masked(number)
      let inputs = test.inputs()
      let scores = TestTensor(try ScoreMatrix.shape(for: problem), layout: test.outputLayout)
      try ScoreMatrix.compute(
        stage, of: problem, pattern: { strategy.pattern(for: $0) }, query: inputs.query.view,
        key: inputs.key.view, into: scores.mutableView, on: Teams.of(test.threads))
      #expect(scores.hasIntactPadding)
      var worst = 0.0
      let bound = 0x1p-24 * (4 + Double(problem.shape.headDim).squareRoot())
      scores.forEachRow { batch, head, row in
        let truth = Self.row(
          stage, problem, inputs, strategy.pattern(for: problem.geometry(batch: batch)), batch,
          head, row)
        // A logit rounds with the size of its terms, d of them a random walk, and passes that on.
        let size = Self.termSize(problem, inputs, batch, head, row)
        for (score, expected) in zip(scores[batch, head, row], truth) {
          if Double(score) == expected { continue }
          let magnitude = size + abs(expected)
          worst = max(worst, abs(Double(score) - expected) / (1e-7 + bound * magnitude))
        }
      }
      #expect(worst < 1, "\(test): \(worst) times the bound")
    }
  }

  /// The largest sum of the sizes of a logit's terms in a row.
  private static func termSize(
    _ problem: AttentionProblem, _ inputs: TestInputs, _ batch: Int, _ head: Int, _ row: Int
  ) -> Double {
    let shape = problem.shape
    let sizes = (0..<shape.keyLength).map { key in
      (0..<shape.headDim).reduce(0.0) {
        $0
          + abs(
            Double(inputs.query[batch, head, row, $1])
              * Double(inputs.key[batch, head / shape.groupSize, key, $1]))
      }
    }
    return abs(Double(problem.scale)) * (sizes.max() ?? 0)
  }

  private static func row(
    _ stage: ScoreStage, _ problem: AttentionProblem, _ inputs: TestInputs,
    _ pattern: any KeyPattern, _ batch: Int, _ head: Int, _ row: Int
  ) -> [Double] {
    let shape = problem.shape
    let position = row + pattern.geometry.offset
    var scores = (0..<shape.keyLength).map { key in
      (0..<shape.headDim).reduce(0.0) {
        $0 + Double(inputs.query[batch, head, row, $1])
          * Double(inputs.key[batch, head / shape.groupSize, key, $1])
      } * Double(problem.scale)
    }
    if stage == .raw { return scores }
    if let softcap = problem.scoring.softcap.map(Double.init) {
      scores = scores.map { softcap * Double.tanh($0 / softcap) }
    }
    if stage == .softcapped { return scores }
    for key in scores.indices {
      var bias: Float = 0
      if let mask = problem.visibility.mask {
        let shows = key < mask.shape.columns && mask.row(batch, head, row)[key] != 0
        bias = shows ? 0 : -.infinity
      }
      if let added = problem.visibility.bias {
        bias += key < added.shape.columns ? added.row(batch, head, row)[key] : -.infinity
      }
      if !pattern.includes(position: position, key: key) { bias = -.infinity }
      scores[key] += Double(bias)
      if let slopes = problem.visibility.alibiSlopes {
        scores[key] -= Double(slopes[head]) * Double(abs(position - key))
      }
    }
    if stage == .masked { return scores }
    let sink = problem.scoring.sinkLogits.map { Double($0[head]) } ?? -.infinity
    let seen = scores.reduce(-.infinity, max)
    if seen == -.infinity { return scores.map { _ in 0 } }
    let maximum = max(seen, sink)
    let sum = scores.reduce(Double.exp(sink - maximum)) { $0 + Double.exp($1 - maximum) }
    return scores.map { Double.exp($0 - maximum) / sum }
  }

  /// A NaN key is seen in the raw scores and in no row from which it is hidden.
  @Test func hiddenNaNsDoNotReachProbabilities() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 2, queryLength: 70, headDim: 8), scoring: Scoring(softcap: 5),
      visibility: Visibility(causal: true))
    let inputs = TestInputs(problem, seed: 1)
    for column in 0..<8 { inputs.key[0, 0, 60, column] = .nan }
    let scores = TestTensor(try ScoreMatrix.shape(for: problem))
    for stage in ScoreStage.allCases {
      try ScoreMatrix.compute(
        stage, of: problem, query: inputs.query.view, key: inputs.key.view,
        into: scores.mutableView, on: Teams.of(2))
      for row in 0..<70 {
        let sees = stage == .raw || stage == .softcapped || row >= 60
        #expect(scores[0, 0, row].contains { $0.isNaN } == sees, "\(stage), row \(row)")
        #expect(!scores[0, 1, row].contains { $0.isNaN })
      }
    }
  }

  @Test func tensorsMustFit() throws {
    let problem = try AttentionProblem(AttentionShape(heads: 2, queryLength: 7, headDim: 8))
    let inputs = TestInputs(problem, seed: 1)
    let error = #expect(throws: AttentionError.self) {
      try ScoreMatrix.compute(
        .raw, of: problem, query: inputs.query.view, key: inputs.key.view,
        into: TestTensor(TensorShape(1, 2, 7, 8)).mutableView, on: Teams.of(1))
    }
    #expect(error?.argument == "scores" && error?.kind == .shapeMismatch)
    #expect(throws: AttentionError.self) {
      try ScoreMatrix.shape(
        for: AttentionProblem(
          AttentionShape(
            batch: 1 << 20, heads: 1, queryLength: 1 << 20, keyLength: 1 << 20,
            headDim: 1)))
    }
  }
}
