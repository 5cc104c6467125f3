/// Where the workers of a team may run; the value of `--bind`.
///
/// | written | meaning |
/// |---|---|
/// | `core:0-1` | worker i runs on the i-th listed core, on any of its hardware threads |
/// | `pu:0,2` | worker i runs on the i-th listed processing unit |
/// | `numa:0` | every worker runs anywhere on the listed NUMA nodes |
/// | `none` | the operating system decides |
///
/// Cores are numbered machine-wide from 0 in hwloc's logical order (as `lstopo` draws them),
/// because the operating system has no machine-wide core numbers. PUs and NUMA nodes have the
/// operating system's numbers, as in `taskset` and `numactl`.
public enum ThreadBinding: Hashable, Sendable {
  /// No binding: the operating system places the workers.
  case none
  /// Worker i on the i-th core of the list.
  case cores([Int])
  /// Worker i on the i-th processing unit of the list.
  case processingUnits([Int])
  /// Every worker on all PUs of all nodes of the list.
  case numaNodes([Int])
}

extension ThreadBinding: CustomStringConvertible {
  /// Reads what `--bind` takes: `core:0-1`, `core:0,2`, `pu:0`, `numa:0` or `none`.
  ///
  /// - Throws: ``TopologyError/malformedBinding(text:reason:)``. Whether the machine has such cores
  ///   is asked later, by ``MachineTopology/cpuSets(for:workers:)``.
  public init(parsing text: some StringProtocol) throws(TopologyError) {
    if text == "none" {
      self = .none
      return
    }
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, let level = TopologyLevel(rawValue: String(parts[0])) else {
      throw .malformedBinding(text: String(text), reason: "a binding names core, pu, numa or none")
    }
    let indices: [Int]
    do {
      indices = try IndexList.parse(parts[1])
    } catch {
      throw .malformedBinding(text: String(text), reason: error.reason)
    }
    switch level {
    case .core: self = .cores(indices)
    case .processingUnit: self = .processingUnits(indices)
    case .numaNode: self = .numaNodes(indices)
    }
  }

  /// The binding as `--bind` takes it, ranges joined: `core:0-1`.
  public var description: String {
    switch self {
    case .none: "none"
    case .cores(let indices): "core:\(IndexList.format(indices))"
    case .processingUnits(let indices): "pu:\(IndexList.format(indices))"
    case .numaNodes(let indices): "numa:\(IndexList.format(indices))"
    }
  }
}

/// What a binding counts in. The raw value is the word before the colon in `--bind`.
public enum TopologyLevel: String, Hashable, Sendable {
  /// A physical core: one or more PUs that share its execution units.
  case core
  /// A processing unit: one hardware thread.
  case processingUnit = "pu"
  /// A NUMA node: the PUs near one bank of memory.
  case numaNode = "numa"

  /// The noun of a message: `core`, `PU`, `NUMA node`.
  var noun: String {
    switch self {
    case .core: "core"
    case .processingUnit: "PU"
    case .numaNode: "NUMA node"
    }
  }
}
