import Choosing
import Measuring
import Records
import Statistics
import Units

/// What the rows of one size say about which strategy to run there.
struct SizeChoice {
  /// A strategy and what it takes.
  struct Pick: Equatable {
    /// With its parameters.
    let strategy: String
    let seconds: Double
    /// Its relative L2 distance from full attention; nil where it was not taken.
    let error: Double?
    /// Whether another strategy that would do as well cannot be told from it in time.
    let isLevel: Bool
    /// How its measurement ended.
    let status: Status
  }

  let n: Int
  /// The fastest of the exact class; nil where none was measured.
  let exact: Pick?
  /// The fastest within each limit of the relative error, in the order of the limits.
  let within: [Pick?]

  /// Chooses among rows of one size and setting.
  init(n: Int, _ rows: [ResultRow], limits: [Double]) {
    self.n = n
    let measured = rows.filter { $0.status.isMeasured && $0.time.median != nil }
    exact = Self.fastest(measured.filter { $0.strategy.classification == "exact" })
    within = limits.map { limit in
      Self.fastest(measured.filter { ($0.accuracy.relativeL2 ?? .infinity) <= limit })
    }
  }

  private static func fastest(_ rows: [ResultRow]) -> Pick? {
    let sorted = rows.sorted { ($0.time.median ?? .infinity) < ($1.time.median ?? .infinity) }
    guard let first = sorted.first, let seconds = first.time.median else { return nil }
    let top = first.time.intervalUpper ?? seconds
    let isLevel = sorted.dropFirst().contains { ($0.time.intervalLower ?? .infinity) <= top }
    return Pick(
      strategy: first.strategy.text, seconds: seconds, error: first.accuracy.relativeL2,
      isLevel: isLevel, status: first.status)
  }
}
