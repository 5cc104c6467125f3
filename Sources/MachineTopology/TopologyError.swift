import SystemPackage

/// Why a topology could not be read, a binding not be had, or a team not be started.
public enum TopologyError: Error, Hashable, Sendable {
  /// `--bind` text that does not say a binding.
  case malformedBinding(text: String, reason: String)
  /// Places that the machine does not have (`exists` false), or that exist but lie outside the
  /// cpuset of this process (`exists` true).
  case unavailable(
    binding: ThreadBinding, level: TopologyLevel, indices: [Int], exists: Bool,
    allowed: AllowedPlaces)
  /// A binding which lists fewer cores or PUs than there are workers.
  case tooFewPlaces(
    binding: ThreadBinding, level: TopologyLevel, places: Int, workers: Int,
    allowed: AllowedPlaces)
  /// A number of threads below 1 or above ``WorkerTeam/maximumThreadCount``.
  case invalidThreadCount(Int, allowed: AllowedPlaces)
  /// The worker bound itself and then read something else back; `actual` is nil where nothing
  /// could be read.
  case bindingNotHonoured(worker: Int, asked: CPUSet, actual: CPUSet?)
  /// A call of the operating system or of hwloc failed.
  case system(call: String, Errno)
}

/// What this process may run on, in the three ways a binding can name it.
public struct AllowedPlaces: Hashable, Sendable {
  /// Cores of which at least one PU is allowed, ascending.
  public let cores: [Int]
  /// The allowed PUs.
  public let processingUnits: CPUSet
  /// NUMA nodes of which at least one PU is allowed, ascending.
  public let numaNodes: [Int]

  /// The allowed numbers of one level, ascending.
  func indices(of level: TopologyLevel) -> [Int] {
    switch level {
    case .core: cores
    case .processingUnit: processingUnits.indices
    case .numaNode: numaNodes
    }
  }
}

extension AllowedPlaces: CustomStringConvertible {
  /// For messages: `cores 0-1, PUs 0-1, NUMA nodes 0`.
  public var description: String {
    "cores \(IndexList.format(cores)), PUs \(processingUnits), "
      + "NUMA nodes \(IndexList.format(numaNodes))"
  }
}

extension TopologyError: CustomStringConvertible {
  /// One line: the argument and its value, the rule, and what to do instead.
  public var description: String {
    switch self {
    case .malformedBinding(let text, let reason):
      return "--bind \(text): \(reason); write core:0-1, core:0,2, pu:0, numa:0 or none"

    case .unavailable(let binding, let level, let indices, let exists, let allowed):
      let subject = "\(level.noun) \(IndexList.format(indices))"
      let problem =
        exists
        ? "\(subject) is outside the cpuset of this process"
        : "this machine has no \(subject)"
      let remedy = exists ? ", or widen the cpuset (taskset, docker --cpuset-cpus)" : ""
      let usable = IndexList.format(allowed.indices(of: level))
      return "--bind \(binding): \(problem); allowed are \(allowed); "
        + "try --bind \(level.rawValue):\(usable)\(remedy)"

    case .tooFewPlaces(let binding, let level, let places, let workers, let allowed):
      let usable = allowed.indices(of: level)
      let remedy =
        usable.count >= workers
        ? "use --bind \(level.rawValue):\(IndexList.format(usable.prefix(workers)))"
        : "use --threads \(places), or --bind none to let threads share cores"
      return "--bind \(binding): \(workers) workers need \(workers) \(level.noun)s, "
        + "the binding lists \(places); allowed are \(allowed); \(remedy)"

    case .invalidThreadCount(let count, let allowed):
      let rule =
        count < 1
        ? "at least 1 worker is needed"
        : "at most \(WorkerTeam.maximumThreadCount) workers are possible"
      return "--threads \(count): \(rule); omit --threads to use all \(allowed.cores.count) "
        + "allowed cores"

    case .bindingNotHonoured(let worker, let asked, let actual):
      let found = actual.map { "reads back PUs \($0)" } ?? "cannot read its binding back"
      return "worker \(worker) was bound to PUs \(asked) but \(found); "
        + "use --bind none, or ask for best effort"

    case .system(let call, let code):
      return "\(call) failed: \(code)"
    }
  }
}
