import Attention
import AttentionBench
import MachineTopology
import Testing

@Suite struct SweepPlanTests {
  @Test func cellsAreSizeByStrategyByThreads() throws {
    let plan = try SweepPlan.ofHeads(
      4, sizes: [1000, 4096], strategies: "flash,window(512, sinks: 4)", threads: [1, 2])
    #expect(
      plan.cells.map(\.id) == [
        "flash-n1000-t1", "flash-n1000-t2", "window_512_sinks4-n1000-t1",
        "window_512_sinks4-n1000-t2", "flash-n4096-t1", "flash-n4096-t2",
        "window_512_sinks4-n4096-t1", "window_512_sinks4-n4096-t2",
      ])
    #expect(plan.cells(n: 4096).count == 4)
    let curves = plan.cells.map(\.curve)
    #expect(Array(curves.prefix(4)) == Array(curves.suffix(4)))
    #expect(Set(curves).count == 4)
  }

  @Test func strategiesThatResolveAlikeAreOneCell() throws {
    let plan = try SweepPlan.ofHeads(
      1, sizes: [100], strategies: "window,window(512),flash,flash")
    #expect(plan.cells.map(\.id) == ["window_512-n100-t2", "flash-n100-t2"])
  }

  @Test func workIsCountedForEachCell() throws {
    let plan = try SweepPlan.ofHeads(2, sizes: [100], strategies: "full", causal: true)
    let work = try plan.cells[0].work.get()
    #expect(work.pairs == 2 * 5050)
    #expect(work.flops == 2 * 5050 * 2 * 128)
  }

  @Test func placementsKeepAsManyPlacesAsWorkers() throws {
    let machine = try MachineTopology(synthetic: "pack:1 core:4 pu:2")
    let bindings: [(ThreadBinding?, String)] = [
      (nil, "core:0-1"), (.cores([3, 1, 0]), "core:3,1"), (.processingUnits([4, 6, 7]), "pu:4,6"),
      (ThreadBinding.none, "none"),
    ]
    for (asked, expected) in bindings {
      let placement = try SweepPlacement(threads: 2, binding: asked, topology: machine)
      #expect("\(placement.binding)" == expected)
    }
    #expect(throws: TopologyError.self) {
      try SweepPlacement(threads: 5, binding: nil, topology: machine)
    }
  }
}

@Suite struct SweepForecastTests {
  private func plan(_ sizes: [Int]) throws -> SweepPlan {
    try .ofHeads(4, sizes: sizes, strategies: "flash,full")
  }

  @Test func nothingIsKnownAtFirst() throws {
    let cell = try plan([1000]).cells[0]
    #expect(SweepForecast().estimate(of: cell) == nil)
    #expect(SweepForecast().lowerBound(of: cell) == nil)
  }

  @Test func theLastTwoSizesGiveTheSlope() throws {
    let plan = try plan([1000, 7000, 14000, 28000, 100_000])
    var forecast = SweepForecast()
    // The overhead of the smallest size must not count.
    for (n, seconds) in [(1000, 1.9), (7000, 2.0), (14000, 8.0), (28000, 32.0)] {
      forecast.learn(try plan.cell("flash-n\(n)-t2"), seconds: seconds)
    }
    let prediction = try #require(
      forecast.extrapolation(to: try plan.cell("flash-n100000-t2")))
    let expected = 32.0 * (100.0 / 28.0) * (100.0 / 28.0)
    #expect(abs(prediction.seconds - expected) < 1e-6 * expected)
    #expect("\(prediction.basis)" == "from 32.0 s at 28000, slope 2.00")
    #expect(forecast.extrapolation(to: try plan.cell("full-n100000-t2")) == nil)
  }

  @Test func oneSizeGivesTheRatioOfFlops() throws {
    let plan = try plan([1000, 3000])
    var forecast = SweepForecast()
    forecast.learn(try plan.cell("flash-n1000-t2"), seconds: 0.5)
    let prediction = try #require(forecast.extrapolation(to: try plan.cell("flash-n3000-t2")))
    #expect(abs(prediction.seconds - 4.5) < 1e-9)
    #expect("\(prediction.basis)" == "from 500 ms at 1000, by the ratio of flops")
  }

  @Test func sizesCloseTogetherGiveNoSlope() throws {
    let plan = try plan([1000, 1010, 100_000])
    var forecast = SweepForecast()
    forecast.learn(try plan.cell("flash-n1000-t2"), seconds: 0.1)
    forecast.learn(try plan.cell("flash-n1010-t2"), seconds: 0.2)
    let prediction = try #require(forecast.extrapolation(to: try plan.cell("flash-n100000-t2")))
    #expect(prediction.basis == .flops(seconds: 0.2, n: 1010))
  }

  @Test func withoutSizesThePeakBoundsTheTime() throws {
    let cell = try plan([1000]).cell("flash-n1000-t2")
    var forecast = SweepForecast()
    forecast.learn(flopRate: 1.024e9, threads: 2)
    // 4 heads x 10^6 pairs x 256 operations are one second of that peak.
    #expect(forecast.lowerBound(of: cell)?.seconds == 1)
    let estimate = try #require(forecast.estimate(of: cell))
    #expect(abs(estimate.seconds - 1 / SweepForecast.assumedShare) < 1e-12)
    #expect("\(estimate.basis)" == "assuming 35% of the FMA peak of 1.02 GFLOP/s")
  }

  /// One query against n keys: 256 operations a pair, and 512 bytes a key and value.
  @Test func whatTakesLongerIsPredictedAndOnlyOperationsRefuse() throws {
    let plan = try SweepPlan(
      sizes: [10_000], strategies: StrategyRegistry.standard.strategies("flash"),
      placements: [SweepPlacement(threads: 2, binding: .none)], seed: 1
    ) { n in
      try AttentionProblem(AttentionShape(heads: 4, queryLength: 1, keyLength: n, headDim: 64))
    }
    let cell = plan.cells[0]
    let work = try cell.work.get()
    #expect(work.flops == 4 * 10_000 * 256 && work.minimumBytes == 4 * 512 * 10_001)
    var forecast = SweepForecast()
    forecast.learn(byteRate: 1e9, threads: 2)
    #expect(forecast.lowerBound(of: cell) == nil)
    forecast.learn(flopRate: 100e9, threads: 2)
    let estimate = try #require(forecast.estimate(of: cell))
    let expected = Double(work.minimumBytes) / (SweepForecast.assumedReadShare * 1e9)
    #expect(abs(estimate.seconds - expected) < 1e-12)
    #expect("\(estimate.basis)" == "assuming 80% of the read bandwidth of 1.00 GB/s")
    #expect(forecast.lowerBound(of: cell)?.seconds == Double(work.flops) / 100e9)
    forecast.learn(byteRate: 1e12, threads: 2)
    let computed = Double(work.flops) / (SweepForecast.assumedShare * 100e9)
    #expect(abs(try #require(forecast.estimate(of: cell)).seconds - computed) < 1e-12)
  }
}

@Suite struct SweepLimitsTests {
  @Test func refusalsSayTheNumbers() throws {
    var limits = SweepLimits()
    let prediction = TimePrediction(
      seconds: 412, basis: .slope(seconds: 32, n: 28000, exponent: 2.01))
    #expect(
      limits.timeRefusal(prediction, budgetLeft: nil)
        == "predicted 412 s > --cell-timeout 60s (from 32.0 s at 28000, slope 2.01)")
    limits.cellTimeout = 500
    limits.wording.budget = "10m"
    #expect(
      limits.timeRefusal(prediction, budgetLeft: 100)
        == "predicted 412 s > 100 s left of --budget 10m (from 32.0 s at 28000, slope 2.01)")
    #expect(limits.timeRefusal(prediction, budgetLeft: 413) == nil)
    #expect(
      limits.timeRefusal(prediction, budgetLeft: -3)?.hasPrefix(
        "predicted 412 s > 0 s left of --budget 10m") == true)
  }

  @Test func memoryCountsTensorsAndWorkspace() throws {
    let cell = try SweepPlan.ofHeads(4, sizes: [100_000], strategies: "full").cells[0]
    var limits = SweepLimits()
    limits.memoryBytes = 18 << 30
    let reason = try #require(limits.memoryRefusal(of: cell))
    #expect(
      reason == "needs 37.6 GiB (workspace 37.3 GiB + tensors 391 MiB) "
        + "> --max-memory 80% = 18.0 GiB")
    limits.memoryBytes = 40 << 30
    #expect(limits.memoryRefusal(of: cell) == nil)
  }

  @Test(arguments: [(1.0, 6.0), (10, 50), (21, 42), (70, 70), (0, 0)])
  func leastCost(run: Double, cost: Double) {
    // A warm-up and 5 samples; past 5 s no warm-up; what 60 s allow; one run at least.
    #expect(SweepLimits().leastCost(run: run) == cost)
  }

  @Test func aPreviewSaysWhatWouldBeSkipped() throws {
    let plan = try SweepPlan.ofHeads(
      4, sizes: [1000, 100_000], strategies: "full,flash,linear")
    var limits = SweepLimits()
    limits.memoryBytes = 8 << 30
    var forecast = SweepForecast()
    forecast.learn(flopRate: 200e9, threads: 2)
    let preview = SweepPreview(plan: plan, limits: limits, forecast: forecast)
    #expect(
      preview.lines.map(\.status) == [.ok, .ok, .ok, .skippedMemory, .skippedTime, .ok])
    #expect(preview.lines[4].reason.contains("assuming 35% of the FMA peak"))
    let expected = [0, 1, 2, 5].reduce(0.0) { total, index in
      total + limits.leastCost(run: preview.lines[index].run?.seconds ?? .nan)
    }
    #expect(abs(preview.seconds - expected) < 1e-12)
  }
}
