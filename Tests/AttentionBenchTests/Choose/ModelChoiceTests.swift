import Attention
import AttentionBench
import Foundation
import Testing

/// Choices for a model on fakes: made-up times and errors.
@Suite struct ModelChoiceTests {
  /// Three layers of two heads. A window's squared error on a head is 1/3 of what its layer's reach
  /// is short of; its time is its width.
  private struct Model {
    var sensitivities = [1.0, 1, 1]
    /// The width from which a head loses nothing, by layer and head.
    var reach = [[100, 2000], [100, 100], [2000, 2000]]
    var limit: Double? = 0.3
    var budget = 1e6
    let stop = StopFlag()
    let clock = FakeClock()
    let fake: FakeChoiceExecutor

    init() {
      fake = FakeChoiceExecutor(FakeExecutor(clock: clock, probe: FakeProbe(clock)))
    }

    static func width(_ strategy: any AttentionStrategy, _ problem: AttentionProblem) -> Int {
      strategy.name == "flash" ? 4096 : max(strategy.firstNumber(problem), 1)
    }

    func choose(_ emit: @escaping (ModelChoiceEvent) -> Void = { _ in }) throws -> ModelChoice {
      try measure(emit).choice
    }

    func measure(
      _ emit: @escaping (ModelChoiceEvent) -> Void = { _ in }
    ) throws -> (choice: ModelChoice, measurement: ModelMeasurement) {
      let layers = try sensitivities.enumerated().map { number, sensitivity in
        ModelLayer(
          number: number, name: "layer\(number)",
          problem: try AttentionProblem(
            AttentionShape(heads: 2, queryLength: 4096, headDim: 64),
            visibility: Visibility(causal: true)), sensitivity: sensitivity)
      }
      let (reach, fake) = (reach, fake)
      fake.inner.seconds = { cell, _ in 1e-6 * Double(Self.width(cell.strategy, cell.problem)) }
      let question = ModelChoiceEngine.Question(
        layers: layers, placement: SweepPlacement(threads: 2, binding: .none),
        series: { problem in
          try ["flash,full", "linear"].map { try StrategyRegistry.standard.strategies($0) }
            + StrategyRegistry.standard.candidateSeries(for: problem).filter {
              $0.first?.name == "window"
            }
        }, maximumTotalError: limit)
      return try ModelChoiceEngine(
        question, budget: budget, memoryBytes: 1 << 40,
        instruments: ModelChoiceEngine.Instruments(
          executor: { layer in
            fake.errors = { strategy, problem in
              reach[layer.number].map { reach in
                let short = Double(reach - Self.width(strategy, problem)) / Double(reach)
                return strategy.name == "linear" ? .infinity : max(0, short)
              }
            }
            return fake
          }, clock: clock),
        stop: stop, emit: emit
      ).run()
    }
  }

  @Test func headsThatReachLittleGetNarrowWindows() throws {
    let choice = try Model().choose()
    let chosen = try #require(choice.chosen)
    #expect(choice.baseline == "flash")
    #expect(chosen.totalError <= 0.3 && chosen.speedup > 1.5)
    #expect(choice.layers.allSatisfy(\.isMeasured) && !choice.wasInterrupted)
    // What the layers say adds up to what the point says.
    let squares = choice.layers.reduce(0) { $0 + $1.relativeError * $1.relativeError }
    #expect(abs(squares.squareRoot() - chosen.totalError) < 1e-9)
    let seconds = choice.layers.reduce(0) { $0 + $1.seconds }
    #expect(abs(seconds - chosen.seconds) < 1e-9 * seconds)
    // Faster heads are the ones that reach less.
    #expect(choice.layers[1].seconds < choice.layers[0].seconds)
    #expect(choice.layers[0].seconds < choice.layers[2].seconds)
    #expect(choice.layers[0].heads[0].pairsShare < choice.layers[0].heads[1].pairsShare)
    #expect(!choice.layers.flatMap(\.heads).contains { $0.strategy.hasPrefix("linear") })
  }

  @Test func theCurveRisesWithTheLimit() throws {
    let curve = try Model().choose().curve
    #expect(curve.count > 4)
    for (one, next) in zip(curve, curve.dropFirst()) {
      #expect(one.limit < next.limit && one.seconds >= next.seconds)
      #expect(one.speedup <= next.speedup && one.pairsShare <= 1)
    }
    #expect(curve.allSatisfy { $0.totalError <= $0.limit })
  }

  /// With the same limit in nats the layer that costs little bears the error.
  @Test func sensitivitiesMoveTheError() throws {
    var model = Model()
    model.reach = Array(repeating: [2000, 2000], count: 3)
    model.sensitivities = [0, 1, 25]
    let weighted = try model.choose()
    let errors = weighted.layers.map(\.relativeError)
    #expect(errors[0] > errors[1] && errors[1] > errors[2])
    // What costs nothing is as fast as can be.
    let least =
      weighted.options.filter { $0.strategy.hasPrefix("window") && $0.layers.contains(0) }
      .map(\.seconds).min() ?? 0
    #expect(abs(weighted.layers[0].seconds - least) < 1e-6)
  }

  @Test func aLimitOfNothingKeepsTheBaseline() throws {
    var model = Model()
    model.reach = Array(repeating: [5000, 5000], count: 3)
    model.limit = 0
    let choice = try model.choose()
    #expect(choice.layers.allSatisfy { $0.heads.allSatisfy { $0.strategy == "flash" } })
    #expect(choice.chosen?.totalError == 0)
    #expect(abs((choice.chosen?.speedup ?? 0) - 1) < 1e-9)
  }

  @Test func withoutALimitThereIsACurveAlone() throws {
    var model = Model()
    model.limit = nil
    let choice = try model.choose()
    #expect(choice.chosen == nil && choice.timed == nil && !choice.curve.isEmpty)
  }

  @Test func thePlanIsTimedBesideTheBaseline() throws {
    let timed = try #require(try Model().choose().timed)
    #expect(timed.layers == 3 && timed.seconds > 0)
    #expect(abs(timed.baselineSeconds - 3 * 4096e-6) < 1e-9)
  }

  /// Stopped in the middle: what was measured counts, the rest keeps the baseline.
  @Test func anInterruptKeepsWhatIsKnown() throws {
    let model = Model()
    let choice = try model.choose { event in
      if case .layerMeasured(_, _, let done, _) = event, done == 1 { model.stop.raise() }
    }
    #expect(choice.wasInterrupted)
    #expect(choice.layers.map(\.isMeasured) == [true, true, false])
    #expect(choice.layers[2].heads.allSatisfy { $0.strategy == "flash" })
    #expect(choice.layers[0].heads.contains { $0.strategy != "flash" })
    #expect(choice.timed == nil)
  }

  /// Stopped before anything was measured.
  @Test func anInterruptAtOnceKeepsTheBaseline() throws {
    let model = Model()
    model.stop.raise()
    let choice = try model.choose()
    #expect(choice.wasInterrupted && choice.unmeasured.count == 3)
    #expect(choice.curve.isEmpty)
  }

  @Test func aBudgetThatIsSpentEndsTheMeasurement() throws {
    var model = Model()
    model.budget = 0.05
    let choice = try model.choose()
    #expect(!choice.wasInterrupted && !choice.unmeasured.isEmpty)
    #expect(choice.unmeasured.allSatisfy { $0.heads.allSatisfy { $0.strategy == "flash" } })
  }

  @Test func theFirstCurveComesBeforeTheEnd() throws {
    var first: ModelChoice?
    var measured = 0
    _ = try Model().choose { event in
      switch event {
      case .firstCurve(let choice): (first, measured) = (choice, measured)
      case .layerMeasured: if first == nil { measured += 1 }
      default: break
      }
    }
    #expect(first?.curve.isEmpty == false && measured < 3)
  }

  /// What was measured once serves every limit and every weight, and comes back from its file as it was.
  @Test(arguments: [0, 0.1, 0.3, 0.9])
  func anotherChoiceNeedsNoOtherMeasurement(limit: Double) throws {
    for sensitivities in [[1.0, 1, 1], [0, 1, 25]] {
      var model = Model()
      model.limit = limit
      model.sensitivities = sensitivities
      var expected = try model.choose()
      let measurement = try Model().measure().measurement
      let read = try JSONDecoder().decode(
        ModelMeasurement.self, from: JSONEncoder().encode(measurement))
      #expect(read == measurement)
      let again = read.choice(within: limit, sensitivities: sensitivities)
      // The plan itself was run only where it was measured.
      for place in expected.layers.indices {
        expected.layers[place].timedSeconds = nil
        expected.layers[place].timedBaselineSeconds = nil
      }
      #expect(again == expected)
    }
  }

  @Test func prefixesEndInTheLayersNumber() {
    #expect(ModelLayer.number(of: "layer12") == 12)
    #expect(ModelLayer.number(of: "model.layers.3") == 3)
    #expect(ModelLayer.number(of: "encoder") == nil)
  }
}
