import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Time against n, both logarithmic, with each curve's exponent, predictions for the sizes that
  /// were skipped, and guides for n and n^2.
  static func scaling(_ rows: PlotRows) -> Figure? {
    let curves = rows.series.map { series in
      let points = series.measured.compactMap { row -> Point? in
        guard let median = row.time.median, median > 0 else { return nil }
        return Point(
          n: row.n, value: median, low: row.time.intervalLower, high: row.time.intervalUpper)
      }
      let curve = ScalingCurve(series, in: rows)
      return Curve(
        label: rows.label(series), exponent: curve.law?.exponent,
        group: ClassHeading(series.classification).text, style: rows.style(series),
        points: points, predicted: predicted(curve))
    }
    return Figure(
      name: "scaling",
      title: "Attention time against \(rows.isDecoding ? "cache" : "sequence") length",
      yLabel: "time (median, 95% interval)", yAxis: .seconds,
      curves: curves.filter { !$0.points.isEmpty }, guides: powerGuides(curves),
      notes: rows.missingNotes() + rows.careNotes() + rows.intervalNotes
        + (curves.allSatisfy(\.predicted.isEmpty)
          ? [] : ["predicted times were not measured; their bars are 95% prediction intervals"]))
  }

  /// What is expected at the skipped sizes of a curve.
  private static func predicted(_ curve: ScalingCurve) -> [Point] {
    SizePrediction.predictions(for: curve).filter { $0.measured == nil }.map { prediction in
      Point(
        n: prediction.n, value: prediction.seconds, low: prediction.interval?.lowerBound,
        high: prediction.interval?.upperBound)
    }
  }

  /// A line n^2 just above every curve and a line n just below every one: beside the data, so that
  /// slopes can be compared and no line is mistaken for a measurement.
  static func powerGuides(_ curves: [Curve]) -> [Guide] {
    let points = curves.flatMap(\.points)
    let overSquare = points.map { $0.value / (Double($0.n) * Double($0.n)) }.max()
    let overLine = points.map { $0.value / Double($0.n) }.min()
    guard let overSquare, let overLine, Set(points.map(\.n)).count > 1 else { return [] }
    let distance = 1.6
    return [
      Guide(power: 2, factor: overSquare * distance, label: "n²"),
      Guide(power: 1, factor: overLine / distance, label: "n"),
    ]
  }
}
