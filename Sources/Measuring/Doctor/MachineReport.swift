import Attention
import Foundation
import MachineTopology
import Records
import Statistics
import Units

/// The machine as a measurement sees it: one labelled line a subject.
public struct MachineReport: Sendable {
  /// A subject and what there is to say about it.
  public struct Line: Sendable, Hashable {
    /// `caches`.
    public let label: String
    /// `L1d 48 KiB a core, ...`.
    public let text: String
  }

  /// The lines, from the processor outwards.
  public let lines: [Line]

  /// Describes this machine.
  ///
  /// - Throws: `AttentionError` if the block sizes cannot be worked out.
  public init(
    topology: MachineTopology, conditions: MeasurementConditions,
    memory: MachineMemory? = .current(), load: MachineLoad.Averages?
  ) throws(AttentionError) {
    let kernels = KernelTable.active
    lines = [
      Line(label: "processor", text: Self.processor(topology)),
      Line(label: "cores", text: Self.cores(topology)),
      Line(label: "allowed", text: "\(topology.allowedPlaces)"),
      Line(label: "NUMA", text: Self.nodes(topology)),
      Line(label: "caches", text: Self.caches(topology)),
      Line(label: "limits", text: Self.limits(conditions, memory)),
      Line(label: "memory", text: Self.memory(memory)),
      Line(
        label: "BLAS",
        text: "\(BLASLibrary.nameAndVersion), \(conditions.blasCore) kernels, "
          + "\(Self.count(conditions.blasThreads, "thread")) a call"
          + (conditions.blasSpeed.map { ", \(Self.speed($0))" } ?? "")
          + (conditions.blasSummary.map { "; \($0)" } ?? "") + " (\(BLASLibrary.config))"),
      Line(
        label: "kernels",
        text: "\(kernels.name), panels of \(kernels.panelLanes) query rows"
          + (kernels.hasSeveralExponentials
            ? ", exponentials \(kernels.scalesExponentials ? "by scaling" : "by table")" : "")
          + " (compiled: "
          + KernelTable.compiled.map(\.name).joined(separator: ", ") + "; run here: "
          + KernelTable.supported.map(\.name).joined(separator: ", ") + ")"),
      Line(label: "products", text: Self.products(.active)),
      Line(label: "blocks", text: try Self.blocks([64, 128])),
      Line(
        label: "governor",
        text: conditions.governors.isEmpty
          ? "not told by the system, as in most virtual machines"
          : conditions.governors.joined(separator: ", ")),
      Line(label: "load", text: Self.load(load, conditions.stealFraction)),
    ]
  }

  private static func speed(_ speed: BLASSpeed) -> String {
    "\(SignificantDigits.three(speed.gflopPerSecond)) GFLOP/s a thread, "
      + "\(Int((100 * speed.share).rounded()))% of the FMA peak of "
      + "\(SignificantDigits.three(speed.peakGflopPerSecond))"
  }

  /// `f32 160 GFLOP/s a core; int8 3.9 times, fp16 2.0 times; bf16 0.45 times: slower, not searched`.
  private static func products(_ rates: ProductRates) -> String {
    func text(_ arithmetic: Arithmetic) -> String {
      "\(arithmetic.rawValue) \(SignificantDigits.three(rates.speedup(arithmetic) ?? 0)) times"
    }
    let faster = rates.faster
    let slower = Arithmetic.allCases.filter {
      $0 != .float32 && rates.rates[$0] != nil && !faster.contains($0)
    }
    let single = SignificantDigits.three((rates.rates[.float32] ?? 0) / 1e9)
    var parts = ["f32 \(single) GFLOP/s a core"]
    if !faster.isEmpty { parts.append(faster.map(text).joined(separator: ", ")) }
    if !slower.isEmpty {
      parts.append(slower.map(text).joined(separator: ", ") + ": not faster, so never searched")
    }
    return parts.joined(separator: "; ")
  }

  private static func processor(_ topology: MachineTopology) -> String {
    "\(topology.cpuModel ?? "unknown"), \(count(topology.packages.count, "package"))"
  }

  private static func cores(_ topology: MachineTopology) -> String {
    "\(count(topology.cores.count, "core")), "
      + "\(count(topology.processingUnits.count, "hardware thread")) (PU), "
      + (topology.hasSMT ? "SMT on" : "no SMT")
  }

  private static func nodes(_ topology: MachineTopology) -> String {
    let nodes = topology.numaNodes.map { "\($0.index) (PUs \($0.cpuSet))" }
    return "\(count(nodes.count, "node")): \(nodes.joined(separator: ", "))"
  }

  private static func caches(_ topology: MachineTopology) -> String {
    let levels = Set(topology.caches.map(\.level)).sorted()
    let texts = levels.compactMap { level -> String? in
      guard let cache = topology.dataCache(level: level) else { return nil }
      let name = level == 1 ? "L1d" : "L\(level)"
      let sharing = cache.sharingPUCount == 1 ? "1 PU" : "\(cache.sharingPUCount) PUs"
      return "\(name) \(ByteCount(cache.byteCount)) for \(sharing)"
    }
    let line = topology.dataCache(level: 1)?.lineByteCount.map { "; lines of \($0) B" } ?? ""
    return texts.isEmpty ? "not told by the system" : texts.joined(separator: ", ") + line
  }

  private static func limits(
    _ conditions: MeasurementConditions, _ memory: MachineMemory?
  ) -> String {
    let quota = conditions.cpuQuota.map { String(format: "CPU quota %.2f CPUs", $0) }
    let limit = memory?.groupLimit.map { group in
      "memory limit \(ByteCount(group.limitBytes).rounded), of which "
        + "\(ByteCount(group.availableBytes).rounded) are free"
    }
    return "\(quota ?? "no CPU quota"), \(limit ?? "no memory limit") (control groups)"
  }

  private static func memory(_ memory: MachineMemory?) -> String {
    guard let memory else { return "not told by the system" }
    return "\(ByteCount(memory.totalBytes).rounded), "
      + "\(ByteCount(memory.availableBytes).rounded) available by the kernel's own account; "
      + "hwloc's figure is of boot time and not used"
  }

  private static func blocks(_ dimensions: [Int]) throws(AttentionError) -> String {
    var texts: [String] = []
    for dimension in dimensions {
      let problem = try AttentionProblem(
        AttentionShape(heads: 1, queryLength: 1 << 16, headDim: dimension))
      let blocks = SoftmaxEngine().blocks(for: problem)
      let rows = blocks.panels * KernelTable.active.panelLanes
      texts.append("d = \(dimension): \(rows) query rows x \(blocks.keys) keys")
    }
    return texts.joined(separator: ", ")
  }

  private static func load(_ load: MachineLoad.Averages?, _ steal: Double?) -> String {
    let averages = load.map {
      String(
        format: "%.2f %.2f %.2f over 1, 5 and 15 minutes", $0.oneMinute, $0.fiveMinutes,
        $0.fifteenMinutes)
    }
    let stolen = steal.map { String(format: ", %.1f%% stolen just now", 100 * $0) }
    return (averages ?? "not told by the system") + (stolen ?? "")
  }

  private static func count(_ number: Int, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
  }
}
