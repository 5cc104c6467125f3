import Attention
import AttentionBench
import AttentionTestSupport
import MachineTopology
import Measuring
import RealModule
import Testing

/// How much of full attention lies on the keys that are kept, beside a definition written once more.
@Suite struct RecallTests {
  private let team: WorkerTeam

  init() throws { team = try WorkerTeam(threads: 2) }

  private static func allRows(_ shape: AttentionShape) -> [SampledRow] {
    (0..<shape.batch * shape.heads * shape.queryLength).map { index in
      SampledRow(
        batch: index / shape.queryLength / shape.heads,
        head: index / shape.queryLength % shape.heads, row: index % shape.queryLength)
    }
  }

  /// Weights of full attention by key; nil of a row without any.
  private static func weights(_ test: BoundCase, _ place: SampledRow) -> [Int: Double]? {
    let (shape, geometry) = (test.problem.shape, test.problem.geometry(batch: place.batch))
    let keys = geometry.visible(from: place.row + geometry.offset)
    let query = test.tensors.query.view.row(place.batch, place.head, place.row)
    var scores: [Int: Double] = [:]
    for key in keys {
      let row = test.tensors.key.view.row(place.batch, place.head / shape.groupSize, key)
      var score = 0.0
      for column in 0..<shape.headDim { score += Double(query[column]) * Double(row[column]) }
      score *= Double(test.problem.scale)
      if let cap = test.problem.scoring.softcap.map(Double.init) {
        score = cap * Double.tanh(score / cap)
      }
      scores[key] = score
    }
    guard let largest = scores.values.max() else { return nil }
    let sum = scores.values.reduce(0) { $0 + Double.exp($1 - largest) }
    return scores.mapValues { Double.exp($0 - largest) / sum }
  }

  @Test func theFiguresAreThoseOfTheDefinition() throws {
    for test in try BoundCase.all() {
      let places = Self.allRows(test.problem.shape)
      let reference = RecallReference(test.problem, rows: places, test.tensors.views, on: team)
      let allWeights = places.map { Self.weights(test, $0) }
      let allFalling = allWeights.map { $0?.values.sorted(by: >) ?? [] }
      for strategy in try test.strategies() where strategy.operatorClass == .restricted {
        let oracle = strategy.oracle(for: test.problem)
        let recalls = reference.rowRecalls(of: oracle, test.tensors.views, on: team)
        for (index, (place, recall)) in zip(places, recalls).enumerated() {
          let name = "\(test) \(strategy.spec(for: test.problem)) \(place)"
          guard let weights = allWeights[index] else {
            #expect(recall == nil, "\(name)")
            continue
          }
          let kept = try #require(
            oracle.keptKeys(
              test.tensors.views, batch: place.batch, head: place.head, row: place.row))
          let found = try #require(recall, "\(name)")
          let mass = kept.reduce(0) { $0 + (weights[$1] ?? .nan) }
          let falling = allFalling[index]
          #expect(abs(found.massKept - mass) < 1e-6, "\(name)")
          #expect(abs(found.bestMass - falling.prefix(kept.count).reduce(0, +)) < 1e-6, "\(name)")
          #expect(
            abs(found.massByLot - Double(kept.count) / Double(weights.count)) < 1e-12, "\(name)")
          if kept.isEmpty {
            #expect(found.topKeysFound == 0)
            continue
          }
          let edge = falling[kept.count - 1]
          // Equal scores, as fp32 holds them, are equally good.
          let surely = kept.count { (weights[$0] ?? 0) >= edge }
          let maybe = min(kept.count { (weights[$0] ?? 0) >= edge * (1 - 1e-5) }, kept.count)
          let share = found.topKeysFound * Double(kept.count)
          #expect(share >= Double(min(surely, kept.count)) - 1e-9, "\(name)")
          #expect(share <= Double(maybe) + 1e-9, "\(name)")
          #expect(found.massKept <= found.bestMass + 1e-6, "\(name)")
        }
      }
    }
  }

  /// The mass is what the certificate bounds from below on every row.
  @Test func theCertifiedMassIsBelowIt() throws {
    for test in try BoundCase.all() where test.problem.scoring.sinkLogits == nil {
      let certifier = try MassCertifier(test.problem, tensors: test.tensors, team: team)
      let places = Self.allRows(test.problem.shape)
      let reference = RecallReference(test.problem, rows: places, test.tensors.views, on: team)
      for text in ["window(9, sinks: 2)", "topk(9)"] {
        let strategy = try StrategyRegistry.standard.strategy(text)
        let bounds = try certifier.rowBounds(of: strategy)
        let recalls = reference.rowRecalls(
          of: strategy.oracle(for: test.problem), test.tensors.views, on: team)
        for (bound, recall) in zip(bounds, recalls) {
          guard let recall else { continue }
          #expect(bound.massKept <= recall.massKept + 1e-6, "\(test) \(text)")
          #expect(bound.massKept >= recall.massKept - 2e-3, "\(test) \(text)")
        }
      }
    }
  }

  private func recall(_ text: String, _ test: BoundCase) throws -> Recall? {
    let strategy = try StrategyRegistry.standard.strategy(text)
    return RecallReference(
      test.problem, rows: Self.allRows(test.problem.shape), test.tensors.views, on: team
    ).recall(of: strategy.oracle(for: test.problem), test.tensors.views, on: team)
  }

  @Test func theBestKeysRealiseAllThereIsToGain() throws {
    let test = try BoundCase(layer: "layer3", n: 96, causal: true)
    let best = try #require(try recall("topk(8)", test))
    #expect(abs(best.massKept - best.bestMass) < 1e-6)
    #expect(best.topKeysFound == 1)
    #expect(abs((best.gainRealised ?? 0) - 1) < 1e-5)
    let blocks = try #require(try recall("topblocks(4, 2)", test))
    let window = try #require(try recall("window(8)", test))
    for some in [blocks, window] {
      #expect(some.massKept < best.massKept && some.topKeysFound < 1)
      #expect((some.gainRealised ?? 2) < 1)
    }
    // All that is there: nothing to gain.
    let all = try #require(try recall("window(96)", test))
    #expect(abs(all.massKept - 1) < 1e-6 && all.topKeysFound == 1 && all.gainRealised == nil)
    #expect(try recall("linear", test) == nil)
  }

  /// Rows that weights cannot be worked out for say nothing.
  @Test func rowsWithoutWeightsDoNotCount() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 8, keyLength: 8, headDim: 4)
    let problem = try AttentionProblem(
      shape, visibility: Visibility(causal: true, offset: .fixed(-2)))
    let test = try BoundCase("few", problem, .normal, seed: 9)
    test.tensors.query.elements[7 * 4] = .nan
    let recall = try #require(try recall("window(2)", test))
    #expect(recall.rowCount == 5)
    #expect(recall.massKept > 0 && recall.massKept <= 1)
    for row in 0..<8 { test.tensors.query.elements[row * 4] = .nan }
    #expect(try self.recall("window(2)", test) == nil)
  }

  /// The order of many equal scores decides nothing.
  @Test func equalScoresAreEquallyGood() throws {
    let shape = try AttentionShape(heads: 1, queryLength: 16, headDim: 4)
    let test = try BoundCase("zeros", AttentionProblem(shape), .normal, seed: 2)
    for index in test.tensors.key.elements.indices { test.tensors.key.elements[index] = 0 }
    let recall = try #require(try recall("window(left: 2, right: 0)", test))
    #expect(recall.topKeysFound == 1 && recall.gainRealised == nil)
  }
}
