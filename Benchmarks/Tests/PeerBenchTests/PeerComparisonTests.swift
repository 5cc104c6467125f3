import Attention
import AttentionBench
import Foundation
import PeerProtocol
import Testing

@testable import PeerBench

/// Whole comparisons of fake peers: what becomes of each in the record.
@Suite(.serialized)
struct PeerComparisonTests {
  @Test func everybodyGetsARowAndTheFaultyOnesSayWhy() throws {
    let faults = [
      "refuses": "prepare: NotImplementedError: not today",
      "dies": "the process ended during prepare with exit status 3; see stderr.log",
      "wrong": "differs from the fp64 definition: max 0.001",
      "misshapen": "the output has shape [1, 1] instead of [1, 2, 5, 4]",
      "miscounts": "the answer to run is not of the protocol",
      "tires": "the process ended during run with exit status 4; see stderr.log",
      "nan": "differs from",
    ]
    let run = try FakeComparison(
      [.fake("none", side: .own)] + faults.keys.sorted().map { .fake($0) } + [.fake("none")])
    for (fault, reason) in faults {
      let row = try #require(run.row("fake.\(fault)"))
      #expect(row.status == .error)
      #expect(row.reason.hasPrefix(reason), "\(fault): \(row.reason)")
      #expect(row.strategy.parameters == "1.0")
    }
    for name in ["flash", "fake.none"] {
      let row = try #require(run.row(name))
      // Noisy where others used the cores.
      #expect(row.status.isMeasured)
      // As the process says, not as the harness's clock.
      #expect(row.time.median == 2e-3)
      #expect(row.time.cpuTime == 1.5e-3)
      #expect(row.time.samples >= 6)
      #expect(row.work.flops == 2 * 2 * 5 * 5 * 8)
      #expect((row.accuracy.oracleRelativeL2 ?? 1) < 1e-6)
    }
    let kept = try RunDirectory.readResults(in: run.folder.path + "/results")
    #expect(kept.rows.count == faults.count + 2)
    #expect(Set(kept.rows.map(\.cellID)).count == kept.rows.count)
    #expect(run.page.contains("| full-n5-d4 | 1 |"))
    #expect(run.page.contains("- full-n5-d4, 1 threads, fake.dies(1.0): error, the process ended"))
  }

  @Test func aPeerThatHangsCostsItsOwnRowOnly() throws {
    let run = try FakeComparison(
      [.fake("none", side: .own), .fake("hangs"), .fake("none")], hurried: .fake("hangs"))
    #expect(run.row("fake.hangs")?.status == .error)
    #expect(run.row("fake.hangs")?.reason.hasPrefix("no answer to prepare within 1 s") == true)
    #expect(run.row("fake.none")?.status.isMeasured == true)
  }

  @Test(arguments: [5, 1])
  func operandsOfAStrategyReachEverybodyByTheirNames(n: Int) throws {
    let work = try Workload(
      recurrent: "gated", rule: "gated", strategy: "gated(head)", n: n, d: 4)
    let run = try FakeComparison(
      [.fake("none", side: .own), .fake("none"), .fake("forgets")], work: work)
    for name in ["gated", "fake.none"] {
      let row = try #require(run.row(name))
      #expect(row.status.isMeasured, "\(row.reason)")
      #expect((row.accuracy.oracleRelativeL2 ?? 1) < 1e-6)
    }
    // Who begins without the state that is given computes something else.
    let row = try #require(run.row("fake.forgets"))
    #expect(row.status == .error)
    #expect(row.reason.hasPrefix("differs from the fp64 definition"), "\(row.reason)")
    let left = try FileManager.default.contentsOfDirectory(atPath: run.folder.path)
    #expect(!left.contains { $0.hasSuffix(".npy") })
  }

  @Test(arguments: ["additive", "topblocks", "bigbird", "indexer"])
  func whatIsAttendedToAndByWhichScoresReachesEverybody(strategy: String) throws {
    let work =
      switch strategy {
      case "additive":
        try Workload(
          strategy, strategy: "additive(3)", n: 5, d: 4, heads: 2, causal: false, additive: true)
      case "topblocks":
        try Workload(
          strategy, strategy: "topblocks(2, 2, rows: 2)", n: 7, d: 4, heads: 2,
          keeping: .blocks(of: 2, top: 2, rows: 2))
      case "bigbird":
        try Workload(
          strategy, strategy: "bigbird(2, 1, 1, 1)", n: 9, d: 4, heads: 2,
          keeping: .given(blocksOf: 2))
      default:
        try Workload(
          strategy, strategy: "indexer(2, heads: 2, dim: 3)", n: 6, d: 4, heads: 2,
          keeping: .index(top: 2))
      }
    let run = try FakeComparison(
      [.fake("none", side: .own), .fake("none"), .fake("blind")], work: work)
    for name in [strategy, "fake.none"] {
      let row = try #require(run.row(name))
      #expect(row.status.isMeasured, "\(row.reason)")
      #expect((row.accuracy.oracleRelativeL2 ?? 1) < 1e-6)
    }
    // Who takes products with all keys computes something else.
    let row = try #require(run.row("fake.blind"))
    #expect(row.status == .error)
    #expect(row.reason.hasPrefix("differs from the fp64 definition"), "\(row.reason)")
    let left = try FileManager.default.contentsOfDirectory(atPath: run.folder.path)
    #expect(!left.contains { $0.hasSuffix(".npy") })
  }

  @Test func workThatIsNotServedIsLeftOutWithItsReason() throws {
    let run = try FakeComparison([.fake("none", side: .own), .fake("choosy")])
    #expect(run.row("fake.choosy") == nil)
    #expect(run.plan.unserved.map(\.reason) == ["only on Sundays"])
    #expect(run.page.contains("- fake.choosy: only on Sundays (full-n5-d4)"))
  }

  @Test func anotherBuildTakesTurnsAndItsBitsAreCompared() throws {
    let run = try FakeComparison([.fake("none", side: .own), .fake("none", side: .before)])
    #expect(run.row("before.flash")?.status.isMeasured == true)
    let changes = try run.comparison.changes()
    #expect(changes.map(\.hasSameBits) == [true])
    #expect(changes.map(\.verdict) == [.notSlower])
    #expect(run.page.contains("| full-n5-d4, flash, 1 threads | 1.000 |"))
  }

  @Test func aChangeIsSlowerOnlyWhereTheWholeIntervalIs() {
    func verdict(_ factor: Double) -> BuildChange.Verdict {
      let before = (0..<20).map { 1 + 0.001 * Double($0) }
      return BuildChange(
        name: "", before: before, after: before.map { $0 * factor }, hasSameBits: nil
      ).verdict
    }
    #expect(verdict(1) == .notSlower)
    #expect(verdict(1.03) == .unclear)
    #expect(verdict(1.06) == .slower)
    #expect(verdict(0.5) == .notSlower)
    let missing = BuildChange(name: "", before: [], after: [1], hasSameBits: nil)
    #expect(missing.verdict == .notMeasured)
  }
}

/// The parts of a comparison, alone.
struct PeerPartTests {
  @Test(arguments: [
    (1e-4, 12, 50), (1e-3, 1, 5), (4e-3, 1, 1), (49e-3, 1, 1), (50e-3, 0, 1), (0, 12, 50),
  ])
  func shortCallsAreCalledSeveralTimes(seconds: Double, warm: Int, repeats: Int) {
    let turn = PreparedPeer.Turn(call: seconds)
    #expect(turn.warm == warm && turn.repeats == repeats)
  }

  @Test(arguments: [false, true])
  func workHasOneNameEachAndNamesSayTheType(quick: Bool) throws {
    let all = try Workload.all(quick: quick)
    #expect(Set(all.map(\.name)).count == all.count)
    for work in all {
      #expect(work.name.contains("bf16") == (work.problem.storage.label == "bf16"))
      #expect(work.name.hasPrefix("decode") == work.isDecoding)
      #expect(work.name.hasPrefix("recurrent") == (work.rule != nil))
      // Sizes of one kind are one sweep: nothing else may differ.
      for other in all where other.kind == work.kind && other.name != work.name {
        #expect(other.n != work.n && other.strategies == work.strategies)
      }
      let strategy = try StrategyRegistry.standard.strategy(work.strategies[0])
      let operands = work.definition(strategy).operands
      // A recurrence begins with a state.
      #expect(work.rule == nil || operands.last?.name == "state")
      #expect(work.rule == nil || operands.last?.isOptional == false)
      for operand in operands {
        #expect(work.takesOperands, "\(work.name): \(operand.name)")
        for uniform in [0, 0.5, 0.999] {
          let value = operand.value(of: uniform, for: work.problem.shape)
          #expect(operand.domain.contains(value), "\(work.name): \(operand.name) \(value)")
        }
      }
      // What is told of a selection is what the strategy is written with.
      let told = work.peerCase(strategy: work.strategies[0], threads: 1)
      #expect((told.selection == nil) == (work.kept == nil))
      if told.selection == .given { continue }
      for size in [told.block, told.top] {
        #expect(size.map { work.strategies[0].contains("\($0)") } ?? true, "\(work.name)")
      }
    }
    #expect(all.map(\.name).contains(quick ? "full-n2000-d64" : "gqa-causal-n4096-d128"))
  }

  @Test func boundsRefuseWhatIsNoNumber() throws {
    let bounds = OutputBounds(Storage())
    #expect(bounds.allow(OutputDifference(maximum: 4e-5, relativeL2: 1e-4)))
    #expect(!bounds.allow(OutputDifference(maximum: .nan, relativeL2: .nan)))
    #expect(!bounds.allow(OutputDifference(maximum: 6e-5, relativeL2: 1e-4)))
    let shape = try TensorShape(1, 1, 1, 4)
    let (a, b) = (try Tensor(shape), try Tensor(shape))
    for (index, value) in [Float.nan, 1, 2, 3].enumerated() { a.elements[index] = value }
    for index in 0..<4 { b.elements[index] = Float(index) }
    #expect(!bounds.allow(OutputDifference(a, b)))
    a.elements[0] = 0
    #expect(OutputDifference(a, b).maximum == 0)
  }

  @Test func whereKeysAreSelectedOneRowInAHundredMayDiffer() throws {
    let shape = try TensorShape(1, 2, 100, 3)
    let (a, b) = (try Tensor(shape), try Tensor(shape))
    for index in a.elements.indices {
      a.elements[index] = Float(index % 7)
      b.elements[index] = Float(index % 7)
    }
    let strict = OutputBounds(Storage())
    let bounds = OutputBounds(Storage(), selectsKeys: true)
    func difference() -> OutputDifference { OutputDifference(a, b, within: bounds) }
    a.elements[0] += 1
    a.elements[599] += 1
    #expect(difference().maximum == 0 && difference().excused == 2)
    #expect(bounds.allow(difference()))
    #expect(!strict.allow(OutputDifference(a, b, within: strict)))
    // A third is too many, and then none is left out.
    a.elements[300] += 2
    #expect(difference().maximum == 2 && difference().excused == 0)
    #expect(!bounds.allow(difference()))
    a.elements[300] = .nan
    #expect(!bounds.allow(difference()))
  }

  @Test func aLayoutOfBlocksIsThePattern() throws {
    let given = try Workload.all(quick: true).filter { $0.kept == .given(blocksOf: 64) }
    #expect(!given.isEmpty)
    for strategy in Set(given.flatMap(\.strategies)) {
      let geometry = MaskGeometry(queryLength: 700, keyLength: 700, offset: 0, causal: true)
      let pattern = try StrategyRegistry.standard.strategy(strategy).pattern(for: geometry)
      let layout = BlockLayout(pattern, block: 64)
      #expect(layout.rows.map(\.count) == Array(repeating: 11, count: 11))
      #expect(layout.rows.joined().contains(false))
      for query in 0..<700 {
        let seen = (0..<700).filter { pattern.includes(position: query, key: $0) }
        #expect(seen == (0...query).filter { layout.rows[query / 64][$0 / 64] })
      }
      let tensor = try layout.tensor()
      #expect(tensor.shape == [1, 11, 11])
      tensor.withUnsafeElements { elements in
        #expect(elements.map { $0 == 1 } == Array(layout.rows.joined()))
      }
    }
  }
}

extension Workload {
  /// Whether strategies for it take operands beyond query, key and value.
  fileprivate var takesOperands: Bool {
    if case .index = kept { return true }
    return rule != nil || isLinear || isAdditive
  }
}
