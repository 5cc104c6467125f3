import Foundation

/// The environment variables that replace what OpenBLAS finds out about the processor.
///
/// It reads them once, when the library is loaded, and some images export them: `exact` then runs
/// at the speed of a lesser processor's kernels without a word.
public enum BLASSettings {
  /// The variables, by name.
  public static let variables = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_BLOCK_FACTOR"]

  /// Those that are set, each as `NAME=value`.
  public static func inForce(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> [String] {
    variables.compactMap { name in environment[name].map { "\(name)=\($0)" } }
  }
}
