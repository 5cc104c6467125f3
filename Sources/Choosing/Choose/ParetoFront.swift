import Foundation
import Measuring
import Records
import Statistics
import Units

/// The candidates than which none is both faster and nearer to full attention.
package enum ParetoFront {
  /// The front, fastest first. Errors below `Recommendation.roundingError` count as that much:
  /// differences between them mean nothing.
  package static func of<Candidate>(
    _ candidates: [Candidate], time: (Candidate) -> Double, error: (Candidate) -> Double
  ) -> [Candidate] {
    let levelled = candidates.map { candidate in
      (candidate, time(candidate), max(error(candidate), Recommendation.roundingError))
    }
    var best = Double.infinity
    return levelled.sorted { ($0.1, $0.2) < ($1.1, $1.2) }.compactMap { candidate, _, error in
      guard error < best else { return nil }
      best = error
      return candidate
    }
  }

  /// The error below which all are alike, for notes.
  package static var roundingText: String { String(format: "%.0e", Recommendation.roundingError) }
}
