import Attention
import AttentionBench
import RealModule
import Testing

/// The bound as mathematics: all of it in fp64, no directions, no rounding.
@Suite struct RowBoundTests {
  /// The bounds of all rows with the distances measured from `centre`, and the errors they bound.
  private func bounds(
    _ test: BoundCase, _ strategy: any AttentionStrategy, centre: [Double]
  ) throws -> [(bound: RowBound, error: Double, radius: Double)] {
    let shape = test.problem.shape
    let distances = try Tensor(TensorShape(shape.batch, shape.kvHeads, shape.keyLength, 1))
    for row in distances.elements.indices {
      let value = (0..<shape.valueDim).map {
        Double(test.tensors.value.elements[row * shape.valueDim + $0])
      }
      distances.elements[row] = Float(distance(value, centre)).nextUp
    }
    let column = try AttentionProblem(
      AttentionShape(
        batch: shape.batch, heads: shape.heads, kvHeads: shape.kvHeads,
        queryLength: shape.queryLength, keyLength: shape.keyLength, headDim: shape.headDim,
        valueDim: 1),
      scoring: Scoring(
        scale: test.problem.scale, softcap: test.problem.scoring.softcap,
        sinkLogits: test.problem.scoring.sinkLogits),
      visibility: Visibility(
        causal: test.problem.visibility.causal, offset: test.problem.visibility.offset,
        keyLengths: test.problem.visibility.keyLengths))
    let full = test.rows(SoftmaxOracle(full: test.problem))
    let own = test.rows(strategy.oracle(for: test.problem))
    let fullSpread = test.rows(SoftmaxOracle(full: column), value: distances.view)
    let ownSpread = test.rows(strategy.oracle(for: column), value: distances.view)
    let radius = Double(distances.elements.max() ?? 0)
    return full.indices.map { row in
      let mass =
        full[row].logSumExp == -.infinity
        ? 1 : Double.exp(own[row].logSumExp - full[row].logSumExp)
      let bound = RowBound(
        RowBound.Parts(
          massKept: mass, fullSpread: fullSpread[row].output[0],
          keptSpread: ownSpread[row].output[0],
          outputSpread: distance(own[row].output, centre),
          outputNorm: distance(own[row].output)))
      return (bound, distance(full[row].output, own[row].output), radius)
    }
  }

  @Test func itHoldsOnEveryRowWhateverTheCentre() throws {
    for test in try BoundCase.all() {
      let dimension = test.problem.shape.valueDim
      for strategy in try test.strategies() where strategy.operatorClass == .restricted {
        for centre in [0.0, 1.0, -30.0] {
          let rows = try bounds(
            test, strategy, centre: Array(repeating: centre, count: dimension))
          for row in rows {
            // The oracle itself rounds, in the thirteenth digit.
            let slack = 1e-11 * row.radius
            #expect(row.error <= row.bound.distance + slack, "\(test) \(strategy)")
            let classic = 2 * (1 - row.bound.massKept) * row.radius
            #expect(row.bound.distance <= classic + slack, "\(test) \(strategy)")
          }
        }
      }
    }
  }

  @Test func aRowThatKeepsEverythingIsOffByNothing() throws {
    let test = try BoundCase(
      "all", AttentionProblem(AttentionShape(heads: 1, queryLength: 40, headDim: 8)), .normal,
      seed: 1)
    let strategy = try StrategyRegistry.standard.strategy("window(200)")
    for row in try bounds(test, strategy, centre: Array(repeating: 0, count: 8)) {
      #expect(row.bound.distance < 1e-11)
      #expect(abs(row.bound.massKept - 1) < 1e-12)
    }
  }

  @Test func whatIsNotANumberBoundsNothing() {
    let parts = RowBound.Parts(
      massKept: .nan, fullSpread: 1, keptSpread: 1, outputSpread: 1, outputNorm: 1)
    #expect(RowBound(parts).distance == .infinity)
    #expect(RowBound(parts).massKept == 0)
    var spread = parts
    spread.massKept = 0.5
    spread.fullSpread = .nan
    #expect(RowBound(spread).distance == .infinity)
    #expect(MassCertificate([RowBound(spread)]).relativeL2Bound == nil)
    #expect(MassCertificate([RowBound(spread)]).worstRowBound == nil)
  }
}
