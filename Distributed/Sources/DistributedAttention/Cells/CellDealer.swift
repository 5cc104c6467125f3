import Attention
import AttentionBench

/// Deals the cells of a sweep to ranks, each to one: the longest first, so that no rank begins a long one when
/// the others are nearly done.
///
/// Cells that may pass the time of a cell come last and the smallest of them first: by then smaller cells of
/// their curves are known, which tell whether they are worth beginning.
package struct CellDealer {
  private let plan: SweepPlan
  /// Places in the plan, the next one first.
  private var waiting: [Int]
  /// Who measures what.
  private var busy: [Int: Int] = [:]
  /// The last row of each cell.
  private var rows: [String: ResultRow] = [:]
  private let earlierSamples: [String: Int]

  /// - Parameters:
  ///   - forecast: what is known of the machine's rates.
  ///   - earlierRows: what earlier sittings kept; cells that they settled are not dealt.
  ///   - earlierSamples: how many samples they kept of each cell.
  package init(
    _ plan: SweepPlan, limits: SweepLimits, forecast: SweepForecast, earlierRows: [ResultRow],
    earlierSamples: [String: Int]
  ) {
    self.plan = plan
    self.earlierSamples = earlierSamples
    for row in earlierRows { rows[row.cellID] = row }
    let rows = rows
    let predicted = plan.cells.indices.filter { rows[plan.cells[$0].id]?.isSettled != true }
      .map { (index: $0, seconds: forecast.estimate(of: plan.cells[$0])?.seconds ?? 0) }
      .sorted { ($0.seconds, $0.index) < ($1.seconds, $1.index) }
    let certain = predicted.filter { $0.seconds <= limits.cellTimeout }
    let uncertain = predicted.filter { $0.seconds > limits.cellTimeout }
    waiting = (certain.reversed() + uncertain).map(\.index)
  }

  /// Cells that have ended, of all.
  package var finished: (count: Int, of: Int) {
    (plan.cells.count - waiting.count - busy.count, plan.cells.count)
  }

  /// Whether all cells have ended.
  package var isDone: Bool { waiting.isEmpty && busy.isEmpty }

  /// The next cell, for a rank that has none; nil where none waits.
  package mutating func deal(to rank: Int) -> CellDeal? {
    guard !waiting.isEmpty else { return nil }
    let index = waiting.removeFirst()
    busy[rank] = index
    let cell = plan.cells[index]
    let known = plan.cells.filter { $0.curve == cell.curve && $0.n < cell.n }
      .compactMap { rows[$0.id] }.filter(\.status.isMeasured)
    return CellDeal(
      cell: index, known: known.map(\.fields), samples: earlierSamples[cell.id, default: 0])
  }

  /// Notes that a rank has ended its cell.
  package mutating func end(_ rank: Int, rows ended: [ResultRow]) {
    busy[rank] = nil
    for row in ended { rows[row.cellID] = row }
  }
}

extension ResultRow {
  /// Whether a sweep that goes on leaves its cell alone. What was skipped for its time, failed or was wrong is
  /// tried again.
  fileprivate var isSettled: Bool { status.isMeasured || status == .skippedMemory }
}
