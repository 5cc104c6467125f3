import Attention
import AttentionBench
import Testing

/// A machine that others use must be told of, however steady the medians are.
@Suite struct BusyMachineTests {
  private struct Result {
    let rows: [ResultRow]
    let warnings: [String]
    let samples: [SampleRow]
  }

  private static func run(
    sizes: [Int] = [1000], threads: [Int] = [2], _ change: (inout FakeSweep) -> Void
  ) throws -> Result {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.sizes = sizes
    sweep.threads = threads
    sweep.executor.seconds = { _, _ in 0.1 }
    change(&sweep)
    var warnings: [String] = []
    try sweep.run { if case .warning(let text) = $0 { warnings.append(text) } }
    return Result(rows: sweep.store.rows, warnings: warnings, samples: sweep.store.samples)
  }

  @Test func aQuietMachineIsNotSpokenOf() throws {
    let result = try Self.run { sweep in
      sweep.probe.waited = 0
      sweep.probe.neighbours = 0
      sweep.executor.burstSeconds = 0.02
      sweep.probe.frequencies = [2.6e9, 2.6e9]
    }
    #expect(result.warnings.isEmpty)
    #expect(result.rows.map(\.status) == [.ok])
    #expect(result.rows[0].reason.isEmpty)
  }

  @Test func waitingMakesSteadyMediansNoisy() throws {
    let result = try Self.run(sizes: [1000, 2000]) { sweep in
      let probe = sweep.probe
      probe.waited = 0
      // 60 ms of the 200 ms that two threads have.
      sweep.executor.willRun = { _ in probe.waited = (probe.waited ?? 0) + 0.06 }
    }
    #expect(result.rows.map(\.status) == [.noisy, .noisy])
    #expect(
      result.rows[0].reason
        == "busy: threads waited 30.0% of the time for their cores, in 6 of 6 samples, "
        + "60 involuntary context switches")
    #expect(result.warnings.count == 1, "said once, for two sizes")
    let warning = try #require(result.warnings.first)
    #expect(warning.contains("while n = 1000 was measured: threads waited 30.0% of the time"))
    #expect(warning.contains("60 involuntary context switches"))
    #expect(warning.contains("Fix: end the other work, or --bind"))
  }

  @Test func oneDisturbedSampleIsAnOutlierAndNoMore() throws {
    let result = try Self.run { sweep in
      let probe = sweep.probe
      probe.waited = 0
      sweep.executor.seconds = { _, count in count == 3 ? 0.2 : 0.1 }
      let executor = sweep.executor
      executor.willRun = { _ in
        if executor.runs.count == 3 { probe.waited = (probe.waited ?? 0) + 0.1 }
      }
      sweep.limits.relativeInterval = 1
    }
    #expect(result.rows.map(\.status) == [.ok])
    #expect(result.rows[0].reason == "1 of 6 samples far out (200 ms), kept")
    #expect(result.samples.map(\.isOutlier) == [false, false, true, false, false, false])
    #expect(result.warnings.isEmpty)
  }

  @Test func threadsThatAreWokenDoNotWait() throws {
    let result = try Self.run { sweep in
      let probe = sweep.probe
      probe.waited = 0
      sweep.executor.seconds = { _, _ in 1e-4 }
      sweep.executor.willRun = { _ in probe.waited = (probe.waited ?? 0) + 1e-4 }
    }
    #expect(result.rows.map(\.status) == [.ok])
    #expect(result.warnings.isEmpty)
  }

  @Test func threadsBeyondTheCPUsWaitForEachOther() throws {
    let result = try Self.run(threads: [3]) { sweep in
      let probe = sweep.probe
      probe.waited = 0
      sweep.executor.burstSeconds = 0.02
      sweep.executor.willRun = { _ in probe.waited = (probe.waited ?? 0) + 0.06 }
    }
    #expect(result.rows.map(\.status) == [.ok])
    #expect(result.warnings.isEmpty)
  }

  @Test func otherProcessesAreCounted() throws {
    let result = try Self.run(sizes: [1000, 2000]) { $0.probe.neighbours = 0.5 }
    #expect(result.warnings.count == 1)
    #expect(result.warnings.first?.contains("other processes used 0.50 of 2 CPUs") == true)
    // Other CPUs may be the ones in use: that alone marks nobody.
    #expect(result.rows.allSatisfy { $0.status == .ok })
  }

  @Test func tooFewTicksSayNothing() throws {
    let result = try Self.run { sweep in
      sweep.probe.neighbours = 0.5
      sweep.executor.seconds = { _, _ in 0.01 }
    }
    #expect(result.warnings.isEmpty)
  }

  @Test func burstsThatDoNotGetTheirCoresAreTold() throws {
    let result = try Self.run { sweep in
      let probe = sweep.probe
      sweep.executor.burstSeconds = 0.02
      sweep.executor.willBurst = { probe.lostSeconds += 0.01 }
    }
    #expect(result.warnings.count == 1)
    #expect(result.warnings.first?.contains("FMA bursts got 75.0% of their cores") == true)
  }

  @Test func stolenTimeIsTold() throws {
    let result = try Self.run { sweep in
      sweep.probe.neighbours = 0
      sweep.probe.stealsEveryTick = true
    }
    #expect(
      result.warnings.first?.contains("the hypervisor gave 100% of the time to others") == true)
  }

  @Test func aClockThatMovesIsNamedWithThePeak() throws {
    let result = try Self.run { sweep in
      let (probe, executor) = (sweep.probe, sweep.executor)
      probe.frequencies = [3.4e9, 3.4e9]
      executor.willRun = { _ in
        probe.frequencies = [2.1e9, 3.4e9]
        executor.rate *= 0.95
      }
    }
    #expect(result.warnings.count == 1)
    let warning = try #require(result.warnings.first)
    #expect(warning.contains("the FMA peak moved by"))
    #expect(warning.hasSuffix("the clock ran at 2.10 to 3.40 GHz"))
  }

  private static let growths: [(MiB: Int, grown: Int, isWarned: Bool)] = [
    (1024, 1024, false), (1, 3, false), (1024, 1100, true), (1024, 940, true), (1024, 0, true),
    (64, 72, true), (0, 1, false), (0, 5, true), (4, 0, true),
  ]

  @Test(arguments: growths)
  func growthAndWorkspaceAgree(_ growth: (MiB: Int, grown: Int, isWarned: Bool)) throws {
    let (declared, measured) = (growth.MiB << 20, growth.grown << 20)
    let result = try Self.run { sweep in
      sweep.executor.workspace = { _ in declared }
      sweep.executor.growth = { _ in measured }
    }
    #expect(result.warnings.count == (growth.isWarned ? 1 : 0))
    guard growth.isWarned else { return }
    let warning = try #require(result.warnings.first)
    #expect(warning.hasPrefix("flash-n1000-t2: the plan declares a workspace of "))
    for bytes in [declared, measured] { #expect(warning.contains(ByteCount(bytes).rounded)) }
  }
}
