import Measuring
import Records
import Statistics
import Units

/// Which candidate each head gets.
package struct HeadAssignment {
  /// What is known of a candidate.
  package struct Option {
    package let strategy: String
    /// The time it costs on a head, on whatever scale all options share.
    package let cost: Double
    /// Where the cost is, as far as it was measured.
    package let spread: ClosedRange<Double>
    /// Whether it is exact.
    package let isExact: Bool
    /// Its error on each head.
    package let errors: [Double]

    /// Describes a candidate.
    ///
    /// - Parameter spread: nil for a cost that is known.
    package init(
      strategy: String, cost: Double, spread: ClosedRange<Double>? = nil, isExact: Bool = false,
      errors: [Double]
    ) {
      self.strategy = strategy
      self.cost = cost
      self.spread = spread ?? cost...cost
      self.isExact = isExact
      self.errors = errors
    }
  }

  /// For each head the place of its option.
  package let choice: [Int]

  /// Gives each head the cheapest option whose error on it is within the limit; of those that cannot
  /// be told from it in cost an exact one, or else the nearest to full attention. Where no option is
  /// within the limit, the one with the least error.
  ///
  /// - Parameter options: at least one.
  package init(heads: Int, options: [Option], limit: Double?) {
    choice = (0..<heads).map { head in
      let good = options.indices.filter { options[$0].errors[head] <= limit ?? .infinity }
      let cheapest = good.min { options[$0].cost < options[$1].cost }.map { options[$0].spread }
      let equal = good.filter { cheapest.map(options[$0].spread.overlaps) ?? false }
      return equal.min {
        (options[$0].isExact ? 0 : 1, options[$0].errors[head], options[$0].cost)
          < (options[$1].isExact ? 0 : 1, options[$1].errors[head], options[$1].cost)
      } ?? options.indices.min {
        (options[$0].errors[head], options[$0].cost)
          < (options[$1].errors[head], options[$1].cost)
      } ?? 0
    }
  }
}
