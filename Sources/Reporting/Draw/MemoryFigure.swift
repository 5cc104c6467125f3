import Choosing
import Measuring
import Records
import Statistics
import Units

extension Figure {
  /// Workspace as planned, and the growth of the resident set as measured, against n.
  ///
  /// Only the highest thread count: workspace grows with threads in a way that every strategy's
  /// plan states, and four lines a strategy are not readable.
  static func memory(_ rows: PlotRows) -> Figure? {
    guard let threads = rows.threads.first else { return nil }
    let curves = rows.series.filter { $0.threads == threads }.flatMap { series in
      let quantities: [(String, Int, (ResultRow.Work) -> Int?)] = [
        ("", 0, { $0.workspaceBytes }), (", measured", 1, { $0.peakRSSDeltaBytes }),
      ]
      let name = [series.strategy, series.shape].filter { !$0.isEmpty }.joined(separator: ", ")
      return quantities.map { suffix, variant, quantity in
        Curve(
          label: name + suffix, isListed: variant == 0,
          group: ClassHeading(series.classification).text,
          style: CurveStyle(strategy: rows.style(series).strategy, variant: variant),
          points: series.measured.compactMap { row in
            guard let bytes = quantity(row.work), bytes > 0 else { return nil }
            return Point(n: row.n, value: Double(bytes))
          })
      }
    }
    let scope = rows.threads.count > 1 ? ", \(PlotRows.threadText(threads))" : ""
    return Figure(
      name: "memory", title: "Memory beyond inputs and output" + scope, yLabel: "bytes",
      yAxis: .bytes, curves: curves.filter { !$0.points.isEmpty }, guides: powerGuides(curves),
      notes: [
        "workspace that the plan allocates (solid), growth of the resident set as measured (dashed)"
      ] + rows.missingNotes())
  }
}
