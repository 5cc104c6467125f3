import Choosing
import Measuring
import Records
import Statistics
import Units

/// The cells of a sweep that may be compared with each other: one shape, one thread count.
struct ReportSetting {
  /// What tells it from the others; empty when there is only one.
  let name: String
  /// Measured and missing rows, rising in n.
  let rows: [ResultRow]

  /// The settings of a sweep, the highest thread count first.
  static func all(_ rows: PlotRows) -> [ReportSetting] {
    grouped(rows.series.sorted { $0.threads > $1.threads }) { series in
      let threads = rows.threads.count > 1 ? PlotRows.threadText(series.threads) : ""
      return [threads, series.shape].filter { !$0.isEmpty }.joined(separator: ", ")
    }
  }

  /// The shapes of a sweep with all their thread counts: what one picture can show.
  static func shapes(_ rows: PlotRows) -> [ReportSetting] { grouped(rows.series, by: \.shape) }

  /// In the order of first appearance.
  private static func grouped(
    _ series: [PlotRows.Series], by name: (PlotRows.Series) -> String
  ) -> [ReportSetting] {
    var names: [String] = []
    var byName: [String: [ResultRow]] = [:]
    for one in series {
      let name = name(one)
      if byName[name] == nil { names.append(name) }
      byName[name, default: []] += one.measured + one.missing
    }
    return names.map { ReportSetting(name: $0, rows: (byName[$0] ?? []).sorted { $0.n < $1.n }) }
  }

  /// What to run at each size.
  func choices(_ limits: [Double]) -> [SizeChoice] {
    Set(rows.map(\.n)).sorted().map { n in
      SizeChoice(n: n, rows.filter { $0.n == n }, limits: limits)
    }
  }
}
