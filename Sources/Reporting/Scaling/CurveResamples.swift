import Choosing
import Measuring
import RealModule
import Records
import Statistics
import Units

/// What the medians of a curve might have been: bootstrap replicates.
///
/// A replicate draws as many samples of every cell as it has, with replacement, and takes their
/// median (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13). The
/// sizes were chosen, not drawn, so they stay. What the replicates show is how far the noise within
/// the cells carries; a curve that is no power law, or a machine that was slower for a whole cell,
/// is beyond them.
struct CurveResamples: Sendable {
  /// The number of replicates.
  static let count = 2000
  /// Cells with fewer samples take the noise of the whole curve: their own few cannot show it, as
  /// they cannot give a 95% interval of the median either (`MedianInterval`).
  static let fewest = 6

  /// Cell by cell the logarithms of the replicates' medians.
  let logMedians: [[Double]]

  /// Resamples a curve; nil when no cell of it shows any noise to draw from.
  ///
  /// Every cell has its own random stream, so that a curve more or a size more changes no interval
  /// of the others.
  init?(_ curve: ScalingCurve, seed: UInt64) {
    let pooled = curve.cells.map(\.ratios).filter { $0.count > 1 }.flatMap { $0 }.sorted()
    guard !pooled.isEmpty else { return nil }
    let (label, placement) = (curve.label, curve.label.setting.placement)
    let path = "\(label.strategy) \(placement.threads) \(placement.bind)".utf8.map { Int($0) }
    logMedians = curve.cells.map { cell in
      let ratios = cell.ratios.count >= Self.fewest ? cell.ratios : pooled
      var generator = SeededGenerator(seed: seed, path: path + [cell.n])
      return Self.medians(ratios, count: cell.sampleCount, using: &generator)
        .map { Double.log(cell.seconds * $0) }
    }
  }

  /// Medians of `count` values drawn from `sorted`, again and again.
  private static func medians(
    _ sorted: [Double], count: Int, using generator: inout SeededGenerator
  ) -> [Double] {
    // Ranks instead of values: whole numbers sort faster.
    var ranks = [Int](repeating: 0, count: count)
    return (0..<Self.count).map { _ in
      for index in ranks.indices {
        ranks[index] = Int.random(in: sorted.indices, using: &generator)
      }
      ranks.sort()
      return (sorted[ranks[(count - 1) / 2]] + sorted[ranks[count / 2]]) / 2
    }
  }
}
