import AttentionKernels
import MachineTopology
import Tensors

/// Plans for steps of various numbers of rows.
///
/// A plan that takes key lengths at each run is made once for a number of rows; those asked for by
/// `prepare` stay, and one other. Where a strategy's plans fix the lengths, each step makes one.
final class StepPlans {
  private enum Kept {
    case reusable(any AttentionPlan)
    /// Plans of this strategy for as many rows serve one step only.
    case once
  }

  private let strategy: any AttentionStrategy
  private let problem: AttentionProblem
  private let batch: Int
  private let capacity: Int
  private let isPaged: Bool
  private let team: WorkerTeam
  private var prepared: [Int: Kept] = [:]
  private var latest: (rows: Int, kept: Kept)?

  /// - Parameters:
  ///   - batch: entries that one plan serves.
  ///   - capacity: rows that the keys' views say they have.
  ///   - isPaged: whether they lie in pages.
  init(
    _ strategy: any AttentionStrategy, _ problem: AttentionProblem, batch: Int, capacity: Int,
    isPaged: Bool, team: WorkerTeam
  ) {
    self.strategy = strategy
    self.problem = problem
    self.batch = batch
    self.capacity = capacity
    self.isPaged = isPaged
    self.team = team
  }

  /// Bytes of the plans kept.
  var workspaceBytes: Int {
    var bytes = 0
    for kept in prepared.values + (latest.map { [$0.kept] } ?? []) {
      if case .reusable(let plan) = kept { bytes += plan.workspaceBytes }
    }
    return bytes
  }

  func prepare(rows: Int) throws(AttentionError) {
    if prepared[rows] != nil { return }
    prepared[rows] = try make(rows: rows)
    if latest?.rows == rows { latest = nil }
  }

  /// A plan for `rows` query rows and as many key rows in use.
  func plan(rows: Int, keyLengths: [Int]) throws(AttentionError) -> any AttentionPlan {
    let kept: Kept
    if let found = prepared[rows] {
      kept = found
    } else if let latest, latest.rows == rows {
      kept = latest.kept
    } else {
      latest = nil
      kept = try make(rows: rows)
      latest = (rows, kept)
    }
    if case .reusable(let plan) = kept { return plan }
    return try make(rows: rows, keyLengths: keyLengths)
  }

  private func make(rows: Int) throws(AttentionError) -> Kept {
    let plan = try make(rows: rows, keyLengths: nil)
    return plan.takesKeyLengths ? .reusable(plan) : .once
  }

  private func make(rows: Int, keyLengths: [Int]?) throws(AttentionError) -> any AttentionPlan {
    let step = try problem.step(
      batch: batch, rows: rows, capacity: capacity, keyLengths: keyLengths)
    let plan = try strategy.plan(for: step, on: team)
    return isPaged && !plan.takesPagedRows ? try GatheringPlan(plan) : plan
  }
}
