import ArgumentParser
import AttentionBench
import Foundation
import MachineTopology

/// `attnbench topo`: the machine, and what would spoil a measurement on it.
struct TopoCommand: BLASCommand {
  static let configuration = CommandConfiguration(
    commandName: "topo",
    abstract: "Show the machine and what would spoil a measurement on it.",
    discussion: "Example: attnbench topo",
    aliases: ["doctor"])

  @OptionGroup var blasOptions: BLASOptions

  /// Long enough for the kernel to count some ticks of 10 ms.
  private static let stealInterval = 0.3

  mutating func run() throws {
    try announceBLAS()
    let topology = try MachineTopology.host()
    let before = MachineLoad.current(cpus: topology.allowed)
    Thread.sleep(forTimeInterval: Self.stealInterval)
    let after = MachineLoad.current(cpus: topology.allowed)
    let conditions = MeasurementConditions(
      topology: topology, blas: try blas, blasSpeed: try .measured(),
      steal: (after - before).stealFraction)
    let report = try MachineReport(
      topology: topology, conditions: conditions, load: after.averages)

    let width = report.lines.map(\.label.count).max() ?? 0
    for line in report.lines {
      let padding = String(repeating: " ", count: width - line.label.count)
      try Terminal.print("\(line.label)\(padding)  \(line.text)")
    }
    let warnings = conditions.warnings
    try Terminal.print("")
    try Terminal.print(warnings.isEmpty ? "warnings: none" : "warnings:")
    for warning in warnings { try Terminal.print("  \(warning)") }
  }
}
