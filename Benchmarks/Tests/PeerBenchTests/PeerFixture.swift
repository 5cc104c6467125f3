import Attention
import AttentionBench
import Foundation
import MachineTopology

@testable import PeerBench

/// A folder of its own, gone with the value.
final class ScratchFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "peer-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var log: String { path + "/stderr.log" }
}

extension Implementation {
  /// The fake peer with one of its faults; `none` for none.
  static func fake(_ fault: String, side: Side = .peer) -> Implementation {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("FakePeer.py").path
    return Implementation(
      name: side == .own ? "attnbench" : side == .before ? "before" : "fake.\(fault)",
      command: ["/usr/bin/env", "python3", script, fault], side: side)
  }
}

extension PeerProcess {
  /// The fake peer.
  static func fake(_ fault: String, _ folder: ScratchFolder) -> PeerProcess {
    PeerProcess(
      command: Implementation.fake(fault).command, places: [[0]], log: folder.log,
      patience: 60)
  }
}

/// Fake peers compared on a piece of work, by default full attention of five rows and two heads.
struct FakeComparison {
  let folder: ScratchFolder
  let present: [Present]
  let plan: PeerPlan
  let comparison: PeerComparison
  let executor: PeerExecutor

  /// - Parameter hurried: an implementation that gets no time to answer once it has said hello.
  init(
    _ implementations: [Implementation], work: Workload? = nil, hurried: Implementation? = nil
  ) throws {
    folder = try ScratchFolder()
    let topology = try MachineTopology.host()
    // Unbound: no test may need a core to itself.
    let placements = [SweepPlacement(threads: 1, binding: .none)]
    let executor = PeerExecutor(
      host: try AttentionExecutor(
        placements: placements, inputs: .normal(seed: 7), seed: 7, topology: topology),
      inputs: .normal(seed: 7), allowed: topology.allowed, folder: folder.path, log: folder.log,
      patience: 60)
    self.executor = executor
    let work = try work ?? Workload("full", n: 5, d: 4, heads: 2)
    present = try implementations.map { one in
      Present(
        one, try executor.process(one, strategy: work.strategies[0], on: placements[0]).hello())
    }
    plan = PeerPlan([work], by: present, on: placements, executor: executor)
    if let hurried {
      executor.process(hurried, strategy: "flash", on: placements[0]).patience = 0.5
    }
    comparison = try PeerComparison(
      into: folder.path + "/results", executor: executor,
      metadata: .host(
        argv: ["peers"], options: ["--seconds": "0.01"], seed: 7, topology: topology),
      limits: PeerComparison.limits(seconds: 0.01), stop: StopFlag())
    try comparison.run(plan) { _ in }
    try comparison.finish(title: "Fakes")
  }

  /// The only row of an implementation's.
  func row(_ name: String) -> ResultRow? {
    comparison.kinds[0].rows.first { $0.strategy.name == name }
  }

  var page: String {
    (try? String(contentsOfFile: folder.path + "/results/README.md", encoding: .utf8)) ?? ""
  }
}
