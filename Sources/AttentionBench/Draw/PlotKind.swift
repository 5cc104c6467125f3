/// The pictures that `attnbench plot` draws from the rows of a sweep.
///
/// A kind is one file beside this one that turns rows into a `Figure`, and one case here.
public enum PlotKind: String, CaseIterable, Sendable {
  /// Time against n.
  case scaling
  /// How many times faster than exact attention.
  case speedup
  /// Workspace and resident memory against n.
  case memory
  /// Percent of the machine's measured peak against n.
  case efficiency
  /// Error against time.
  case pareto

  /// The figure of this kind.
  ///
  /// - Parameter machine: the machine's name for the subtitle; empty when it is not known.
  /// - Throws: `PlotError.nothingToDraw` when no row has what this kind shows.
  public func figure(rows: [ResultRow], machine: String = "") throws(PlotError) -> Figure {
    let rows = PlotRows(rows)
    let figure =
      switch self {
      case .scaling: Figure.scaling(rows)
      case .speedup: Figure.speedup(rows)
      case .memory: Figure.memory(rows)
      case .efficiency: Figure.efficiency(rows)
      case .pareto: Figure.pareto(rows)
      }
    guard var figure, figure.curves.contains(where: { !$0.points.isEmpty }) else {
      throw .nothingToDraw(kind: self)
    }
    figure.subtitle = ([machine] + rows.commonText).filter { !$0.isEmpty }.joined(separator: " · ")
    return figure
  }
}
