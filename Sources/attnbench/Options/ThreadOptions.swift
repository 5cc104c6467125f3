import ArgumentParser
import Attention
import AttentionBench
import MachineTopology

/// How many workers and where they run.
struct ThreadOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: "Workers; a list such as 1,2 where several are measured (default: all allowed cores)."
  )
  var threads: String?

  @Option(help: "Where workers run: core:0-1, core:0,2, pu:0, numa:0 or none.")
  var bind: String?

  @Flag(help: "Go on where a worker cannot be bound as asked, and say so.")
  var bestEffortBind = false

  /// The thread counts asked for, in the order given; one for each allowed core where none was.
  ///
  /// - Throws: `PlanError` for what is no list of numbers, `TopologyError` for a count that cannot
  ///   be had.
  func counts(on topology: MachineTopology) throws -> [Int] {
    guard let threads else { return [max(topology.allowedCores.count, 1)] }
    return try threads.split(separator: ",", omittingEmptySubsequences: false).map { item in
      guard let count = try? CountText.parse(item.filter { !$0.isWhitespace }) else {
        throw PlanError(
          argument: "--threads", value: threads, rule: "this is no list of whole numbers",
          fix: "write for example 2 or 1,2")
      }
      _ = try topology.cpuSets(for: .none, workers: count)
      return count
    }
  }

  /// The one thread count of a command that measures no others.
  ///
  /// - Throws: as `counts(on:)`, and `PlanError` for a list.
  func count(on topology: MachineTopology) throws -> Int {
    let counts = try counts(on: topology)
    guard counts.count == 1 else {
      throw PlanError(
        argument: "--threads", value: threads ?? "",
        rule: "this command runs with one thread count", fix: "write one number")
    }
    return counts[0]
  }

  /// The binding asked for, or nil: checked for its grammar only.
  ///
  /// - Throws: `TopologyError.malformedBinding`.
  func binding() throws(TopologyError) -> ThreadBinding? {
    guard let bind else { return nil }
    return try ThreadBinding(parsing: bind)
  }

  /// A team of `count` workers, bound as asked, and not at all by default.
  ///
  /// - Throws: `TopologyError`.
  func team(of count: Int, on topology: MachineTopology) throws(TopologyError) -> WorkerTeam {
    try WorkerTeam(
      threads: count, binding: try usable(try binding() ?? .none, count, topology),
      topology: topology, bestEffort: bestEffortBind)
  }

  /// A placement of `count` workers, bound as asked, and to a core each by default.
  ///
  /// - Throws: `TopologyError`.
  func placement(
    of count: Int, on topology: MachineTopology
  ) throws(TopologyError) -> SweepPlacement {
    let asked = try binding() ?? .cores(topology.allowedCores.map(\.index))
    return try SweepPlacement(
      threads: count, binding: try usable(asked, count, topology), topology: topology)
  }

  /// The binding that is to be had, and a word about it where it is not the one asked for.
  private func usable(
    _ asked: ThreadBinding, _ count: Int, _ topology: MachineTopology
  ) throws(TopologyError) -> ThreadBinding {
    let (binding, refusal) = try topology.usableBinding(
      asked, workers: count, bestEffort: bestEffortBind)
    if let refusal {
      Terminal.say("warning: \(refusal); --best-effort-bind goes on with unbound workers")
    }
    return binding
  }
}
