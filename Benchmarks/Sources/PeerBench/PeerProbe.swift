import AttentionBench
import Foundation
import Glibc
import MachineTopology

/// What a sweep reads off the machine where cells run in other processes: the harness's own account
/// and those of the peers together, of which one runs at a time.
///
/// The memory of a peer holds its library and its copies of the operands, so that its growth says
/// nothing about the function: that figure is left out.
final class PeerProbe: MachineProbe {
  private let host: HostProbe
  private let identifiers: () -> [pid_t]

  init(cpus: CPUSet, identifiers: @escaping () -> [pid_t]) {
    host = HostProbe(cpus: cpus)
    self.identifiers = identifiers
  }

  func availableBytes() -> Int? { host.availableBytes() }
  func residentBytes() -> Int? { nil }
  func peakResidentBytes() -> Int? { nil }
  func restartPeak() -> Bool { true }
  func processorSeconds() -> Double { host.processorSeconds() }
  func clockFrequencies() -> [Double] { host.clockFrequencies() }
  var cpuCount: Int? { host.cpuCount }

  func interference() -> Interference {
    var sum = host.interference()
    for thread in identifiers().flatMap(Self.threads) {
      sum.involuntarySwitches += thread.switches
      sum.ownSeconds += thread.ran
      sum.waitedSeconds = sum.waitedSeconds.map { $0 + thread.waited }
    }
    return sum
  }

  private typealias Account = (ran: Double, waited: Double, switches: Int)

  /// The account of each thread of a process, from `schedstat` and `status`.
  private static func threads(of process: pid_t) -> [Account] {
    let tasks = "/proc/\(process)/task"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: tasks)) ?? []
    return names.compactMap { name in
      // Nanoseconds on a CPU, nanoseconds waiting for one, number of turns.
      let words = text("\(tasks)/\(name)/schedstat").split(separator: " ").compactMap { Double($0) }
      guard words.count >= 2 else { return nil }
      let label = "nonvoluntary_ctxt_switches:"
      let line = text("\(tasks)/\(name)/status").split(separator: "\n").first {
        $0.hasPrefix(label)
      }
      let switches = line.flatMap { Int($0.dropFirst(label.count).filter(\.isNumber)) } ?? 0
      return (words[0] / 1e9, words[1] / 1e9, switches)
    }
  }

  private static func text(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }
}
