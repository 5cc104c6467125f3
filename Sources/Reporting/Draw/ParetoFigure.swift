import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Error against time, both logarithmic: a point a cell, and for every size a line through the
  /// cells that no other beats in both.
  static func pareto(_ rows: PlotRows) -> Figure {
    let points = rows.pointCurves(paretoPoint)
    let cells = rows.widestSeries.flatMap { series in
      series.measured.compactMap { row in paretoPoint(row).map { (series.shape, $0) } }
    }
    var fronts: [Curve] = []
    for shape in Set(cells.map(\.0)).sorted() {
      for n in Set(cells.map(\.1.n)).sorted() {
        let front = ParetoFront.of(
          cells.filter { $0.0 == shape && $0.1.n == n }.map(\.1), time: { $0.x },
          error: { $0.value })
        if front.isEmpty { continue }
        fronts.append(
          Curve(
            label: "", isListed: false, group: "", style: CurveStyle(strategy: 0, variant: 0),
            points: front, mark: .line, startLabel: SizeText.short(n)))
      }
    }
    return Figure(
      name: "pareto", title: "Error against time" + rows.widestScope,
      yLabel: "relative L2 distance from full attention", xLabel: "time (median)",
      xAxis: .seconds, yAxis: .error, curves: points + fronts,
      notes: [
        "a line for every n: no other strategy is both faster and nearer (errors below "
          + "\(ParetoFront.roundingText) are rounding)"
      ] + rows.missingNotes())
  }

  /// An error of 0 has no place on a logarithmic axis: it is drawn at the unit of fp32 rounding.
  private static func paretoPoint(_ row: ResultRow) -> Point? {
    guard let median = row.time.median, median > 0, let error = row.accuracy.relativeL2,
      error.isFinite
    else { return nil }
    var point = Point(n: row.n, value: max(error, 0x1p-24))
    point.place = median
    return point
  }
}
