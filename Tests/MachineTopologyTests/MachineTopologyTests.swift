import MachineTopology
import Testing

@Suite("The machine and what a binding means on it")
struct MachineTopologyTests {
  /// Two packages, each a NUMA node with one L3, of two cores with two PUs. The PUs are numbered as
  /// x86 systems do: first one PU of every core, then their siblings.
  private static let notation =
    "pack:2 [numa] l3:1(size=33554432) core:2 l1d:1(size=49152) pu:2(indexes=0,4,1,5,2,6,3,7)"

  private let machine: MachineTopology
  /// The same machine, where the process may only use PUs 2, 3 and 6: cores 2 and 3.
  private let restricted: MachineTopology

  init() throws {
    machine = try MachineTopology(synthetic: Self.notation)
    restricted = try MachineTopology(synthetic: Self.notation, allowed: CPUSet([2, 3, 6]))
  }

  @Test func `a synthetic machine is read as described`() {
    #expect(machine.packages.map(\.cpuSet.description) == ["0-1,4-5", "2-3,6-7"])
    #expect(machine.cores.map(\.index) == [0, 1, 2, 3])
    #expect(machine.cores.map(\.cpuSet.description) == ["0,4", "1,5", "2,6", "3,7"])
    #expect(machine.numaNodes.map(\.index) == [0, 1])
    #expect(machine.numaNodes.map(\.cpuSet.description) == ["0-1,4-5", "2-3,6-7"])
    #expect(machine.processingUnits == CPUSet(0..<8))
    #expect(machine.allowed == CPUSet(0..<8))
    #expect(machine.hasSMT)
    #expect(machine.allowedCores.count == 4)
  }

  @Test func `caches come from the inside out`() {
    #expect(machine.caches.map(\.level) == [1, 1, 1, 1, 3, 3])
    #expect(machine.dataCache(level: 1)?.byteCount == 49_152)
    #expect(machine.dataCache(level: 1)?.sharingPUCount == 2)
    #expect(machine.dataCache(level: 3)?.byteCount == 33_554_432)
    #expect(machine.dataCache(level: 3)?.sharingPUCount == 4)
    #expect(machine.dataCache(level: 2) == nil)
  }

  @Test func `the cpuset restricts what is allowed, not what exists`() {
    #expect(restricted.cores.count == 4)
    #expect(restricted.allowedCores.map(\.index) == [2, 3])
    #expect(restricted.allowedPlaces.description == "cores 2-3, PUs 2-3,6, NUMA nodes 1")
  }

  @Test(
    arguments: [
      ("none", 3, [nil, nil, nil]),
      ("none", 100, Array(repeating: nil, count: 100)),
      ("core:0-1", 2, ["0,4", "1,5"]),
      ("core:3,0", 2, ["3,7", "0,4"]),
      ("core:0-3", 1, ["0,4"]),
      ("pu:7,0,4", 3, ["7", "0", "4"]),
      ("numa:1", 3, ["2-3,6-7", "2-3,6-7", "2-3,6-7"]),
      ("numa:0-1", 1, ["0-7"]),
    ] as [(String, Int, [String?])])
  func `each worker gets its place`(text: String, workers: Int, places: [String?]) throws {
    let binding = try ThreadBinding(parsing: text)
    #expect(try machine.cpuSets(for: binding, workers: workers).map(\.?.description) == places)
    for worker in 0..<workers {
      let place = try machine.cpuSet(for: binding, worker: worker, of: workers)
      #expect(place?.description == places[worker])
    }
  }

  @Test func `only the allowed PUs of a place are given`() throws {
    #expect(
      try restricted.cpuSets(for: .cores([3, 2]), workers: 2) == [CPUSet([3]), CPUSet([2, 6])])
    #expect(try restricted.cpuSets(for: .numaNodes([1]), workers: 1) == [CPUSet([2, 3, 6])])
  }

  @Test(arguments: [
    (
      "core:0-2",
      "core 0-1 is outside the cpuset of this process; allowed are cores 2-3, PUs 2-3,6, "
        + "NUMA nodes 1; try --bind core:2-3, or widen the cpuset (taskset, docker --cpuset-cpus)"
    ),
    (
      "pu:7",
      "PU 7 is outside the cpuset of this process; allowed are cores 2-3, PUs 2-3,6, "
        + "NUMA nodes 1; try --bind pu:2-3,6, or widen the cpuset (taskset, docker --cpuset-cpus)"
    ),
    (
      "numa:0",
      "NUMA node 0 is outside the cpuset of this process; allowed are cores 2-3, PUs 2-3,6, "
        + "NUMA nodes 1; try --bind numa:1, or widen the cpuset (taskset, docker --cpuset-cpus)"
    ),
    (
      "core:2,4,9",
      "this machine has no core 4,9; allowed are cores 2-3, PUs 2-3,6, NUMA nodes 1; "
        + "try --bind core:2-3"
    ),
    (
      "pu:8",
      "this machine has no PU 8; allowed are cores 2-3, PUs 2-3,6, NUMA nodes 1; "
        + "try --bind pu:2-3,6"
    ),
    (
      "numa:2",
      "this machine has no NUMA node 2; allowed are cores 2-3, PUs 2-3,6, NUMA nodes 1; "
        + "try --bind numa:1"
    ),
    (
      "core:2",
      "2 workers need 2 cores, the binding lists 1; allowed are cores 2-3, PUs 2-3,6, "
        + "NUMA nodes 1; use --bind core:2-3"
    ),
  ])
  func `a binding that cannot be had says what can`(text: String, message: String) throws {
    let binding = try ThreadBinding(parsing: text)
    let error = #expect(throws: TopologyError.self) {
      try restricted.cpuSets(for: binding, workers: 2)
    }
    #expect(error?.description == "--bind \(text): \(message)")
  }

  @Test func `more workers than cores get advice that can be followed`() {
    let error = #expect(throws: TopologyError.self) {
      try restricted.cpuSets(for: .cores([2, 3]), workers: 3)
    }
    #expect(
      error?.description
        == "--bind core:2-3: 3 workers need 3 cores, the binding lists 2; allowed are cores 2-3, "
        + "PUs 2-3,6, NUMA nodes 1; use --threads 2, or --bind none to let threads share cores")
  }

  @Test(arguments: [ThreadBinding.cores([]), .processingUnits([1, 1]), .numaNodes([-1])])
  func `lists that parsing would refuse are refused here too`(binding: ThreadBinding) {
    #expect(throws: TopologyError.self) { try machine.cpuSets(for: binding, workers: 1) }
  }

  @Test(arguments: [
    (0, "at least 1 worker is needed"), (-3, "at least 1 worker is needed"),
    (Int.min, "at least 1 worker is needed"), (4097, "at most 4096 workers are possible"),
    (Int.max, "at most 4096 workers are possible"),
  ])
  func `an impossible number of workers is refused`(count: Int, rule: String) {
    let error = #expect(throws: TopologyError.self) {
      try machine.cpuSets(for: .none, workers: count)
    }
    #expect(
      error?.description
        == "--threads \(count): \(rule); omit --threads to use all 4 allowed cores")
  }

  @Test func `a notation that hwloc cannot read is an error`() {
    #expect(throws: TopologyError.self) { try MachineTopology(synthetic: "pack:zero") }
  }

  @Test func `this machine is consistent in itself`() throws {
    let host = try MachineTopology.host()
    #expect(!host.allowed.isEmpty)
    #expect(host.allowed.isSubset(of: host.processingUnits))
    #expect(host.cores.reduce(CPUSet()) { $0.union($1.cpuSet) } == host.processingUnits)
    #expect(host.cores.map(\.index) == Array(host.cores.indices))
    #expect(!host.allowedCores.isEmpty)
    for cache in host.caches {
      #expect(cache.byteCount > 0 && cache.cpuSet.isSubset(of: host.processingUnits))
    }
  }
}
