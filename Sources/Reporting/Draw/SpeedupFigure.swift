import Attention
import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// An exact strategy's time over each other's, at the same n, shape and thread count.
  ///
  /// The exact one is the registry's last, which is what anybody would run at a long context: what beats one
  /// that stores its scores may be slower than that. It is one for the whole figure, so that its curves can be
  /// compared, and another where there is nothing to hold against it.
  static func speedup(_ rows: PlotRows) -> Figure? {
    let figures = StrategyRegistry.standard.exactNames.reversed().map { speedup(rows, over: $0) }
    return figures.first { $0.curves.contains { !$0.points.isEmpty } } ?? figures.last
  }

  private static func speedup(_ rows: PlotRows, over name: String) -> Figure {
    let baselines = rows.series.filter { isBaseline($0, name) }
    func baseline(of row: ResultRow) -> ResultRow? {
      baselines.lazy.flatMap(\.measured).first {
        $0.shape == row.shape && $0.placement.threads == row.placement.threads
      }
    }
    let curves = rows.series.filter { !isBaseline($0, name) }.map { series in
      Curve(
        label: rows.label(series), group: ClassHeading(series.classification).text,
        style: rows.style(series),
        points: series.measured.compactMap { row in
          baseline(of: row).flatMap { ratio(of: $0, to: row) }
        })
    }
    return Figure(
      name: "speedup", title: "Times faster than \(name)",
      yLabel: "time of \(name) / time of strategy", yAxis: .ratio,
      curves: curves.filter { !$0.points.isEmpty },
      guides: [Guide(power: 0, factor: 1, label: "as fast as \(name)")],
      notes: rows.missingNotes { isBaseline($0, name) }.map { $0 + ", so no speed-up there" }
        + rows.careNotes { baseline(of: $0) != nil })
  }

  /// Whether a series is the strategy as it is by default: in fp32, whatever its blocks.
  private static func isBaseline(_ series: PlotRows.Series, _ name: String) -> Bool {
    series.name == name
      && (series.measured + series.missing).allSatisfy { $0.arithmetic == .float32 }
  }

  /// The ratio of two medians. Its interval pairs the worst of one with the best of the other,
  /// which is wider than 95%: the two were measured apart.
  private static func ratio(of base: ResultRow, to row: ResultRow) -> Point? {
    guard let above = base.time.median, let below = row.time.median, above > 0, below > 0 else {
      return nil
    }
    let low = (base.time.intervalLower ?? above) / (row.time.intervalUpper ?? below)
    let high = (base.time.intervalUpper ?? above) / (row.time.intervalLower ?? below)
    return Point(n: row.n, value: above / below, low: low, high: high)
  }
}
