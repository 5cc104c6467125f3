import AttentionBench
import Foundation

/// A prediction as the picture shows it.
struct PlannedTime {
  /// The strategy and the length: a heading of the legend.
  let group: String
  let scheme: String
  let ranks: Int
  let seconds: Double
  let shape: ResultRow.Shape
  let threads: Int
}

/// Time against ranks, a curve for each scheme, drawn as the core draws time against length.
struct PlanFigure {
  private let figure: Figure
  private let format: GnuplotScript.Format

  /// - Parameters:
  ///   - path: of the picture, whose ending is its format.
  ///   - notes: what the predictions rest on.
  /// - Throws: `PlotError` where there is nothing to draw; `PlanError` naming `--plot`.
  init(_ times: [PlannedTime], path: String, notes: [String]) throws {
    format = try Self.format(path)
    let rows = times.map { time in
      var shape = time.shape
      // The axis is that of ranks.
      (shape.queryLength, shape.keyLength) = (time.ranks, time.ranks)
      var row = ResultRow(
        runID: "plan", cellID: "\(time.group) \(time.scheme) \(time.ranks)",
        strategy: ResultRow.StrategyLabel(name: time.scheme, classification: time.group),
        shape: shape, placement: ResultRow.Placement(threads: time.threads, bind: "none"),
        status: .ok, build: ResultRow.Build(blasCore: "", isa: ""))
      row.sweptSize = time.ranks
      row.time.samples = 1
      row.time.median = time.seconds
      return row
    }
    var figure = try PlotKind.scaling.figure(rows: rows)
    (figure.name, figure.title) = ("plan", "Attention over ranks: predicted time")
    // Plain numbers: ranks divide a time by less than a decade, which ticks of decades do not show.
    (figure.xLabel, figure.yLabel) = ("ranks", "predicted time in seconds")
    figure.yAxis = .gigaflops
    (figure.guides, figure.notes) = ([], notes)
    let groups = times.reduce(into: [String]()) { groups, time in
      if !groups.contains(time.group) { groups.append(time.group) }
    }
    figure.curves = groups.enumerated().flatMap { variant, group in
      figure.curves.filter { $0.group == group }.map { curve in
        var curve = curve
        curve.exponent = nil
        curve.style.variant = variant
        return curve
      }
    }
    self.figure = figure
  }

  /// Finds out whether a picture could be drawn, before anything is measured for it.
  ///
  /// - Throws: `PlanError` naming `--plot`; `PlotError.gnuplotMissing`.
  static func check(_ path: String) throws {
    _ = try format(path)
    _ = try Gnuplot()
  }

  private static func format(_ path: String) throws(PlanError) -> GnuplotScript.Format {
    let ending = URL(fileURLWithPath: path).pathExtension
    guard let format = GnuplotScript.Format(rawValue: ending) else {
      throw PlanError(
        argument: "--plot", value: path, rule: "a picture is .svg or .png",
        fix: "write for example plan.svg")
    }
    return format
  }

  /// The picture's bytes, by gnuplot.
  ///
  func picture() throws(PlotError) -> [UInt8] {
    try Gnuplot().picture(of: figure, format: format)
  }
}
