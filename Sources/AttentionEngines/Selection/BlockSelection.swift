import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Which blocks of keys groups of query rows keep: each group its own, and of those before it (of all others,
/// where nothing is causal) the ones with the best scores.
///
/// A group is `rows` consecutive query rows; its own blocks are those that its positions lie in. A block's
/// score is the mean of the group's queries times the mean of the block's keys in use. Ties go to the
/// earlier block. A NaN counts as the best score, so that it reaches the output.
public struct BlockSelection: Sendable, Hashable {
  /// Keys of a block.
  public let block: Int
  /// Blocks that a group keeps, its own included.
  public let top: Int
  /// Consecutive query rows that share a selection.
  public let rows: Int
  /// Whether own blocks are kept whatever their score.
  public let keepsOwn: Bool

  /// Blocks of several keys, the own ones kept.
  public init(block: Int, top: Int, rows: Int) {
    (self.block, self.top, self.rows) = (block, top, rows)
    keepsOwn = true
  }

  /// The best `top` keys of every row, each by its own score.
  public init(keys top: Int) {
    (block, self.top, rows, keepsOwn) = (1, top, 1, false)
  }

  /// What one group of rows chooses from.
  struct Group {
    /// Query rows.
    let rows: Range<Int>
    /// Blocks that are kept in any case.
    let own: Range<Int>
    /// Blocks that compete: those before its own, and those behind where nothing is causal.
    let before: Range<Int>
    let after: Range<Int>

    var candidates: Int { before.count + after.count }
  }

  /// How many groups a sequence of that many rows has.
  func groupCount(_ queryLength: Int) -> Int { (queryLength + rows - 1) / rows }

  /// Blocks of that many keys; the last may be short.
  func blockCount(_ keyLength: Int) -> Int { (keyLength + block - 1) / block }

  func group(_ index: Int, under geometry: MaskGeometry) -> Group {
    let rows = index * rows..<min((index + 1) * rows, geometry.queryLength)
    let blocks = blockCount(geometry.keyLength)
    let first = rows.lowerBound + geometry.offset
    let last = rows.upperBound - 1 + geometry.offset
    if !keepsOwn {
      // Of one key each: all that a row sees compete.
      let visible = geometry.visible(from: first)
      return Group(
        rows: rows, own: visible.upperBound..<visible.upperBound, before: visible,
        after: blocks..<blocks)
    }
    // Positions outside of the keys have no block of their own.
    func blockOf(_ position: Int) -> Int { position < 0 ? 0 : min(position / block, blocks) }
    let start = blockOf(first)
    let own = start..<max(start, last < 0 ? 0 : min(blockOf(last) + 1, blocks))
    return Group(
      rows: rows, own: own, before: 0..<own.lowerBound,
      after: geometry.causal ? blocks..<blocks : own.upperBound..<blocks)
  }

  /// How many of the candidates a group keeps.
  func kept(of group: Group) -> Int { min(max(top - group.own.count, 0), group.candidates) }

  /// Keys of a block that are in use.
  func keys(of index: Int, keyLength: Int) -> Range<Int> {
    index * block..<min((index + 1) * block, keyLength)
  }

  /// Pairs that a head scores. Which blocks are kept makes no difference but for a short last one, which
  /// is counted as if it were whole.
  func pairs(under geometry: MaskGeometry) -> Int {
    var total = 0
    for index in 0..<groupCount(geometry.queryLength) {
      let group = group(index, under: geometry)
      let others = min(kept(of: group) * block, geometry.keyLength)
      for row in group.rows {
        let visible = geometry.visible(from: row + geometry.offset)
        if visible.isEmpty { continue }
        let own = (group.own.lowerBound * block..<group.own.upperBound * block).clamped(to: visible)
        total += min(others + own.count, visible.count)
      }
    }
    return total
  }

  /// Operations of the selection of a head: sums of queries, and a product with each candidate.
  func flops(under geometry: MaskGeometry, headDim: Int) -> Int {
    var total = 0
    for index in 0..<groupCount(geometry.queryLength) {
      let group = group(index, under: geometry)
      total += headDim * (group.rows.count + 2 * group.candidates)
    }
    return total
  }
}

/// A strategy that keeps blocks of keys which it selects from the data: the engine serves it.
public protocol BlockSelectingStrategy: FamilyStrategy {
  /// What is selected for a problem.
  func selection(for problem: AttentionProblem) -> BlockSelection
}

extension BlockSelectingStrategy {
  public var selectsKeys: Bool { true }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try check(problem)
    return SelectionLayout(
      problem, selection(for: problem), threads: threads, kernels: .active
    ).work
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try check(problem)
    return try SelectedPlan(problem, selection(for: problem), team: team, kernels: .active)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    SelectedOracle(problem, selection(for: problem))
  }

  private func check(_ problem: AttentionProblem) throws(AttentionError) {
    try problem.refuse(
      [.window, .mask, .bias, .alibi, .prefix],
      advice: "is not served by \(name), whose selection knows causality and lengths alone; leave "
        + "it out, or use a strategy with a stated pattern such as window")
  }
}
