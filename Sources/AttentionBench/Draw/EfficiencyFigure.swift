extension Figure {
  /// Percent of the FMA peak that was measured in the same run, with the peak as the top.
  static func efficiency(_ rows: PlotRows) -> Figure? {
    let curves = rows.series.map { series in
      Curve(
        label: rows.label(series), group: ClassHeading(series.classification).text,
        style: rows.style(series),
        points: series.measured.compactMap { row in
          guard let percent = row.work.percentOfPeak, let median = row.time.median, median > 0
          else { return nil }
          return Point(
            n: row.n, value: percent, low: row.time.intervalUpper.map { percent * median / $0 },
            high: row.time.intervalLower.map { percent * median / $0 })
        })
    }
    return Figure(
      name: "efficiency", title: "Share of the machine's peak",
      yLabel: "percent of the FMA peak of the same run", yAxis: .percent,
      curves: curves.filter { !$0.points.isEmpty },
      notes: ["useful work only: masked-out pairs do not count"] + rows.missingNotes()
        + rows.careNotes() + rows.intervalNotes)
  }
}
