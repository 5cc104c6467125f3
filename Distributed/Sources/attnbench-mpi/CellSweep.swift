import Attention
import AttentionBench
import DistributedAttention
import Foundation
import MachineTopology
import MessagePassing
import TextTable

/// `attnbench-mpi sweep --shard cells`: the cells of a sweep dealt to ranks, each measured by one rank alone with
/// the core's sweep, into one folder of results.
struct CellSweep {
  let problemOptions: ProblemOptions
  let cellOptions: CellOptions
  /// The folder; nil for one named after the time.
  let output: String?

  /// What all ranks know.
  private struct Setup {
    let plan: SweepPlan
    let limits: SweepLimits
    let executor: AttentionExecutor
    let topology: MachineTopology
  }

  /// What rank 0 tells of the run.
  private struct Run: Codable {
    var runID: String
    var directory: String
    var startedAt: Date
    var isa: String
    var blasCore: String
  }

  func run(on communicator: Communicator) throws {
    let hosts = try RankHosts(of: communicator)
    let setup = try communicator.agree({ try makeSetup(hosts) }, failure: Program.outcome)
    // A folder of results is of one kind of machine.
    try communicator.expectAlike([
      ("the processor", setup.topology.cpuModel ?? "unknown"),
      ("the instruction set", KernelTable.active.name),
    ])
    var record = try communicator.agree(
      { communicator.rank == 0 ? try open(setup, hosts) : nil }, failure: Program.outcome)
    let told = try communicator.gatherAll(
      record.map { Array(try JSONEncoder().encode($0.run)) } ?? [], "hearing of the run")
    let run = try JSONDecoder().decode(Run.self, from: Data(told[0]))
    let desk = CellDesk(communicator, naming: { setup.plan.cells[$0].id }) { error in
      RankProgram.end(
        Program.name, communicator, error,
        remains: "the cells that have ended are kept in \(run.directory); the same command goes on "
          + "with the others")
    }
    if let record { try record.open(desk, setup, hosts) } else { desk.open() }
    var report = CellReport()
    var warned: Set<String> = []
    while let deal = desk.next(after: report) {
      report = try measure(deal, setup, run, hosts, desk) { text in
        if warned.insert(text).inserted {
          Console.note("warning: rank \(communicator.rank): \(text)")
        }
      }
    }
    let wrong = try communicator.agree(
      { try record?.conclude(setup.plan) ?? [] }, failure: Program.outcome)
    record = nil
    let all = try communicator.gatherAll([Double(wrong.count)])
    if all[0][0] > 0 {
      throw AgreedFailure(
        "error: wrong output of \(wrong.joined(separator: ", ")): their times are in no plot and no fit",
        isMineToPrint: communicator.rank == 0, exitCode: 1)
    }
  }

  private func makeSetup(_ hosts: RankHosts) throws -> Setup {
    let topology = try MachineTopology.host()
    // Unbound: cores are what the launcher gave each rank.
    let placement = try SweepPlacement(
      threads: problemOptions.team().threadCount, binding: ThreadBinding.none, topology: topology)
    return Setup(
      plan: try SweepPlan(
        sizes: problemOptions.sizes, strategies: problemOptions.strategies,
        placements: [placement], seed: problemOptions.seed
      ) { try problemOptions.problem($0) },
      limits: try cellOptions.limits(neighbours: hosts.neighbours),
      executor: try AttentionExecutor(
        placements: [placement], inputs: .normal(seed: problemOptions.seed),
        seed: problemOptions.seed, topology: topology),
      topology: topology)
  }

  /// Rank 0's part: opens the folder, and refuses one of another command, build or machine.
  private func open(_ setup: Setup, _ hosts: RankHosts) throws -> CellRecord {
    let style = Date.ISO8601FormatStyle(
      dateSeparator: .omitted, timeSeparator: .omitted, timeZone: .current)
    let stamp = Date().formatted(style.year().month().day().time(includingFractionalSeconds: false))
    let directory = try RunDirectory(path: output ?? "attnbench-\(stamp)", resuming: true)
    var metadata = RunMetadata.host(
      argv: CommandLine.arguments, options: options(setup, hosts), seed: problemOptions.seed,
      topology: setup.topology)
    if !directory.earlierRows.isEmpty {
      for note in directory.notes { Console.note("note: \(note)") }
      let earlier = try RunDirectory.readMetadata(in: directory.layout.directory)
      let differences = metadata.differences(from: earlier)
      guard differences.isEmpty else {
        throw PlanError(
          argument: "--output", value: directory.layout.directory,
          rule: "holds results of another run: " + differences.joined(separator: "; "),
          fix: "give its command again, or choose another folder")
      }
      metadata.runID = earlier.runID
      metadata.startedAt = earlier.startedAt
      metadata.loadBefore = earlier.loadBefore
      metadata.ceilings = earlier.ceilings
    }
    try directory.write(metadata)
    return CellRecord(directory, metadata)
  }

  /// The options with their defaults, as a sweep of one process has them.
  private func options(_ setup: Setup, _ hosts: RankHosts) -> [String: String] {
    var options = [
      "--shard": "cells", "ranks on one machine": "\(hosts.mostOnOne)",
      "--n": setup.plan.sizes.map(String.init).joined(separator: ","),
      "--strategy": problemOptions.strategy, "--threads": "\(problemOptions.threads)",
      "--seed": "\(problemOptions.seed)", "--causal": "\(problemOptions.causal)",
      "--min-samples": "\(setup.limits.minimumSamples)",
      "--rel-ci": setup.limits.wording.relativeInterval,
      "--cell-timeout": setup.limits.wording.cellTimeout,
      "--max-memory": setup.limits.wording.memory,
    ]
    if let shape = setup.plan.cells.first?.problem.shape {
      options["--batch"] = "\(shape.batch)"
      options["--heads"] = "\(shape.heads)"
      options["--kv-heads"] = "\(shape.kvHeads)"
      options["--head-dim"] = "\(shape.headDim)"
      options["--value-dim"] = "\(shape.valueDim)"
    }
    return options
  }

  /// Measures one cell as a sweep that has only its curve.
  private func measure(
    _ deal: CellDeal, _ setup: Setup, _ run: Run, _ hosts: RankHosts, _ desk: CellDesk,
    warn: (String) -> Void
  ) throws -> CellReport {
    guard let index = deal.cell else { return CellReport() }
    let (plan, cell) = (setup.plan, setup.plan.cells[index])
    let known = try deal.known.map { try ResultRow(fields: $0) }
    let names = Set(known.map(\.cellID)).union([cell.id])
    let store = ResultCollector()
    var warnings: [String] = []
    let outcome = try SweepEngine(
      plan: SweepPlan(
        cells: plan.cells.filter { names.contains($0.id) }, placements: plan.placements,
        seed: plan.seed),
      limits: setup.limits,
      instruments: SweepEngine.Instruments(
        executor: setup.executor, clock: MonotonicClock(),
        probe: HostProbe(cpus: setup.executor.cpus(allowed: setup.topology.allowed)),
        store: store),
      labels: RowLabels(
        runID: run.runID, build: ResultRow.Build(blasCore: run.blasCore, isa: run.isa)),
      earlierRows: known, earlierSamples: [cell.id: deal.samples],
      secondsBefore: max(0, Date().timeIntervalSince(run.startedAt))
    ) { event in
      desk.moves()
      if case .warning(let text) = event { warnings.append(text) }
    }.run()
    warnings.forEach(warn)
    let rows = store.rows.map { row in
      var row = row
      if row.status.isMeasured {
        row.reason = ([row.reason] + remarks(hosts)).filter { !$0.isEmpty }.joined(separator: "; ")
      }
      return row
    }
    return CellReport(rows: rows, samples: store.samples, ceilings: outcome.ceilings)
  }

  /// What a reader of a time must know of where it was taken.
  private func remarks(_ hosts: RankHosts) -> [String] {
    let others = hosts.neighbours - 1
    return [
      others == 0 ? "" : "beside \(others) other rank\(others == 1 ? "" : "s") on this machine",
      hosts.own == hosts.names[0] ? "" : "on \(hosts.own)",
    ]
  }
}

extension CellSweep {
  /// The folder of results as rank 0 keeps it.
  private final class CellRecord {
    let directory: RunDirectory
    private var metadata: RunMetadata
    private var rows: [ResultRow]
    /// Of this sitting.
    private var ceilings: [MachineCeiling] = []

    init(_ directory: RunDirectory, _ metadata: RunMetadata) {
      self.directory = directory
      self.metadata = metadata
      rows = directory.earlierRows
    }

    var run: Run {
      Run(
        runID: metadata.runID, directory: directory.layout.directory, startedAt: metadata.startedAt,
        isa: metadata.isaChosen,
        blasCore: metadata.blas.core)
    }

    /// Opens the desk that deals what is missing.
    func open(_ desk: CellDesk, _ setup: Setup, _ hosts: RankHosts) throws {
      var forecast = SweepForecast()
      for placement in setup.plan.placements {
        for arithmetic in setup.plan.arithmetics {
          let bursts = try (0..<3).map { _ in
            try setup.executor.flopRate(on: placement, in: arithmetic)
          }
          if let rate = SampleSummary(bursts)?.median {
            forecast.learn(flopRate: rate, threads: placement.threads, arithmetic: arithmetic)
          }
        }
      }
      let dealer = CellDealer(
        setup.plan, limits: setup.limits, forecast: forecast, earlierRows: rows,
        earlierSamples: directory.earlierSamples)
      let (done, all) = dealer.finished
      Console.note(
        "\(all) cells, \(done) of them there already, for \(hosts.names.count) ranks of "
          + "\(setup.plan.placements[0].threads) thread(s); results: \(directory.layout.directory)")
      if hosts.mostOnOne > 1 {
        Console.note(
          "note: up to \(hosts.mostOnOne) ranks share a machine: times are of ranks that run side by side"
        )
      }
      desk.open(dealer) { report, rank, dealer in
        let rows = try report.rows.map { try ResultRow(fields: $0) }
        let samples = try report.samples.map { try SampleRow(fields: $0) }
        for row in rows {
          try self.directory.append(row, samples: samples.filter { $0.cellID == row.cellID })
        }
        self.ceilings += report.ceilings
        try self.directory.keep(self.ceilings)
        self.rows += rows
        dealer.end(rank, rows: rows)
        let (done, all) = dealer.finished
        for row in rows {
          let time = row.time.median.map { " \(TimeSpan.rounded(seconds: $0))" } ?? ""
          Console.note(
            "kept \(done)/\(all): \(row.cellID) on rank \(rank):\(time) \(row.status.rawValue)")
        }
      }
    }

    /// Completes the description and prints the table.
    ///
    /// - Returns: the cells whose output was wrong.
    func conclude(_ plan: SweepPlan) throws -> [String] {
      metadata.endedAt = Date()
      metadata.loadAfter = RunMetadata.loadAverages
      metadata.completed = true
      metadata.ceilings = (metadata.ceilings ?? []) + ceilings
      try directory.write(metadata)
      // Of a cell that ran twice the later row counts.
      let byCell = Dictionary(rows.map { ($0.cellID, $0) }) { _, later in later }
      let latest = plan.cells.compactMap { byCell[$0.id] }
      Console.print(
        text(latest) {
          [
            Column(title: "n", value: SizeText.short($0.n), align: .right),
            Column(title: "strategy", value: $0.strategy.text),
            Column(title: "class", value: $0.strategy.classification),
            Column(title: "threads", value: $0.placement.threads, align: .right),
            Column(
              title: "median",
              value: $0.time.median.map { TimeSpan.rounded(seconds: $0) } ?? "", align: .right),
            Column(
              title: "GFLOP/s",
              value: $0.work.gflopPerSecond.map { String(format: "%.1f", $0) } ?? "",
              align: .right),
            Column(
              title: "% of peak",
              value: $0.work.percentOfPeak.map { String(format: "%.1f", $0) } ?? "",
              align: .right),
            Column(title: "status", value: $0.status.rawValue),
          ]
        })
      for row in latest where !row.status.isMeasured {
        Console.print("\(row.cellID) \(row.status.rawValue): \(row.reason)")
      }
      Console.print("results  \(directory.layout.directory); attnbench plot and report draw them")
      return latest.filter { $0.status == .wrong }.map(\.cellID)
    }
  }
}
