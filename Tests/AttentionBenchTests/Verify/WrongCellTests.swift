import Attention
import AttentionBench
import Foundation
import MachineTopology
import TensorFiles
import Testing

/// Strategies with faults through a whole sweep: what `verify` calls wrong is wrong there too, and
/// nothing that reads results takes its times for times.
@Suite(.serialized) struct WrongCellTests {
  private static let registry = StrategyRegistry.standard
    .adding(Faultless.family).adding(Imprecise.family).adding(Forgetful.family).adding(
      WrongBase.family
    )
    .adding(Pretender.family).adding(OffByOne.family).adding(Denier.family)

  private static func plan(
    _ strategies: String, sizes: [Int], heads: Int = 2, dimension: Int = 16,
    elements: Storage = Storage()
  ) throws -> SweepPlan {
    try SweepPlan(
      sizes: sizes, strategies: registry.strategies(strategies),
      placements: [SweepPlacement(threads: 1, binding: .none)], seed: 3
    ) { n in
      try AttentionProblem(
        AttentionShape(heads: heads, kvHeads: 1, queryLength: n, headDim: dimension),
        visibility: Visibility(causal: true), storage: elements)
    }
  }

  private static func sweep(
    _ plan: SweepPlan, into path: String, inputs: SweepInputs? = nil
  ) throws -> [ResultRow] {
    var limits = SweepLimits.host()
    limits.relativeInterval = 1
    limits.minimumSamples = 1
    return try plan.run(into: path, limits: limits, inputs: inputs).rows
  }

  /// n is large enough for the window of `off-by-one`, and verify draws other rows.
  @Test(arguments: [Storage(), Storage(.float16)])
  func aSweepAgreesWithVerify(_ elements: Storage) throws {
    let names = ["faultless", "imprecise", "forgetful", "pretender", "off-by-one", "flash"]
    // An error of 1e-4 is below what storing the output as fp16 is off by.
    let tried = elements.isFloat32 ? names : names.filter { $0 != "imprecise" }
    try withTemporaryDirectory { path in
      let plan = try Self.plan(tried.joined(separator: ","), sizes: [2000], elements: elements)
      let rows = try Self.sweep(plan, into: path + "/out")
      let verifier = Verifier(
        team: try WorkerTeam(threads: 1), rowLimit: 40, seed: 3, memoryLimit: ByteCount(1 << 40))
      for cell in plan.cells {
        let verified = verifier.verify(cell.strategy, on: cell.problem) {
          _ throws(AttentionError) in
          try ProblemTensors(random: cell.problem.shape, seed: 3)
        }
        let row = try #require(rows.first { $0.cellID == cell.id })
        #expect(verified.isFailure == !["faultless", "flash"].contains(cell.spec), "\(cell.spec)")
        #expect((row.status == .wrong) == verified.isFailure, "\(cell.spec): \(row.reason)")
        #expect(row.status == .wrong || row.status.isMeasured)
        guard row.status == .wrong else { continue }
        #expect(row.reason.hasPrefix("the output is not what its definition gives: "))
        #expect(row.accuracy.oracleRelativeL2 != nil && row.time.samples > 0)
      }
      #expect(
        rows.first { $0.strategy.name == "forgetful" }?.reason
          .hasSuffix("not finite in 1 of 32 checked rows where its definition is") == true)
    }
  }

  @Test func nothingThatReadsResultsTakesItForMeasured() throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan("flash,pretender", sizes: [32, 64, 128, 256])
      let rows = try Self.sweep(plan, into: path + "/out")
      let wrongRows = rows.filter { $0.status == .wrong }
      #expect(wrongRows.count == 4)
      // It is the fastest by far, and chosen nowhere.
      let largest = rows.filter { $0.n == 256 }
      let choice = Recommendation(largest, requirements: Requirements())
      #expect(choice.choice == "flash")
      #expect(choice.paretoFront == ["flash"])
      let samples = try RecordFile<SampleRow>(reading: path + "/out/samples.csv").rows
      let curves = ScalingCurve.curves(rows: rows, samples: samples)
      #expect(Self.cellCount("pretender", curves) == 0)
      #expect(Self.cellCount("flash", curves) == 4)
      let run = try RecordedRun(reading: path + "/out")
      let compared = Comparison(run, run).cells
      let wrong = compared.filter { $0.b.row.status == .wrong }
      #expect(wrong.count == 4)
      #expect(wrong.map(\.verdict) == Array(repeating: .unclear, count: 4))
    }
  }

  private static func cellCount(_ strategy: String, _ curves: [ScalingCurve]) -> Int? {
    curves.first { $0.label.strategy == strategy }?.cells.count
  }

  @Test func aResumeMeasuresItAgain() throws {
    try withTemporaryDirectory { path in
      let plan = try Self.plan("flash,pretender", sizes: [64])
      let rows = try Self.sweep(plan, into: path + "/out")
      let store = try RunDirectory(path: path + "/out", resuming: true)
      let executor = try AttentionExecutor(
        placements: plan.placements, inputs: .normal(seed: 3), seed: 3, topology: .host())
      var limits = SweepLimits()
      (limits.relativeInterval, limits.minimumSamples) = (1, 1)
      let again = try SweepEngine(
        plan: plan, limits: limits,
        instruments: SweepEngine.Instruments(
          executor: executor, clock: MonotonicClock(), probe: HostProbe(cpus: CPUSet([0])),
          store: store),
        labels: RowLabels(runID: "r", build: .init(blasCore: "", isa: "")), earlierRows: rows
      ).run().rows
      #expect(again.map(\.strategy.name) == ["pretender"])
      #expect(again.map(\.status) == [.wrong])
    }
  }

  /// A key that is not a number spoils every row that looks at it, and no other.
  @Test func aNaNThatIsNotLookedAtIsNoFault() throws {
    func tensor(_ name: String, heads: Int, isSpoilt: Bool) throws -> FileProblem.Source {
      let tensor = try HostTensor(shape: [heads, 96, 16]) { elements in
        for index in elements.indices {
          let row = index / 16 % 96
          elements[index] = isSpoilt && row == 3 ? .nan : Float((index * 7919) % 23) / 11 - 1
        }
      }
      return FileProblem.Source(tensor, name: name)
    }
    let file = try FileProblem(
      query: tensor("q", heads: 2, isSpoilt: false), key: tensor("k", heads: 1, isSpoilt: true),
      value: tensor("v", heads: 1, isSpoilt: false))
    try withTemporaryDirectory { path in
      let plan = try Self.plan("flash,window(16),full,linear,denier", sizes: [96])
      let rows = try Self.sweep(plan, into: path + "/out", inputs: .tensors(file))
      for row in rows where row.strategy.name != "denier" {
        #expect(row.status.isMeasured, "\(row.cellID): \(row.reason)")
        #expect(try #require(row.accuracy.oracleRelativeL2) < 1e-5)
        // There is no distance from what is not a number, and the row says so.
        #expect(row.accuracy.relativeL2 == nil && row.accuracy.maximumAbsolute == nil)
        #expect(row.reason.contains("no error: full attention is not finite in "), "\(row.reason)")
      }
      let denier = try #require(rows.first { $0.strategy.name == "denier" })
      #expect(denier.status == .wrong)
      #expect(denier.reason.contains("finite in "), "\(denier.reason)")
      #expect(denier.reason.hasSuffix("checked rows where its definition is not"))
    }
  }
}
