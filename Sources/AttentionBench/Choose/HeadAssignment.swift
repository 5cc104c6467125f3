/// Which candidate each head gets.
package struct HeadAssignment {
  /// What is known of a candidate.
  package struct Option {
    package let strategy: String
    /// The time it costs on a head, on whatever scale all options share.
    package let cost: Double
    /// Its error on each head.
    package let errors: [Double]

    package init(strategy: String, cost: Double, errors: [Double]) {
      self.strategy = strategy
      self.cost = cost
      self.errors = errors
    }
  }

  /// For each head the place of its option.
  package let choice: [Int]

  /// Gives each head the cheapest option whose error on it is within the limit; of equally cheap
  /// ones the nearer to full attention. Where no option is within it, the one with the least error.
  ///
  /// - Parameter options: at least one.
  package init(heads: Int, options: [Option], limit: Double?) {
    choice = (0..<heads).map { head in
      let good = options.indices.filter { options[$0].errors[head] <= limit ?? .infinity }
      let cheapest = good.min {
        (options[$0].cost, options[$0].errors[head])
          < (options[$1].cost, options[$1].errors[head])
      }
      return cheapest ?? options.indices.min {
        (options[$0].errors[head], options[$0].cost)
          < (options[$1].errors[head], options[$1].cost)
      } ?? 0
    }
  }
}
