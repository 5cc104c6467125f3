import Attention
import Testing

import AttentionBench

/// Cells that something else than this process runs.
struct SweepRunnerTests {
  @Test func aRunThatKnowsItsOwnTimeIsBelieved() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.limits.cellTimeout = 0.1
    sweep.executor.seconds = { _, count in count == 0 ? 0.5 : 0.3 }
    sweep.executor.account = { _ in
      RunAccount(seconds: 1e-3, processorSeconds: 1.5e-3, turnSeconds: 5e-3)
    }
    try sweep.run()
    let row = try #require(sweep.row("flash-n1000-t2"))
    #expect(row.status == .ok)
    #expect(row.time.median == 1e-3)
    #expect(row.time.cpuTime == 1.5e-3)
    #expect(sweep.store.samples.allSatisfy { $0.time == 1e-3 && $0.cpuTime == 1.5e-3 })
  }

  @Test func turnsCountAgainstTheTimeOfACell() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.limits.relativeInterval = 0
    sweep.limits.cellTimeout = 1
    var calls = 0.0
    sweep.executor.account = { _ in
      calls += 1
      return RunAccount(seconds: 1e-3 * (1 + 0.1 * calls), processorSeconds: 0, turnSeconds: 0.1)
    }
    try sweep.run()
    // Of ten turns of 0.1 s there is time; samples alone would leave it for hundreds.
    let count = try #require(sweep.row("flash-n1000-t2")).time.samples
    #expect((9...10).contains(count))
  }

  @Test func theFewestSamplesAreTakenWhateverTheyTakeWhereThatIsAsked() throws {
    var sweep = FakeSweep()
    sweep.strategies = "flash"
    sweep.limits.minimumSamples = 6
    sweep.limits.cellTimeout = 0.5
    sweep.executor.seconds = { _, _ in 1 }
    try sweep.run()
    #expect(sweep.row("flash-n1000-t2")?.status != .ok)

    var patient = FakeSweep()
    patient.strategies = "flash"
    patient.sizes = [1000, 2000]
    patient.limits = sweep.limits
    patient.limits.guaranteesMinimum = true
    patient.executor.seconds = { _, _ in 1 }
    try patient.run()
    for n in [1000, 2000] {
      let row = try #require(patient.row("flash-n\(n)-t2"))
      #expect(row.status == .ok && row.time.samples == 6)
    }
  }

  @Test func aRowSaysWhoRanIt() throws {
    let own = try FakeSweep().plan().cells[0]
    let cell = SweepCell(
      id: "library.f-work-t2", problem: own.problem, n: own.n,
      runner: CellRunner(
        label: ResultRow.StrategyLabel(
          name: "library.f", parameters: "1.2", classification: "exact"),
        elementType: "fp16", build: ResultRow.Build(blasCore: "", isa: "")),
      definition: own.strategy, workspaceBytes: 77, placement: own.placement, curve: 3)
    let labels = RowLabels(runID: "r", build: ResultRow.Build(blasCore: "Zen", isa: "avx2"))
    let row = labels.row(for: cell, status: .ok, reason: "")
    #expect(row.strategy.text == "library.f(1.2)" && cell.spec == row.strategy.text)
    #expect(row.shape.elementType == "fp16")
    #expect(row.build.isa.isEmpty && row.build.blasCore.isEmpty)
    #expect(row.work.workspaceBytes == 77)
    // Useful work is that of the definition.
    #expect(row.work.flops == (try own.work.get().flops))
    let plan = SweepPlan(cells: [own, cell], placements: [own.placement], seed: 1)
    #expect(plan.sizes == [own.n] && plan.cells(n: own.n).count == 2)
  }
}
