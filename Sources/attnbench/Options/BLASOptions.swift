import ArgumentParser
import Attention
import AttentionBench

/// `--keep-blas-env`, for commands that measure or report OpenBLAS.
struct BLASOptions: ParsableArguments {
  @Flag(
    name: .customLong("keep-blas-env"),
    help: "Leave OPENBLAS_CORETYPE and the like as they are, also where better kernels are known.")
  var keep = false
}

/// A command that computes with OpenBLAS.
protocol BLASCommand: ParsableCommand {
  var blasOptions: BLASOptions { get }
}

extension BLASCommand {
  /// What became of the environment, as settled before the command began.
  var blas: BLASEnvironment { get throws { try Main.blasEnvironment(keep: blasOptions.keep) } }

  /// Tells on standard error what became of OpenBLAS's choice and the environment's, if anything.
  func announceBLAS() throws {
    if let note = try blas.note { Terminal.say(note) }
  }

  /// The same, and measures: warns where the baseline is slower than it should be.
  func measureBLAS() throws -> BLASSpeed {
    try announceBLAS()
    let speed = try BLASSpeed.measured()
    if let warning = MeasurementConditions.slowBLAS(speed, isKept: try blas.keepsLesser) {
      Terminal.say("warning: \(warning)")
    }
    return speed
  }
}
