import Choosing
import Measuring
import Records
import Statistics
import Units

/// The pictures that `attnbench plot` draws from the rows of a sweep.
///
/// A kind is one file beside this one that turns rows into a `Figure`, and one case here.
public enum PlotKind: String, CaseIterable, Sendable {
  /// Time against n.
  case scaling
  /// How many times faster than `flash`, or `full` where there is no `flash`.
  case speedup
  /// Workspace and resident memory against n.
  case memory
  /// Percent of the measured peak of each cell's arithmetic against n; of the read bandwidth where a
  /// sweep decodes.
  case efficiency
  /// Speed against operations a byte, below the ceilings of the machine.
  case roofline
  /// Error against time.
  case pareto

  /// The figure of this kind.
  ///
  /// - Parameters:
  ///   - machine: the machine's name for the subtitle; empty when it is not known.
  ///   - ceilings: what was measured of the machine in the same run.
  ///   - inputs: the file and the prefix of the tensors; nil where they were random or nobody knows.
  /// - Throws: `PlotError.nothingToDraw` when no row has what this kind shows.
  public func figure(
    rows: [ResultRow], machine: String = "", ceilings: [MachineCeiling] = [],
    inputs: String? = nil
  ) throws(PlotError) -> Figure {
    let rows = PlotRows(rows)
    let figure: Figure? =
      switch self {
      case .scaling: Figure.scaling(rows)
      case .speedup: Figure.speedup(rows)
      case .memory: Figure.memory(rows)
      case .efficiency:
        rows.isDecoding ? Figure.bandwidth(rows, ceilings) : Figure.efficiency(rows)
      case .roofline: Figure.roofline(rows, ceilings)
      case .pareto: Figure.pareto(rows)
      }
    guard var figure, figure.curves.contains(where: { !$0.points.isEmpty }) else {
      throw .nothingToDraw(kind: self)
    }
    if figure.xAxis == .size { figure.xLabel = rows.sizeLabel }
    figure.subtitle = ([inputs ?? "", machine] + rows.commonText).filter { !$0.isEmpty }
      .joined(separator: " · ")
    return figure
  }
}

extension RunMetadata {
  /// The file and the prefix that the tensors came from, as `--inputs` names them; nil where they were
  /// random.
  public var tensorSource: String? {
    inputs.map { [$0.path, $0.prefix].compactMap { $0 }.joined(separator: ":") }
  }
}
