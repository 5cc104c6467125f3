import ArgumentParser
import Attention
import AttentionBench
import Foundation
import Glibc
import MachineTopology
import PeerBench

/// attnbench and other libraries on the same work.
@main
struct Peers: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "peers",
    abstract: "Compares attnbench with other libraries, in turns, on the same cores.",
    discussion: """
      Writes what attnbench sweep writes, a README.md with the table, and under curves/ the rows of \
      each kind of work that has several sizes, for attnbench plot. Exit code 1: a row has the status \
      error; 2: this build is slower than that of --before; 130: interrupted.
      """)

  @Option(name: [.customShort("o"), .customLong("output")], help: "Folder of the results.")
  var output: String

  @Flag(help: "Small sizes, a minute.")
  var quick = false

  @Option(help: "Thread counts.")
  var threads = "1,2"

  @Option(help: "Patterns of work to do, comma-separated.")
  var work = "*"

  @Option(help: "Patterns of peers, comma-separated.")
  var peers = "*"

  @Option(help: "Seed of operands and order.")
  var seed: UInt64 = 1

  @Option(
    help: "Seconds for each implementation, work and thread count (default: 8; 0.4 if quick).")
  var seconds: Double?

  @Option(help: "The attnbench-peer of another build, which takes turns with this one.")
  var before: String?

  @Option(help: "Seconds that a peer may take for an answer.")
  var wait = 900.0

  @Option(help: "The Python that has the libraries.")
  var python = "Benchmarks/peers/.venv/bin/python"

  @Option(help: "The folder of the peers' Python files.")
  var folder = "Benchmarks/peers"

  func validate() throws {
    if let seconds, !(seconds > 0 && seconds.isFinite) {
      throw ValidationError("--seconds \(seconds): must be above 0")
    }
    if !(wait > 0 && wait.isFinite) { throw ValidationError("--wait \(wait): must be above 0") }
    for (option, path) in [("--before", before), ("--python", python)] {
      guard let path, access(path, X_OK) != 0 else { continue }
      throw ValidationError("\(option) \(path): is no program that can be run")
    }
  }

  func run() throws {
    let topology = try MachineTopology.host()
    let placements = try placements(topology)
    let works = try works()
    let cpus = topology.allowed
    let scratch = try scratchFolder(for: works)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    try makeFolder(output)
    let executor = PeerExecutor(
      host: try AttentionExecutor(
        placements: placements, inputs: .normal(seed: seed), seed: seed, topology: topology),
      inputs: .normal(seed: seed), allowed: cpus, folder: scratch, log: "\(output)/stderr.log",
      patience: wait)
    defer { executor.quit() }
    let present = try present(works, placements[0], executor)
    let comparison = try PeerComparison(
      into: output, executor: executor, metadata: metadata(topology, present),
      limits: PeerComparison.limits(seconds: seconds ?? (quick ? 0.4 : 8)), stop: Interrupt.flag)
    Interrupt.listen()
    for kind in kinds(of: works) where !Interrupt.flag.isRaised {
      let plan = PeerPlan(kind, by: present, on: placements, executor: executor)
      try comparison.run(plan) { event in
        switch event {
        case .cellFinished(let cell, let row): say("\(cell.id): \(outcome(row))")
        case .warning(let text): say("warning: \(text)")
        default: break
        }
      }
    }
    try comparison.finish(title: "attnbench beside other libraries")
    try report(comparison)
  }

  private func report(_ comparison: PeerComparison) throws {
    removeEmptyLog()
    print(comparison.table.text)
    let changes = try comparison.changes()
    if !changes.isEmpty { print(BuildChange.table(changes)) }
    if comparison.wasInterrupted || Interrupt.flag.isRaised { throw ExitCode(130) }
    if comparison.kinds.contains(where: { $0.rows.contains { $0.status == .error } }) {
      throw ExitCode(1)
    }
    if changes.contains(where: { $0.verdict == .slower }) { throw ExitCode(2) }
  }

  private func placements(_ topology: MachineTopology) throws -> [SweepPlacement] {
    try threads.split(separator: ",").map { text in
      let cores = topology.allowedCores.count
      guard let count = Int(text), (1...max(cores, 1)).contains(count) else {
        throw ValidationError("--threads \(threads): each must be 1 to \(cores), the allowed cores")
      }
      return try SweepPlacement(threads: count, binding: nil, topology: topology)
    }
  }

  private func works() throws -> [Workload] {
    let all = try Workload.all(quick: quick)
    let chosen = all.filter { matches($0.name, work) }
    guard !chosen.isEmpty else {
      throw ValidationError("--work \(work): known are \(all.map(\.name).joined(separator: ", "))")
    }
    return chosen
  }

  private func kinds(of works: [Workload]) -> [[Workload]] {
    var order: [String] = []
    for work in works where !order.contains(work.kind) { order.append(work.kind) }
    return order.map { kind in works.filter { $0.kind == kind } }
  }

  /// attnbench, the other build and those of the wanted peers that answer.
  private func present(
    _ works: [Workload], _ place: SweepPlacement, _ executor: PeerExecutor
  ) throws -> [Present] {
    let all = Implementation.peers(python: python, folder: folder)
    let wanted = all.filter { matches($0.name, peers) }
    if wanted.isEmpty && before == nil {
      throw ValidationError(
        "--peers \(peers): known are \(all.map(\.name).joined(separator: ", "))")
    }
    let builds = [Implementation.own(ownProgram)] + (before.map { [.before($0)] } ?? [])
    var present = try builds.map { build in
      let process = executor.process(build, strategy: works[0].strategies[0], on: place)
      return Present(build, try process.hello())
    }
    for peer in wanted {
      let process = executor.process(peer, strategy: works[0].strategies[0], on: place)
      do {
        present.append(Present(peer, try process.hello()))
      } catch {
        say("\(peer.name) is left out: \(error)")
      }
    }
    return present
  }

  private var ownProgram: String {
    URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      .appendingPathComponent("attnbench-peer").path
  }

  private func metadata(_ topology: MachineTopology, _ present: [Present]) -> RunMetadata {
    var options = [
      "--threads": threads, "--work": work, "--peers": peers, "--quick": "\(quick)",
      "--seconds": "\(seconds ?? (quick ? 0.4 : 8))",
    ]
    for one in present {
      options[one.implementation.name] = "\(one.hello.library) \(one.hello.version)"
    }
    return .host(
      argv: CommandLine.arguments, options: options, seed: seed, topology: topology)
  }

  private func matches(_ name: String, _ patterns: String) -> Bool {
    patterns.split(separator: ",").contains { fnmatch(String($0), name, 0) == 0 }
  }

  private func makeFolder(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  /// In memory, where there is room: containers often get 64 MB.
  private func scratchFolder(for works: [Workload]) throws -> String {
    let shared = "/dev/shm"
    let needed =
      try works.map { work in
        let strategy = try StrategyRegistry.standard.strategy(work.strategies[0])
        return work.handedOverBytes(work.definition(strategy))
      }.max() ?? 0
    var room = statvfs()
    let isRoomy =
      access(shared, W_OK) == 0 && statvfs(shared, &room) == 0
      && Double(room.f_bavail) * Double(room.f_frsize) > 1.1 * Double(needed)
    let base = isRoomy ? shared : NSTemporaryDirectory()
    let prefix = "attnbench-peers-"
    // Of runs that were killed.
    for name in try FileManager.default.contentsOfDirectory(atPath: base)
    where name.hasPrefix(prefix) {
      guard let owner = pid_t(name.dropFirst(prefix.count)), kill(owner, 0) != 0, errno == ESRCH
      else { continue }
      try? FileManager.default.removeItem(atPath: "\(base)/\(name)")
    }
    let path = "\(base)/\(prefix)\(getpid())"
    try makeFolder(path)
    return path
  }

  private func removeEmptyLog() {
    let log = "\(output)/stderr.log"
    let attributes = try? FileManager.default.attributesOfItem(atPath: log)
    if attributes?[.size] as? Int == 0 { try? FileManager.default.removeItem(atPath: log) }
  }

  private func outcome(_ row: ResultRow) -> String {
    guard let median = row.time.median else { return "\(row.status.rawValue): \(row.reason)" }
    return TimeSpan.rounded(seconds: median) + (row.status == .ok ? "" : ", \(row.status.rawValue)")
  }
}

/// The first Ctrl-C or `kill` lets the run under way finish and keeps every result; the second leaves
/// at once, which loses nothing that was kept.
private enum Interrupt {
  static let flag = StopFlag()

  static func listen() {
    for number in [SIGINT, SIGTERM] {
      signal(number) { _ in
        if Interrupt.flag.raise() { _exit(130) }
      }
    }
  }
}

private func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
