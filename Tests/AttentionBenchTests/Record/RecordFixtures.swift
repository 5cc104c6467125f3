import AttentionBench
import Foundation

/// Runs `body` with the path of a fresh directory, which is removed afterwards.
func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
  let path = NSTemporaryDirectory() + "attnbench-test-" + UUID().uuidString
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(atPath: path) }
  return try body(path)
}

extension ResultRow {
  /// A measured cell of 4 heads of 64 on two threads, with round numbers.
  static func measured(
    _ strategy: String = "flash", n: Int = 1000, seconds: Double = 0.25, threads: Int = 2,
    classification: String = "exact", status: Status = .ok, reason: String = ""
  ) -> ResultRow {
    var row = ResultRow(
      runID: "r1", cellID: "\(strategy)-\(n)-\(threads)",
      strategy: StrategyLabel(name: strategy, parameters: "", classification: classification),
      shape: Shape(
        batch: 1, heads: 4, kvHeads: 4, queryLength: n, keyLength: n, headDimension: 64,
        valueDimension: 64, elementType: "fp32", isCausal: false),
      placement: Placement(threads: threads, bind: "core:0-1"), status: status, reason: reason,
      build: Build(blasCore: "SkylakeX", isa: "avx512"))
    guard status.isMeasured else { return row }
    if let summary = SampleSummary([seconds * 0.98, seconds, seconds * 1.03]) {
      row.time = Times(summary, cpuTime: seconds * Double(threads))
    }
    row.work.pairs = 4 * n * n
    row.work.flops = 4 * n * n * 256
    row.work.gflopPerSecond = Double(4 * n * n * 256) / seconds / 1e9
    row.work.percentOfPeak = 71.5
    row.work.minimumBytes = 4 * 4 * n * 256
    row.work.workspaceBytes = 65536 + 64 * n
    row.work.peakRSSDeltaBytes = 131_072 + 64 * n
    row.accuracy.relativeL2 = 3e-7
    row.accuracy.maximumAbsolute = 2e-6
    row.accuracy.rowsChecked = 64
    row.accuracy.oracleRelativeL2 = 3e-7
    row.disturbance.stealPercent = 0.25
    row.disturbance.involuntaryContextSwitches = 3
    return row
  }
}

extension SampleRow {
  /// A sample of the first cell.
  static func taken(_ index: Int) -> SampleRow {
    SampleRow(
      runID: "r1", cellID: "flash-1000-2", index: index, round: index / 2,
      time: 0.1 + Double(index) / 3, cpuTime: 0.2, startedAt: Double(index))
  }
}
