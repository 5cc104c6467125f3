import Choosing
import Measuring
import Records
import Statistics
import Units

/// What pictures share whose horizontal axis is no size: a point a cell.
///
/// Only the highest thread count: the order of strategies hardly depends on it, and twice as many
/// points are not readable.
extension PlotRows {
  /// The series of the highest thread count, in legend order.
  var widestSeries: [Series] { series.filter { $0.threads == threads.first } }

  /// What to add to a title where other thread counts were left out: `, 2 threads`.
  var widestScope: String {
    guard let most = threads.first, threads.count > 1 else { return "" }
    return ", \(Self.threadText(most))"
  }

  /// A curve of points for each of these series that has any.
  func pointCurves(
    mark: Figure.Mark = .points, _ point: (ResultRow) -> Figure.Point?
  ) -> [Figure.Curve] {
    widestSeries.map { series in
      Figure.Curve(
        label: [series.strategy, series.shape].filter { !$0.isEmpty }.joined(separator: ", "),
        group: ClassHeading(series.classification).text,
        style: CurveStyle(strategy: style(series).strategy, variant: 0),
        points: series.measured.compactMap(point), mark: mark)
    }.filter { !$0.points.isEmpty }
  }
}
