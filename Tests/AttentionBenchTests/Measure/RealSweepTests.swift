import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles
import Testing

/// The engine on real tensors, threads and files; small enough to take no time.
@Suite(.serialized) struct RealSweepTests {
  /// Sweeps into a directory, with rules that need few samples.
  private static func sweep(
    into path: String, _ plan: SweepPlan, inputs: SweepInputs = .normal(seed: 1)
  ) throws -> SweepEngine.Outcome {
    let topology = try MachineTopology.host()
    let executor = try AttentionExecutor(
      placements: plan.placements, inputs: inputs, seed: plan.seed, topology: topology)
    var limits = SweepLimits()
    limits.relativeInterval = 0.5
    limits.minimumSamples = 3
    let engine = SweepEngine(
      plan: plan, limits: limits,
      instruments: SweepEngine.Instruments(
        executor: executor, clock: MonotonicClock(), probe: HostProbe(cpus: topology.allowed),
        store: try RunDirectory(path: path, resuming: false)),
      labels: RowLabels(
        runID: "real",
        build: ResultRow.Build(blasCore: BLASLibrary.core, isa: KernelTable.active.name)))
    return try engine.run()
  }

  private static func plan(
    sizes: [Int], strategies: String, causal: Bool = false,
    elements: Storage = Storage()
  ) throws -> SweepPlan {
    let topology = try MachineTopology.host()
    return try SweepPlan(
      sizes: sizes, strategies: StrategyRegistry.standard.strategies(strategies),
      placements: [SweepPlacement(threads: 1, binding: nil, topology: topology)], seed: 1
    ) { n in
      try AttentionProblem(
        AttentionShape(heads: 4, kvHeads: 2, queryLength: n, headDim: 32, valueDim: 16),
        visibility: Visibility(causal: causal), storage: elements)
    }
  }

  @Test(arguments: [ElementType.float16, .bfloat16])
  func storedCellsSaySoAndAreHeldToTheirOwnReferences(_ type: ElementType) throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan(
        sizes: [64, 100], strategies: "full,flash,window(16, sinks: 2),strided(8),linear",
        elements: Storage(type))
      _ = try Self.sweep(into: path + "/out", plan)
      for row in try RunDirectory.readResults(in: path + "/out").rows {
        #expect([.ok, .noisy].contains(row.status), "\(row.cellID): \(row.reason)")
        #expect(row.shape.elementType == (type == .float16 ? "fp16" : "bf16"))
        let n = row.shape.queryLength
        #expect(row.work.minimumBytes == 2 * n * (4 * 32 + 2 * 32 + 2 * 16 + 4 * 16))
        // The rounding of the output, and no more.
        let error = try #require(row.accuracy.oracleRelativeL2)
        #expect(error > type.unitRoundoff / 10 && error < type.unitRoundoff, "\(row.cellID)")
      }
    }
  }

  @Test(arguments: [false, true])
  func everyColumnOfASmallSweepIsSane(causal: Bool) throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan(
        sizes: [64, 100],
        strategies: "full,flash,window(16, sinks: 2),strided(8),fixed(8, 2),linear",
        causal: causal)
      _ = try Self.sweep(into: path + "/out", plan)
      let rows = try RunDirectory.readResults(in: path + "/out").rows
      #expect(Set(rows.map(\.cellID)) == Set(plan.cells.map(\.id)))
      for row in rows { try Self.check(row, causal: causal) }
      let samples = try RecordFile<SampleRow>(reading: path + "/out/samples.csv").rows
      for row in rows {
        let own = samples.filter { $0.cellID == row.cellID }
        #expect(own.map(\.index) == Array(0..<row.time.samples))
        #expect(SampleSummary(own.map(\.time))?.median == row.time.median)
      }
    }
  }

  private static func check(_ row: ResultRow, causal: Bool) throws {
    #expect([.ok, .noisy].contains(row.status), "\(row.cellID): \(row.reason)")
    #expect(row.shape.heads == 4 && row.shape.kvHeads == 2)
    #expect(row.shape.headDimension == 32 && row.shape.valueDimension == 16)
    #expect(row.shape.isCausal == causal && row.shape.elementType == "fp32")
    #expect(row.placement.threads == 1 && row.placement.bind.hasPrefix("core:"))
    let times = try [
      row.time.minimum, row.time.lowerQuartile, row.time.median, row.time.upperQuartile,
    ].map { try #require($0) }
    #expect(times == times.sorted() && times[0] > 0)
    #expect(try #require(row.time.intervalLower) <= times[2])
    #expect(try #require(row.time.intervalUpper) >= times[2])
    #expect(try #require(row.time.cpuTime) > 0)
    let n = row.shape.queryLength
    let flops = try #require(row.work.flops)
    #expect(abs(try #require(row.work.gflopPerSecond) - Double(flops) / times[2] / 1e9) < 1e-6)
    #expect(try #require(row.work.percentOfPeak) > 0)
    #expect(row.work.minimumBytes == 4 * n * (4 * 32 + 2 * 32 + 2 * 16 + 4 * 16))
    #expect(try #require(row.work.workspaceBytes) > 0)
    #expect(row.accuracy.rowsChecked == 32)
    #expect(try #require(row.accuracy.oracleRelativeL2) < 1e-5, "\(row.cellID)")
    let quality = try #require(row.accuracy.relativeL2)
    if row.strategy.classification == "exact" {
      #expect(row.work.pairs == 4 * (causal ? n * (n + 1) / 2 : n * n))
      #expect(flops == 2 * (row.work.pairs ?? 0) * (32 + 16))
      #expect(quality < 1e-5)
    } else {
      #expect(["restricted", "different"].contains(row.strategy.classification))
      #expect(quality > 1e-3)
    }
  }

  @Test func pairsOfAWindowAreCountedExactly() throws {
    let plan = try Self.plan(sizes: [100], strategies: "window(16)", causal: true)
    // 16 keys a query, less what the first 15 lack.
    #expect(try plan.cells[0].work.get().pairs == 4 * (100 * 16 - 15 * 16 / 2))
  }

  @Test func theSameSeedGivesTheSameErrors() throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan(sizes: [100], strategies: "flash,linear")
      let errors = try ["/a", "/b"].map { name in
        try Self.sweep(into: path + name, plan).rows.sorted { $0.cellID < $1.cellID }
          .map(\.accuracy)
      }
      #expect(errors[0] == errors[1])
      let other = try Self.sweep(into: path + "/c", plan, inputs: .normal(seed: 2)).rows
        .sorted { $0.cellID < $1.cellID }.map(\.accuracy)
      #expect(other != errors[0])
    }
  }

  @Test func aSizeTakesTheFirstRowsOfGivenTensors() throws {
    // Everything from row 50 on would spoil the result.
    func tensor(_ name: String, heads: Int, columns: Int) throws -> FileProblem.Source {
      let tensor = try HostTensor(shape: [heads, 80, columns]) { elements in
        for index in elements.indices {
          elements[index] = index / columns % 80 < 50 ? Float(index % 7) - 3 : .nan
        }
      }
      return FileProblem.Source(tensor, name: name)
    }
    let file = try FileProblem(
      query: tensor("q", heads: 4, columns: 32), key: tensor("k", heads: 2, columns: 32),
      value: tensor("v", heads: 2, columns: 16))
    #expect(file.rows == 80)
    #expect(try file.shape(n: 50).keyLength == 50)
    #expect(throws: PlanError.self) { try file.shape(n: 81) }
    try withTemporaryDirectory { path in
      let plan = try Self.plan(sizes: [50], strategies: "flash")
      let rows = try Self.sweep(into: path + "/out", plan, inputs: .tensors(file)).rows
      #expect(rows.map(\.status.isMeasured) == [true])
      #expect(try #require(rows[0].accuracy.relativeL2) < 1e-5)
    }
  }

  @Test func aStrategyThatWritesNothingIsFoundOut() throws {
    try withTemporaryDirectory { path in
      let topology = try MachineTopology.host()
      let registry = StrategyRegistry.standard.adding(IdleAttention.family)
      let plan = try SweepPlan(
        sizes: [64], strategies: registry.strategies("flash,idle"),
        placements: [SweepPlacement(threads: 1, binding: nil, topology: topology)], seed: 1
      ) { n in
        try AttentionProblem(AttentionShape(heads: 1, queryLength: n, headDim: 16))
      }
      let rows = try Self.sweep(into: path + "/out", plan).rows
      #expect(rows.first { $0.strategy.name == "flash" }?.status.isMeasured == true)
      #expect(rows.first { $0.strategy.name == "idle" }?.status == .wrong)
    }
  }
}

/// A strategy from outside the package that claims full attention and does nothing.
private struct IdleAttention: OutsideStrategy {
  static let name = "idle"
  static let operatorClass = OperatorClass.exact

  init(_ arguments: StrategyArguments) throws(AttentionError) {}

  func resolvedParameters(for problem: AttentionProblem) -> String { "" }

  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate {
    WorkEstimate(pairs: 1, flops: 1, minimumBytes: 1, workspaceBytes: 0)
  }

  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    Plan(problem: problem)
  }

  private final class Plan: AttentionPlan {
    let problem: AttentionProblem
    let workspaceBytes = 0

    init(problem: AttentionProblem) { self.problem = problem }

    func execute(_ operands: AttentionOperands) {}
  }
}
