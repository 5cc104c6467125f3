import Choosing
import Measuring
import Records
import Statistics
import Units

/// Why a picture could not be drawn.
public enum PlotError: Error, Equatable, Sendable, CustomStringConvertible {
  /// gnuplot is not installed.
  case gnuplotMissing
  /// gnuplot refused the script; `output` is what it said.
  case gnuplotFailed(script: String, output: String)
  /// The rows have nothing that this kind shows.
  case nothingToDraw(kind: PlotKind)
  /// gnuplot drew a picture that has no end.
  case pictureTruncated(path: String)
  /// The script or a picture could not be written or read.
  case file(RecordError)

  /// One line: what is wrong and what to do.
  public var description: String {
    switch self {
    case .gnuplotMissing:
      return "gnuplot was not found on PATH; install it with: apt-get install -y gnuplot-nox"
    case .gnuplotFailed(let script, let output):
      let line = output.split(whereSeparator: \.isNewline).joined(separator: " ")
      return "gnuplot could not draw \(script): \(line)"
    case .nothingToDraw(.speedup):
      return
        "nothing to draw for speedup: it needs rows of 'flash' or 'full' and of another strategy "
        + "that were measured at the same n; add flash to --strategy"
    case .nothingToDraw(.pareto):
      return "nothing to draw for pareto: it needs rows with a time and an error; look at the "
        + "status and rel_l2_error columns of results.csv"
    case .nothingToDraw(let kind):
      return "nothing to draw for \(kind.rawValue): no row was measured; look at the status and "
        + "reason columns of results.csv"
    case .pictureTruncated(let path):
      return "gnuplot could not write all of \(path): make room there, raise the file size limit "
        + "(ulimit -f), or choose another directory for temporary files with TMPDIR"
    case .file(let error):
      return error.description
    }
  }
}
