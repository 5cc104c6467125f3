import AttentionBench
import Foundation

extension RunMetadata {
  /// The description of a run on a made-up machine, not yet ended.
  static func made() -> RunMetadata {
    RunMetadata(
      runID: "r1", argv: ["attnbench", "sweep"], options: ["--n": "1000"], seed: 1,
      toolVersion: "0.1.0",
      build: Build(commit: "abc", dirty: false, compiler: "Swift 6", compilerFlags: "release"),
      blas: BLAS(
        library: "OpenBLAS 0.3.21", config: "OpenBLAS", core: "SkylakeX", threads: 1,
        environmentNote: nil),
      isaCompiled: ["avx2", "portable"], isaChosen: "avx2",
      machine: Machine(
        hostname: "box", system: "Linux", cpuModel: "Box 9000", cores: 2, hardwareThreads: 2,
        caches: [Cache(level: "L2", bytes: 1 << 20, sharedByCores: 1)], topologySummary: "2 cores",
        memoryTotalBytes: 1 << 30, memoryAvailableBytes: 1 << 29, cgroupMemoryBytes: nil,
        cgroupCPUs: nil, governor: nil),
      loadBefore: nil, startedAt: Date(timeIntervalSince1970: 1_700_000_000))
  }
}
