import Choosing
import Measuring
import Records
import Statistics
import Units

/// A CSV file of derived figures: the names of its columns, units included, and how an entry fills
/// them. A figure that could not be had is an empty cell.
struct ScalingTable<Entry> {
  private let columns: [(name: String, text: (Entry) -> String)]

  private init(_ columns: [(name: String, text: (Entry) -> String)]) { self.columns = columns }

  /// The file's text.
  func text(_ entries: [Entry]) -> String {
    let header = CSVLine.text(columns.map(\.name))
    return header + entries.map { entry in CSVLine.text(columns.map { $0.text(entry) }) }.joined()
  }

  /// The columns of a curve's setting, named as in `results.csv`.
  private static func setting(
    _ setting: @escaping (Entry) -> CurveSetting
  ) -> [(name: String, text: (Entry) -> String)] {
    [
      ("batch", { setting($0).shape.batch.csvText }),
      ("heads", { setting($0).shape.heads.csvText }),
      ("kv_heads", { setting($0).shape.kvHeads.csvText }),
      ("head_dim", { setting($0).shape.headDimension.csvText }),
      ("value_dim", { setting($0).shape.valueDimension.csvText }),
      ("dtype", { setting($0).shape.elementType.csvText }),
      ("causal", { setting($0).shape.isCausal.csvText }),
      ("threads", { setting($0).placement.threads.csvText }),
      ("bind", { setting($0).placement.bind.csvText }),
    ]
  }

  private static func curve(
    _ label: @escaping (Entry) -> CurveLabel
  ) -> [(name: String, text: (Entry) -> String)] {
    [("strategy", { label($0).strategy }), ("class", { label($0).classification })]
      + setting { label($0).setting }
  }
}

extension ScalingTable where Entry == CurveFit {
  /// `fits.csv`: a row a curve.
  static var fits: ScalingTable {
    ScalingTable(
      curve(\.label) + [
        ("sizes", { $0.sizes.count.csvText }),
        ("n_min", { $0.sizes.first.csvText }),
        ("n_max", { $0.sizes.last.csvText }),
        ("exponent", { $0.law?.exponent.csvText ?? "" }),
        ("exponent_ci95_lo", { $0.exponentInterval?.lowerBound.csvText ?? "" }),
        ("exponent_ci95_hi", { $0.exponentInterval?.upperBound.csvText ?? "" }),
        ("factor_s", { $0.law?.factor.csvText ?? "" }),
        ("residual_pct", { ($0.law?.residualSpread.map { 100 * $0 }).csvText }),
        ("r_squared", { $0.law?.rSquared.csvText ?? "" }),
      ])
  }
}

extension ScalingTable where Entry == (CurveFit, LocalSlope) {
  /// `slopes.csv`: a row from each size of a curve to the next.
  static var slopes: ScalingTable {
    ScalingTable(
      curve(\.0.label) + [
        ("n_from", { $0.1.from.csvText }),
        ("n_to", { $0.1.to.csvText }),
        ("exponent", { $0.1.exponent.csvText }),
        ("exponent_ci95_lo", { $0.1.interval?.lowerBound.csvText ?? "" }),
        ("exponent_ci95_hi", { $0.1.interval?.upperBound.csvText ?? "" }),
      ])
  }
}

extension ScalingTable where Entry == Crossover {
  /// `crossovers.csv`: a row a crossing, or a row a pair without one.
  static var crossovers: ScalingTable {
    ScalingTable(
      [
        ("faster", { $0.faster.strategy }),
        ("faster_class", { $0.faster.classification }),
        ("slower", { $0.slower.strategy }),
        ("slower_class", { $0.slower.classification }),
      ] + setting(\.faster.setting) + [
        ("outcome", { $0.outcome.rawValue }),
        ("n", { $0.n.csvText }),
        ("n_ci95_lo", { $0.interval?.lowerBound.csvText ?? "" }),
        ("n_ci95_hi", { $0.interval?.upperBound.csvText ?? "" }),
        ("resamples_pct", { ($0.share.map { 100 * $0 }).csvText }),
        ("sizes", { $0.sizes.count.csvText }),
        ("sizes_decided", { $0.decided.csvText }),
        ("n_min", { $0.sizes.first.csvText }),
        ("n_max", { $0.sizes.last.csvText }),
      ])
  }
}

extension ScalingTable where Entry == SizePrediction {
  /// `predictions.csv`: a row a held-out check and a row a skipped size.
  static var predictions: ScalingTable {
    ScalingTable(
      curve(\.label) + [
        ("n", { $0.n.csvText }),
        ("kind", { $0.measured == nil ? "predicted" : "held_out" }),
        ("status", { $0.status.rawValue }),
        ("n_from", { $0.from.csvText }),
        ("earlier_errors", { $0.errors.csvText }),
        ("predicted_s", { $0.seconds.csvText }),
        ("predicted_pi95_lo_s", { $0.interval?.lowerBound.csvText ?? "" }),
        ("predicted_pi95_hi_s", { $0.interval?.upperBound.csvText ?? "" }),
        ("measured_s", { $0.measured.csvText }),
        ("error_pct", { ($0.error.map { 100 * $0 }).csvText }),
      ])
  }
}
