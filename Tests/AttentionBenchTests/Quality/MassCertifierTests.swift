import Attention
import AttentionBench
import AttentionTestSupport
import MachineTopology
import Testing

/// The bound as it is computed: fp32 outputs, all rows, every strategy.
@Suite struct MassCertifierTests {
  private let team: WorkerTeam

  init() throws { team = try WorkerTeam(threads: 2) }

  /// What a strategy computes, row by row.
  private func output(_ strategy: any AttentionStrategy, _ test: BoundCase) throws -> [[Double]] {
    let output = try Tensor(test.problem.shape.output)
    try strategy.plan(for: test.problem, on: team).run(
      AttentionOperands(
        query: test.tensors.query.view, key: test.tensors.key.view,
        value: test.tensors.value.view, output: output.mutableView))
    let columns = output.shape.columns
    return stride(from: 0, to: output.elements.count, by: columns).map { start in
      output.elements[start..<start + columns].map(Double.init)
    }
  }

  @Test func itHoldsOnEveryRowOfEveryRestrictedStrategy() throws {
    for test in try BoundCase.all() {
      let certifiers = try [0, 3, 7, 100].map { directions in
        try MassCertifier(
          test.problem, tensors: test.tensors, team: team, directions: directions)
      }
      let full = test.rows(SoftmaxOracle(full: test.problem))
      for strategy in try test.strategies() where strategy.operatorClass != .different {
        let outputs = try output(strategy, test)
        let own = test.rows(strategy.oracle(for: test.problem))
        let errors = full.indices.map { distance(full[$0].output, outputs[$0]) }
        let norms = full.map { distance($0.output) }
        let error = (squares(errors) / squares(norms)).squareRoot()
        for certifier in certifiers {
          let bounds = try certifier.rowBounds(of: strategy)
          for (row, bound) in bounds.enumerated() {
            let name = "\(test) \(strategy) row \(row)"
            #expect(errors[row] <= bound.distance, "\(name)")
            #expect(bound.fullNorm <= norms[row], "\(name)")
            if full[row].logSumExp > -.infinity {
              let mass = own[row].logSumExp - full[row].logSumExp
              #expect(bound.massKept <= .exp(mass), "\(name)")
              #expect(bound.massKept >= .exp(mass) - 2e-3, "\(name)")
            }
          }
          let certificate = MassCertificate(bounds)
          #expect(error <= certificate.relativeL2Bound ?? .infinity, "\(test) \(strategy)")
          #expect(certificate.rowCount == full.count)
        }
      }
    }
  }

  private func squares(_ numbers: [Double]) -> Double { numbers.reduce(0) { $0 + $1 * $1 } }

  /// A certificate of one head speaks of that head's rows in every batch entry, and of no other.
  @Test func itHoldsHeadByHead() throws {
    for test in try BoundCase.all() {
      let certifier = try MassCertifier(test.problem, tensors: test.tensors, team: team)
      let full = test.rows(SoftmaxOracle(full: test.problem))
      let shape = test.problem.shape
      for text in ["window(7)", "strided(7)", "flash"] {
        let strategy = try StrategyRegistry.standard.strategy(text)
        let outputs = try output(strategy, test)
        let heads = Array(0..<shape.heads).filter { $0 != 1 }
        let certificates = try certifier.certificates(of: strategy, heads: heads)
        #expect(Set(certificates.keys) == Set(heads))
        for head in heads {
          var (squaredError, squaredFull) = (0.0, 0.0)
          for row in full.indices where row / shape.queryLength % shape.heads == head {
            let (error, norm) = (
              distance(full[row].output, outputs[row]), distance(full[row].output)
            )
            squaredError += error * error
            squaredFull += norm * norm
          }
          let certificate = try #require(certificates[head])
          let error = (squaredError / squaredFull).squareRoot()
          #expect(error <= certificate.relativeL2Bound ?? .infinity, "\(test) \(text) \(head)")
          #expect(certificate.rowCount == shape.batch * shape.queryLength)
        }
      }
      let linear = try StrategyRegistry.standard.strategy("linear")
      #expect(try certifier.certificates(of: linear, heads: [0]).isEmpty)
    }
  }

  /// One key that nobody near it sees holds nearly all the mass: the error is the distance of its
  /// value from the window's mean, and so is the bound.
  @Test func itIsTheErrorWhereOneLostKeyDominates() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 200, headDim: 16, valueDim: 24)
    let test = try BoundCase("dominant", AttentionProblem(shape), .dominant, seed: 8)
    let strategy = try StrategyRegistry.standard.strategy("window(64)")
    let full = test.rows(SoftmaxOracle(full: test.problem))
    let outputs = try output(strategy, test)
    for (directions, factor) in [(0, 1.5), (7, 1.5), (24, 1.001)] {
      let certifier = try MassCertifier(
        test.problem, tensors: test.tensors, team: team, directions: directions)
      let bounds = try certifier.rowBounds(of: strategy)
      // The dominant key is row 100; the windows of these rows end before it.
      for row in 0..<60 {
        #expect(bounds[row].massKept < 0.01)
        #expect(bounds[row].distance <= factor * distance(full[row].output, outputs[row]))
      }
    }
  }

  @Test func allDirectionsGiveTheErrorItself() throws {
    for test in [
      try BoundCase(layer: "layer3", n: 128, causal: false),
      try BoundCase(layer: "layer0", n: 128, causal: true),
    ] {
      let full = test.rows(SoftmaxOracle(full: test.problem))
      let certifier = try MassCertifier(
        test.problem, tensors: test.tensors, team: team, directions: 32)
      let strategy = try StrategyRegistry.standard.strategy("window(32, sinks: 4)")
      let outputs = try output(strategy, test)
      let longest = full.map { distance($0.output) }.max() ?? 0
      for (row, bound) in try certifier.rowBounds(of: strategy).enumerated() {
        #expect(bound.distance <= distance(full[row].output, outputs[row]) + 1e-2 * longest)
      }
    }
  }

  /// More directions, sharper bound; on real tensors a few suffice to say something.
  @Test func directionsSharpenIt() throws {
    let test = try BoundCase(layer: "layer3", n: 256, causal: false)
    let strategy = try StrategyRegistry.standard.strategy("window(128, sinks: 4)")
    let bounds = try [1, 3, 7, 15, 32].map { directions in
      let certifier = try MassCertifier(
        test.problem, tensors: test.tensors, team: team, directions: directions)
      return try certifier.certificate(of: strategy)?.relativeL2Bound ?? .infinity
    }
    #expect(bounds == bounds.sorted(by: >))
    #expect(bounds[2] < 1)
  }

  /// Longer than a chunk of keys: the parts make up the whole.
  @Test(arguments: [false, true])
  func chunksOfKeysAddUp(causal: Bool) throws {
    let shape = try AttentionShape(heads: 1, queryLength: 2500, headDim: 8, valueDim: 8)
    let test = try BoundCase(
      "long", AttentionProblem(shape, visibility: Visibility(causal: causal)), .normal, seed: 9)
    let certifier = try MassCertifier(test.problem, tensors: test.tensors, team: team)
    let registry = StrategyRegistry.standard
    let flash = try #require(try certifier.certificate(of: registry.strategy("flash")))
    #expect(flash.leastMassKept > 0.99)
    #expect(flash.meanMassKept <= 1)
    #expect(try #require(flash.relativeL2Bound) < 0.1)
    let strided = try registry.strategy("strided(50)")
    let bounds = try certifier.rowBounds(of: strided)
    let outputs = try output(strided, test)
    let oracle = SoftmaxOracle(full: test.problem)
    for row in stride(from: 0, to: 2500, by: 97) {
      let full = oracle.row(
        InputViews(
          query: test.tensors.query.view, key: test.tensors.key.view,
          value: test.tensors.value.view), batch: 0, head: 0, row: row)
      #expect(distance(full.output, outputs[row]) <= bounds[row].distance)
    }
  }

  @Test func whatIsVisibleAndNotANumberHasNoBound() throws {
    let problem = try AttentionProblem(
      AttentionShape(heads: 1, queryLength: 20, keyLength: 40, headDim: 8),
      visibility: Visibility(causal: true, offset: .topLeft))
    let window = try StrategyRegistry.standard.strategy("window(4)")
    // Nobody sees keys 20 to 39.
    for (row, isVisible) in [(30, false), (3, true)] {
      for isKey in [false, true] {
        let test = try BoundCase("nan", problem, .normal, seed: 10)
        (isKey ? test.tensors.key : test.tensors.value).elements[row * 8 + 1] = .nan
        let certifier = try MassCertifier(problem, tensors: test.tensors, team: team)
        let certificate = try #require(try certifier.certificate(of: window))
        #expect((certificate.relativeL2Bound == nil) == isVisible)
        #expect((certificate.worstRowBound == nil) == isVisible)
      }
    }
  }

  @Test func anotherOperatorHasNone() throws {
    let test = try BoundCase(
      "linear", AttentionProblem(AttentionShape(heads: 1, queryLength: 20, headDim: 8)), .normal,
      seed: 11)
    let certifier = try MassCertifier(test.problem, tensors: test.tensors, team: team)
    let linear = try StrategyRegistry.standard.strategy("linear")
    #expect(try certifier.certificate(of: linear) == nil)
  }
}
