import Choosing
import Foundation
import Measuring
import Records
import Statistics
import Units

extension ReportPage {
  /// How every curve grows, and how well its largest size was foreseen from the smaller ones.
  var growth: [Markup] {
    let fits = folder.scaling.fits.filter { $0.sizes.count > 1 }
    guard !fits.isEmpty else {
      return [paragraph("It takes two sizes of a curve to show how it grows.", "muted")]
    }
    let columns = [
      (title: "curve", isNumber: false), ("exponent", true), ("95%", true), ("last slope", true),
      ("held out", true), ("predicted", true), ("measured", true), ("off by", true),
    ]
    return [
      .table(columns, fits.map(row)),
      paragraph(
        "exponent: least squares of log time on log n, with the 95% interval of the noise within the "
          + "cells; last slope: between the two largest sizes; held out: the largest size, predicted "
          + "from the smaller ones as their speed times its work.", "small"),
    ] + unmeasured
  }

  private func row(_ fit: CurveFit) -> Markup {
    let check = folder.scaling.predictions.first { $0.label == fit.label && $0.measured != nil }
    let figures = [
      fit.law.map { Self.hundredths($0.exponent) },
      fit.exponentInterval.map {
        "\(Self.hundredths($0.lowerBound)) to \(Self.hundredths($0.upperBound))"
      },
      fit.slopes.last.map { Self.hundredths($0.exponent) }, check.map { SizeText.short($0.n) },
      check.map(Self.predicted), check?.measured.map { TimeSpan.rounded(seconds: $0) },
      check?.error.map { String(format: "%+.1f%%", 100 * $0) },
    ]
    return .element(
      "tr", [:],
      [.element("th", ["scope": "row", "class": "pinned"], fit.label.text)]
        + figures.map { .element("td", ["class": "num"], $0 ?? "") })
  }

  /// What sizes that were skipped would have taken: visibly no measurements.
  private var unmeasured: [Markup] {
    let skipped = folder.scaling.predictions.filter { $0.measured == nil }
    if skipped.isEmpty { return [] }
    let items = skipped.map { prediction in
      Markup.element(
        "li",
        "predicted, not measured: \(prediction.label.text) at \(SizeText.short(prediction.n)) takes "
          + "\(Self.predicted(prediction)), from \(SizeText.short(prediction.from))")
    }
    return [.element("ul", ["class": "notes"], items)]
  }

  /// `21.0 s (19.8 s to 22.2 s)`.
  private static func predicted(_ prediction: SizePrediction) -> String {
    let interval = prediction.interval.map {
      " (\(TimeSpan.rounded(seconds: $0.lowerBound)) to \(TimeSpan.rounded(seconds: $0.upperBound)))"
    }
    return TimeSpan.rounded(seconds: prediction.seconds) + (interval ?? "")
  }

  private static func hundredths(_ value: Double) -> String { String(format: "%.2f", value) }
}
