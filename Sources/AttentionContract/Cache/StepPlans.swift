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

  private let make: (AttentionProblem) throws(AttentionError) -> any AttentionPlan
  private let problem: AttentionProblem
  private let batch: Int
  private let capacity: Int
  private let isPaged: Bool
  private var prepared: [Int: Kept] = [:]
  private var latest: (rows: Int, kept: Kept)?

  /// - Parameters:
  ///   - batch: entries that one plan serves.
  ///   - capacity: rows that the keys' views say they have.
  ///   - isPaged: whether they lie in pages.
  ///   - make: a plan for the problem of a step.
  init(
    _ problem: AttentionProblem, batch: Int, capacity: Int, isPaged: Bool,
    make: @escaping (AttentionProblem) throws(AttentionError) -> any AttentionPlan
  ) {
    self.make = make
    self.problem = problem
    self.batch = batch
    self.capacity = capacity
    self.isPaged = isPaged
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
    prepared[rows] = try kept(rows: rows)
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
      kept = try self.kept(rows: rows)
      latest = (rows, kept)
    }
    if case .reusable(let plan) = kept { return plan }
    return try plan(rows: rows, fixed: keyLengths)
  }

  private func kept(rows: Int) throws(AttentionError) -> Kept {
    let plan = try plan(rows: rows, fixed: nil)
    return plan.takesKeyLengths ? .reusable(plan) : .once
  }

  private func plan(
    rows: Int, fixed keyLengths: [Int]?
  ) throws(AttentionError) -> any AttentionPlan {
    let step = try problem.step(
      batch: batch, rows: rows, capacity: capacity, keyLengths: keyLengths)
    let plan = try make(step)
    return isPaged && !plan.takesPagedRows ? try GatheringPlan(plan) : plan
  }
}
