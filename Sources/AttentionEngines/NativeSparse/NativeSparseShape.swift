import AttentionContract
import AttentionKernels
import MachineTopology
import Tensors

/// What a row of native sparse attention sees in each of its three branches.
///
/// Blocks of keys follow each other. A block is compressed to its mean, and a row sees the blocks that ended
/// before it; of all blocks it keeps the first ones, those around its own, and of the others the best; and it
/// sees a window.
public struct NativeSparseShape: Sendable, Hashable {
  /// Keys of a block.
  public let block: Int
  /// Blocks that are kept, the first and the local ones included.
  public let top: Int
  /// The first blocks, which are always kept.
  public let first: Int
  /// The own block and those before it that are always kept, at least 1.
  public let local: Int
  /// Keys of the window, as in `window(w)`.
  public let window: Int

  public init(block: Int, top: Int, first: Int, local: Int, window: Int) {
    self.block = block
    self.top = top
    self.first = first
    self.local = local
    self.window = window
  }

  /// What one row sees.
  struct Row {
    /// Keys that the problem leaves visible.
    let visible: Range<Int>
    /// Blocks that it sees compressed.
    let ended: Range<Int>
    /// Blocks that are kept whatever their score.
    let leading: Range<Int>
    let local: Range<Int>
    /// Blocks that compete, and how many of them are kept.
    let before: Range<Int>
    let after: Range<Int>
    let limit: Int
    /// Keys of the window.
    let window: Range<Int>
  }

  /// Blocks of that many keys; the last may be short.
  package func blockCount(_ keyLength: Int) -> Int { (keyLength + block - 1) / block }

  /// Keys of a block that are in use.
  func keys(of index: Int, keyLength: Int) -> Range<Int> {
    index * block..<min((index + 1) * block, keyLength)
  }

  func row(at position: Int, under geometry: MaskGeometry) -> Row {
    let visible = geometry.visible(from: position)
    let blocks = blockCount(geometry.keyLength)
    let reached = blockCount(visible.count)
    // Not the block in which the keys end as yet: a key more would change what it was.
    let ended = geometry.causal ? min(max(position + 1, 0) / block, blocks) : blocks
    let own = position < 0 ? -1 : position / block
    let leading = 0..<min(first, geometry.causal ? reached : blocks)
    let firstLocal = max(min(max(own - local + 1, 0), reached), leading.upperBound)
    let endOfLocal = max(min(own + 1, reached), firstLocal)
    let before = leading.upperBound..<firstLocal
    let after = endOfLocal..<(geometry.causal ? endOfLocal : blocks)
    let room = top - leading.count - (endOfLocal - firstLocal)
    let (left, right) = geometry.causal ? (window - 1, 0) : (window / 2, window / 2)
    return Row(
      visible: visible, ended: 0..<ended, leading: leading, local: firstLocal..<endOfLocal,
      before: before, after: after, limit: min(max(room, 0), before.count + after.count),
      window: (position - left..<position + right + 1).clamped(to: visible))
  }

  /// Pairs that a head scores: with means, with the keys of kept blocks, a short last one counted as if it were
  /// whole, and with the window.
  func pairs(under geometry: MaskGeometry) -> Int {
    var total = 0
    for index in 0..<geometry.queryLength {
      let row = row(at: index + geometry.offset, under: geometry)
      if row.visible.isEmpty { continue }
      let certain = [row.leading, row.local].reduce(0) { sum, blocks in
        sum
          + (blocks.lowerBound * block..<blocks.upperBound * block).clamped(to: row.visible).count
      }
      let selected = min(certain + row.limit * block, row.visible.count)
      total += row.ended.count + selected + row.window.count
    }
    return total
  }

  /// Operations of the selection of a head: a product with each block that competes.
  func selectionFlops(under geometry: MaskGeometry, headDim: Int) -> Int {
    var total = 0
    for index in 0..<geometry.queryLength {
      let row = row(at: index + geometry.offset, under: geometry)
      if row.limit > 0 { total += 2 * headDim * (row.before.count + row.after.count) }
    }
    return total
  }
}

/// A strategy of compressed, selected and windowed keys with gates: the engine serves it.
public protocol NativeSparseStrategy: FamilyStrategy {
  /// Its blocks and its window.
  var sparseShape: NativeSparseShape { get }
}

extension NativeSparseStrategy {
  /// Heads of a group select together.
  public var queryReach: QueryReach { .group }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try check(problem)
    return NativeSparseLayout(problem, sparseShape, threads: threads, kernels: .active).work
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    try check(problem)
    return try NativeSparsePlan(
      NativeSparseLayout(problem, sparseShape, threads: team.threadCount, kernels: .active),
      declaring: operands, team: team)
  }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    NativeSparseOracle(problem, sparseShape)
  }

  private func check(_ problem: AttentionProblem) throws(AttentionError) {
    try problem.refuse(
      [.window, .mask, .bias, .alibi, .prefix, .softcap, .sinkLogits],
      advice:
        "is not served by \(name), whose three branches know causality and lengths alone; leave it "
        + "out, or use a softmax strategy such as window")
  }
}

extension OperandDeclaration {
  /// What is taken of the compressed, the selected and the windowed branch, a number a query row each.
  public static let branchGate = OperandDeclaration(
    NativeSparseLayout.gateName, axes: [.batch, .heads, .queryLength, .size(3)],
    meaning: "what is taken of the compressed, the selected and the window's output", domain: 0...1
  ) { uniform in Float(uniform) }
}
