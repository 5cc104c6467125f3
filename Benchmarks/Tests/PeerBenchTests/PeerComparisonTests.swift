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
      // A recurrence begins with a state; nothing else takes operands.
      #expect(work.rule == nil ? operands.isEmpty || work.isLinear : operands.last?.name == "state")
      #expect(work.rule == nil || operands.last?.isOptional == false)
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
}
