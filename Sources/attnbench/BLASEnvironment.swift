import ArgumentParser
import Attention
import AttentionBench
import Foundation

/// Keeps the environment from crippling the baseline.
///
/// OpenBLAS reads `OPENBLAS_CORETYPE` and its relatives when the library is loaded, before `main`.
/// Some images export them, and a lesser kernel then halves the speed of `exact` unnoticed. So the
/// command, when it finds them, replaces itself by itself without them, unless
/// `--keep-blas-env` asks to measure with them.
struct BLASEnvironment: Sendable {
  /// Settings that were taken out, each as `NAME=value`.
  let removed: [String]

  static let keepFlag = "--keep-blas-env"

  /// How a replaced process learns what it was freed of: its own process number (which survives
  /// the replacement; a child's would differ), then the settings.
  private static let marker = "ATTNBENCH_BLAS_ENVIRONMENT"

  /// Replaces the process if need be, and otherwise tells what an earlier replacement removed.
  static func prepare(arguments: [String]) -> BLASEnvironment {
    let ownNumber = "\(getpid())"
    let fields = getenv(marker).map { String(cString: $0).components(separatedBy: "\n") } ?? []
    // Children must not take the marker for their own.
    unsetenv(marker)
    if fields.first == ownNumber { return BLASEnvironment(removed: Array(fields.dropFirst())) }

    let forced = BLASSettings.inForce()
    if forced.isEmpty || arguments.contains(keepFlag) { return BLASEnvironment(removed: []) }
    setenv(marker, ([ownNumber] + forced).joined(separator: "\n"), 1)
    for name in BLASSettings.variables { unsetenv(name) }
    var argv = arguments.map { strdup($0) } + [nil]
    execv("/proc/self/exe", &argv)
    // Still here: there is no /proc, or no memory. The library keeps its settings, and the record
    // must say so.
    argv.forEach { free($0) }
    unsetenv(marker)
    for setting in forced {
      let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      setenv(String(parts[0]), String(parts[1]), 1)
    }
    return BLASEnvironment(removed: [])
  }

  /// One line about what was removed, or about what is in force; nil when there is neither.
  var note: String? {
    if !removed.isEmpty {
      return "note: \(removed.joined(separator: ", ")) ignored, OpenBLAS runs its "
        + "\(BLASLibrary.core) kernels; \(Self.keepFlag) measures with it"
    }
    let forced = BLASSettings.inForce()
    if !forced.isEmpty {
      return "warning: \(forced.joined(separator: ", ")) is in force, OpenBLAS runs its "
        + "\(BLASLibrary.core) kernels; without \(Self.keepFlag) it chooses its own"
    }
    return nil
  }
}

/// `--keep-blas-env`, for commands that measure or report OpenBLAS.
struct BLASOptions: ParsableArguments {
  @Flag(
    name: .customLong("keep-blas-env"),
    help: "Measure with OPENBLAS_CORETYPE and the like as they are exported.")
  var keep = false

  /// Tells on standard error what became of the environment's settings, if there were any.
  func announce() {
    if let note = Main.blasEnvironment.note { Terminal.say(note) }
  }
}
