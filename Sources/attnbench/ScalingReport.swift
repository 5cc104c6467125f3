import AttentionBench
import Foundation
import TensorFiles
import TextTable

/// What a sweep says about growth, crossings and sizes that it did not measure.
enum ScalingReport {
  /// The most sentences of a kind that are printed; the files have all.
  private static let mostSentences = 6

  /// Prints the block.
  ///
  /// - Returns: its files, to be written.
  static func conclude(
    rows: [ResultRow], in layout: RunDirectory.Layout
  ) throws(CommandFailure) -> [OutputFile] {
    let analysis: ScalingAnalysis
    do throws(RecordError) {
      let samples = try RunDirectory.readSamples(in: layout.directory)
      analysis = ScalingAnalysis(rows: rows, samples: samples.rows)
    } catch {
      // What was measured is safe, and `attnbench plot` makes these files.
      Terminal.say("note: no exponents: \(error)")
      return []
    }
    let files = analysis.files(in: layout.directory)
    guard analysis.fits.contains(where: { $0.sizes.count > 1 }) else { return files }
    try Terminal.print("")
    try table(analysis)
    try crossovers(analysis.crossovers)
    try predictions(analysis.predictions.filter { $0.measured == nil })
    return files
  }

  /// One line a curve: its exponent, how it ends, and how well its largest size was foreseen.
  private static func table(_ analysis: ScalingAnalysis) throws(CommandFailure) {
    typealias Line = (fit: CurveFit, check: SizePrediction?)
    let lines = analysis.fits.filter { $0.sizes.count > 1 }.map { fit in
      Line(fit, analysis.predictions.first { $0.label == fit.label && $0.measured != nil })
    }
    let table = TextTable<Line> {
      [
        Column(title: "curve", value: $0.fit.label.text),
        Column(title: "exponent", value: exponent($0.fit), align: .right),
        Column(title: "95%", value: range($0.fit.exponentInterval)),
        Column(
          title: "off line", value: CellText.percent($0.fit.law?.residualSpread), align: .right),
        Column(title: "last slope", value: lastSlope($0.fit), align: .right),
        Column(
          title: "held out", value: $0.check.map { SizeText.short($0.n) } ?? "", align: .right),
        Column(title: "predicted", value: $0.check.map(predicted) ?? ""),
        Column(title: "measured", value: CellText.seconds($0.check?.measured), align: .right),
        Column(title: "error", value: CellText.signedPercent($0.check?.error), align: .right),
      ]
    }
    try Terminal.print((table.string(for: lines) ?? "").trimmingCharacters(in: .newlines))
    try Terminal.print(
      "exponent: least squares of log time on log n, with the 95% interval of the noise within the "
        + "cells; off line: typical distance from it")
    try Terminal.print(
      "held out: the largest size, predicted from the smaller ones as their speed times its work")
  }

  /// The crossings that hold, and how many pairs have none.
  private static func crossovers(_ all: [Crossover]) throws(CommandFailure) {
    let held = all.filter { $0.outcome == .crossing }
    for crossover in held.prefix(mostSentences) { try Terminal.print(crossover.sentence) }
    let rest: [(Int, String, String)] = [
      (max(0, held.count - mostSentences), "more crossing", "more crossings"),
      (all.count { $0.outcome == .unclear }, "unclear crossing", "unclear crossings"),
      (
        all.count { $0.outcome == .none }, "pair in the same order at every size",
        "pairs in the same order at every size"
      ),
      (all.count { $0.outcome == .level }, "pair level throughout", "pairs level throughout"),
    ]
    let counts = rest.filter { $0.0 > 0 }.map { "\($0.0) \($0.0 == 1 ? $0.1 : $0.2)" }
    guard !counts.isEmpty else { return }
    try Terminal.print("in crossovers.csv: \(counts.joined(separator: ", "))")
  }

  /// What the skipped sizes would have taken.
  private static func predictions(_ skipped: [SizePrediction]) throws(CommandFailure) {
    for prediction in skipped.prefix(mostSentences) {
      try Terminal.print(
        "predicted, not measured: \(prediction.label.text) at \(SizeText.short(prediction.n)) takes "
          + "\(predicted(prediction)), from \(SizeText.short(prediction.from)) "
          + "(\(prediction.status.rawValue))")
    }
    if skipped.count > mostSentences {
      try Terminal.print(
        "in predictions.csv: \(skipped.count - mostSentences) more predicted sizes")
    }
  }

  private static func exponent(_ fit: CurveFit) -> String {
    fit.law.map { "n^\(CellText.hundredths($0.exponent))" } ?? ""
  }

  private static func lastSlope(_ fit: CurveFit) -> String {
    fit.slopes.last.map { CellText.hundredths($0.exponent) } ?? ""
  }

  private static func range(_ interval: ClosedRange<Double>?) -> String {
    interval.map {
      "\(CellText.hundredths($0.lowerBound)) to \(CellText.hundredths($0.upperBound))"
    } ?? ""
  }

  /// `21.0 s (19.8 s to 22.2 s)`.
  private static func predicted(_ prediction: SizePrediction) -> String {
    let interval = prediction.interval.map {
      " (\(CellText.seconds($0.lowerBound)) to \(CellText.seconds($0.upperBound)))"
    }
    return CellText.seconds(prediction.seconds) + (interval ?? "")
  }
}

extension CellText {
  /// A time, or nothing: `2.61 ms`.
  fileprivate static func seconds(_ value: Double?) -> String {
    value.map { TimeSpan.rounded(seconds: $0) } ?? ""
  }

  /// A share, or nothing: `3.1%`.
  fileprivate static func percent(_ share: Double?) -> String { share.map { percent($0) } ?? "" }

  /// A share with its sign, or nothing: `+3.1%`.
  fileprivate static func signedPercent(_ share: Double?) -> String {
    share.map { String(format: "%+.1f%%", 100 * $0) } ?? ""
  }

  /// Two decimals: `1.99`.
  fileprivate static func hundredths(_ value: Double) -> String { String(format: "%.2f", value) }
}
