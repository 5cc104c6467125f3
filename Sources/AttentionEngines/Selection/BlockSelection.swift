import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// Which blocks of keys groups of query rows keep: each group its own, and of those before it (of all others,
/// where nothing is causal) the ones with the best scores.
///
/// A group is `rows` consecutive query rows; its own blocks are those that its positions lie in. Ties go to the
/// earlier block. A NaN counts as the best score, so that it reaches the output.
public struct BlockSelection: Sendable, Hashable {
  /// What a block is scored by.
  public enum Score: Sendable {
    /// The mean of the group's queries times the mean of the block's keys in use.
    case mean
    /// What the product of that mean with a key of the block is at most, by the largest and the least
    /// number that each channel of the keys in use has.
    case bound
  }

  /// Keys of a block.
  public let block: Int
  /// Blocks that a group keeps, its own included.
  public let top: Int
  /// Consecutive query rows that share a selection.
  public let rows: Int
  /// Whether own blocks are kept whatever their score.
  public let keepsOwn: Bool
  public let score: Score

  /// Blocks of several keys, the own ones kept.
  public init(block: Int, top: Int, rows: Int, score: Score = .mean) {
    (self.block, self.top, self.rows, self.score) = (block, top, rows, score)
    keepsOwn = true
  }

  /// The best `top` keys of every row, each by its own score.
  public init(keys top: Int) {
    (block, self.top, rows, keepsOwn, score) = (1, top, 1, false, .mean)
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
  package func blockCount(_ keyLength: Int) -> Int { (keyLength + block - 1) / block }

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
    // Positions before the keys have no block of their own; behind them it is the last one.
    func blockOf(_ position: Int) -> Int { max(min(position / block, blocks - 1), 0) }
    let start = blockOf(first)
    let own = start..<(last < 0 || blocks == 0 ? start : blockOf(last) + 1)
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
      total += headDim * group.rows.count + 2 * score.columns(headDim) * group.candidates
    }
    return total
  }
}

extension BlockSelection.Score {
  /// Numbers that say of a block what its score needs: of the bound the largest of every channel, then the
  /// least.
  func columns(_ headDim: Int) -> Int { self == .mean ? headDim : 2 * headDim }

  /// What the summary of a block is multiplied with. Of the bound the largest numbers meet what is positive
  /// of the query and the least what is negative.
  ///
  /// - Parameter sign: -1 where scores have a negative scale, which prefers what a positive one avoids.
  func map(
    _ query: UnsafePointer<Float>, headDim: Int, sign: Float, into out: UnsafeMutablePointer<Float>
  ) {
    for column in 0..<headDim {
      let x = sign * query[column]
      if self == .mean {
        out[column] = x
      } else {
        // A NaN is both.
        out[column] = x < 0 ? 0 : x
        out[headDim + column] = x > 0 ? 0 : x
      }
    }
  }
}

/// A strategy that keeps blocks of keys which it selects from the data: the engine serves it.
public protocol BlockSelectingStrategy: FamilyStrategy {
  /// What is selected for a problem.
  func selection(for problem: AttentionProblem) -> BlockSelection
  /// What is selected in decoding over a cache; by default the same.
  ///
  /// - Throws: `AttentionError` when it does not fit the cache.
  func selection(
    for problem: AttentionProblem, over cache: any KeyValueCache
  ) throws(AttentionError) -> BlockSelection
}

extension BlockSelectingStrategy {
  public var selectsKeys: Bool { true }

  public func selection(
    for problem: AttentionProblem, over cache: any KeyValueCache
  ) throws(AttentionError) -> BlockSelection { selection(for: problem) }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try problem.refuseForSelection(by: name)
    return SelectionLayout(
      problem, selection(for: problem), threads: threads, kernels: .active
    ).work
  }

  /// A decoder keeps the summaries of blocks, so that a step reads those and what it selects.
  public func stepWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try problem.refuseForSelection(by: name)
    return SelectionLayout(
      problem, selection(for: problem), threads: threads, kernels: .active, hasCompanion: true
    ).stepWork
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try problem.refuseForSelection(by: name)
    return try SelectedPlan(
      SelectionLayout(
        problem, selection(for: problem), threads: team.threadCount, kernels: .active), team: team)
  }

  /// Summaries of blocks.
  public var keepsBesideCache: Bool { true }

  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    let cache = try cache.cache(for: problem)
    let selection = try selection(for: problem, over: cache)
    return try CachedDecoder(
      self, for: problem, cache: cache,
      companion: BlockSummaries(selection, problem, cache, kernels: .active)
    ) { [name] step throws(AttentionError) in
      try step.refuseForSelection(by: name)
      return try SelectedPlan(
        SelectionLayout(
          step, selection, threads: team.threadCount, kernels: .active, hasCompanion: true),
        team: team)
    }
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    SelectedOracle(problem, BlockDefinition(problem, selection(for: problem)))
  }
}
