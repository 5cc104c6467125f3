import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Exact attention's time over each strategy's, at the same n, shape and thread count.
  static func speedup(_ rows: PlotRows) -> Figure? {
    let curves = rows.series.filter { $0.name != PlotRows.baseline }.map { series in
      Curve(
        label: rows.label(series), group: ClassHeading(series.classification).text,
        style: rows.style(series),
        points: series.measured.compactMap { row in
          baseline(rows, of: row).flatMap { ratio(of: $0, to: row) }
        })
    }
    let missing = rows.missingNotes { $0.name == PlotRows.baseline }
    return Figure(
      name: "speedup", title: "Times faster than full attention with stored scores",
      yLabel: "time of full / time of strategy", yAxis: .ratio,
      curves: curves.filter { !$0.points.isEmpty },
      guides: [Guide(power: 0, factor: 1, label: "as fast as full")],
      notes: missing.map { $0 + ", so no speed-up there" }
        + rows.careNotes { baseline(rows, of: $0) != nil })
  }

  /// The measured row of `full` on the same problem with as many threads.
  private static func baseline(_ rows: PlotRows, of row: ResultRow) -> ResultRow? {
    rows.series.lazy.filter { $0.name == PlotRows.baseline }.flatMap(\.measured).first {
      $0.shape == row.shape && $0.placement.threads == row.placement.threads
    }
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
