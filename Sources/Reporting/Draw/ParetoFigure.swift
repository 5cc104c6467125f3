import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

extension Figure {
  /// Error against time, both logarithmic: a point a cell, and for every size a line through the
  /// cells that no other beats in both.
  ///
  /// Errors that are rounding stand together at the lower edge: differences between them mean nothing,
  /// and on the axis they would push all others into its uppermost decade.
  static func pareto(_ rows: PlotRows) -> Figure {
    let edge = roundingEdge(rows)
    func paretoPoint(_ row: ResultRow) -> Point? { self.paretoPoint(row, edge) }
    let points = rows.pointCurves(paretoPoint)
    let cells = rows.widestSeries.flatMap { series in
      series.measured.compactMap { row in paretoPoint(row).map { (series.shape, $0) } }
    }
    var fronts: [Curve] = []
    for shape in Set(cells.map(\.0)).sorted() {
      for n in Set(cells.map(\.1.n)).sorted() {
        let front = ParetoFront.of(
          cells.filter { $0.0 == shape && $0.1.n == n }.map(\.1), time: { $0.x },
          error: { $0.atEdge ?? $0.value })
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
      xAxis: .seconds, yAxis: .error, edge: edge, curves: points + fronts,
      guides: edge.map { [Guide(power: 0, factor: $0.value, label: $0.label)] } ?? [],
      notes: ["a line for every n: no other strategy is both faster and nearer"]
        + (edge == nil
          ? []
          : [
            "\(roundingName), at the lower edge: errors below \(ParetoFront.roundingText), which tell "
              + "nothing apart"
          ]) + rows.missingNotes())
  }

  private static let roundingName = "exact (rounding)"

  /// A decade below the smallest error that is more than rounding; nil where no error is rounding.
  private static func roundingEdge(_ rows: PlotRows) -> Edge? {
    let errors = rows.widestSeries.flatMap(\.measured).compactMap(\.accuracy.relativeL2)
      .filter(\.isFinite)
    guard errors.contains(where: isRounding) else { return nil }
    let least = errors.filter { !isRounding($0) }.min() ?? 10 * Recommendation.roundingError
    return Edge(
      value: Double.pow(10, Double.log10(least).rounded(.down) - 1), tick: "exact",
      label: roundingName)
  }

  private static func isRounding(_ error: Double) -> Bool {
    error < Recommendation.roundingError
  }

  private static func paretoPoint(_ row: ResultRow, _ edge: Edge?) -> Point? {
    guard let median = row.time.median, median > 0, let error = row.accuracy.relativeL2,
      error.isFinite
    else { return nil }
    var point = Point(n: row.n, value: error)
    if isRounding(error), let edge { (point.value, point.atEdge) = (edge.value, error) }
    point.place = median
    return point
  }
}
