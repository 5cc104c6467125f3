import Attention
import AttentionBench
import MachineTopology
import Testing

/// What a program with a strategy of its own calls.
@Suite(.serialized) struct SweepRunTests {
  private static func plan() throws -> SweepPlan {
    let registry = StrategyRegistry.standard.adding(OwnKeyAttention.family)
    return try SweepPlan(
      sizes: [32, 64], strategies: registry.strategies("flash,ownkey"),
      placements: [SweepPlacement(threads: 1, binding: nil, topology: .host())], seed: 1
    ) { n in
      try AttentionProblem(
        AttentionShape(heads: 2, queryLength: n, headDim: 16), visibility: Visibility(causal: true))
    }
  }

  private static var limits: SweepLimits {
    var limits = SweepLimits.host()
    limits.relativeInterval = 0.5
    return limits
  }

  @Test func writesWhatTheCommandWrites() throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan()
      let outcome = try plan.run(into: path + "/out", limits: Self.limits)
      let rows = try RunDirectory.readResults(in: path + "/out").rows
      #expect(rows == outcome.rows)
      #expect(Set(rows.map(\.cellID)) == Set(plan.cells.map(\.id)))
      for row in rows {
        #expect(row.status.isMeasured, "\(row.cellID): \(row.reason)")
        #expect(try #require(row.accuracy.oracleRelativeL2) < 1e-5)
      }
      let metadata = try RunDirectory.readMetadata(in: path + "/out")
      #expect(metadata.completed && metadata.endedAt != nil)
      #expect(rows.allSatisfy { $0.runID == metadata.runID })
      #expect(metadata.ceilings == outcome.ceilings)
    }
  }

  @Test func keepsEarlierResults() throws {
    try withTemporaryDirectory { path in
      let stop = StopFlag()
      stop.raise()
      let plan = try Self.plan()
      let outcome = try plan.run(into: path + "/out", limits: Self.limits, stop: stop)
      #expect(outcome.wasInterrupted && outcome.rows.isEmpty)
      #expect(try !RunDirectory.readMetadata(in: path + "/out").completed)
      #expect(throws: RecordError.resultsExist(path: path + "/out/results.csv")) {
        try plan.run(into: path + "/out", limits: Self.limits)
      }
    }
  }
}

/// Every query sees the key at its own position.
private struct OwnKeyAttention: PatternStrategy, OutsideStrategy {
  static let name = "ownkey"
  static let operatorClass = OperatorClass.restricted

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func pattern(for geometry: MaskGeometry) -> any KeyPattern { Pattern(geometry: geometry) }

  private struct Pattern: KeyPattern {
    let geometry: MaskGeometry
    let rowStrides = [1]

    func includes(position: Int, key: Int) -> Bool {
      position == key && geometry.visible(from: position).contains(key)
    }

    func sequences(pass: Int, residue: Int) -> [KeySequence] {
      [KeySequence(0..<geometry.keyLength)]
    }

    func range(pass: Int, sequence index: Int, position: Int) -> Range<Int> {
      (position..<position + 1).clamped(to: geometry.visible(from: position))
    }
  }
}
