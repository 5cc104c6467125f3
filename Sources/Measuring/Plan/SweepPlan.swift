import Attention
import Records
import Statistics
import Units

/// Which cells a sweep consists of: a value, made before anything is allocated or run.
public struct SweepPlan: Sendable {
  /// The sizes, rising.
  public let sizes: [Int]
  /// Thread counts and bindings.
  public let placements: [SweepPlacement]
  /// Seeds the inputs, the order of the rounds and the choice of checked rows.
  public let seed: UInt64
  /// Size by size; within a size by strategy, then by placement.
  public let cells: [SweepCell]

  /// Every strategy at every size on every placement. A strategy that is written twice, or whose
  /// parameters resolve to the same, is one cell, and one that cannot serve a size is a cell too:
  /// its failure is a result.
  ///
  /// - Parameter problem: the problem of a size.
  /// - Throws: what `problem` throws.
  public init<Failure: Error>(
    sizes: [Int], strategies: [any AttentionStrategy], placements: [SweepPlacement],
    seed: UInt64, problem: (Int) throws(Failure) -> AttentionProblem
  ) throws(Failure) {
    var cells: [SweepCell] = []
    var known: Set<String> = []
    for n in sizes {
      let problem = try problem(n)
      for (row, strategy) in strategies.enumerated() {
        for (column, placement) in placements.enumerated() {
          let cell = SweepCell(
            problem: problem, n: n, strategy: strategy, placement: placement,
            curve: row * placements.count + column)
          if known.insert(cell.id).inserted { cells.append(cell) }
        }
      }
    }
    self.init(cells: cells, placements: placements, seed: seed)
  }

  /// Cells as given, each with an id of its own. Those of one size share a problem.
  public init(cells: [SweepCell], placements: [SweepPlacement], seed: UInt64) {
    sizes = Set(cells.map(\.n)).sorted()
    self.placements = placements
    self.seed = seed
    self.cells = cells
  }

  /// What products are taken in: fp32, and what cells take beside it.
  public var arithmetics: [Arithmetic] {
    Arithmetic.allCases.filter { arithmetic in
      arithmetic == .float32 || cells.contains { $0.runner.arithmetic == arithmetic }
    }
  }

  /// Whether some cell's products are taken by the matrix library.
  var usesBLAS: Bool { cells.contains { $0.strategy.usesBLAS } }

  /// The cells of one size.
  public func cells(n: Int) -> [SweepCell] { cells.filter { $0.n == n } }
}
