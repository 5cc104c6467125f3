import Foundation
import Records
import Statistics
import Units

/// The environment variables that replace what OpenBLAS finds out about the processor.
///
/// It reads them once, when the library is loaded, and some images export them: `full` then runs
/// at the speed of a lesser processor's kernels without a word.
public enum BLASSettings {
  /// Names the kernels.
  public static let coreType = "OPENBLAS_CORETYPE"
  /// All of them: the others change the block sizes of the kernels.
  public static let variables = [coreType, "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR"]

  /// Those that are set, each as `NAME=value`.
  public static func inForce(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> [String] {
    variables.compactMap { name in environment[name].map { "\(name)=\($0)" } }
  }

  /// Everything in an environment that OpenBLAS may listen to, each as `NAME=value`: threads, memory
  /// and messages too.
  public static func all(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> [String] {
    environment.keys.filter { name in
      ["OPENBLAS_", "GOTO_", "OMP_"].contains { name.hasPrefix($0) }
    }.sorted().map { "\($0)=\(environment[$0] ?? "")" }
  }
}
