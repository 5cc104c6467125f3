import AttentionContract
import AttentionEngines
import AttentionKernels
import MachineTopology
import Tensors

/// Attention with a strategy for each query head.
///
/// Heads of a model differ: one looks at its neighbours only, the next at everything. Heads with
/// the same strategy are planned together, and all run on the caller's tensors without a copy. The
/// result of a head is, bit for bit, what its strategy gives when it is run on those heads alone
/// (evenly spaced ones, where they share a key/value head); a mix of one strategy is that strategy.
///
/// Not a family of the registry: a mix is made of strategies, or read from the plan file that
/// `attnbench recommend --per-head --save` writes. Work: the sum of the parts'.
public struct MixedAttention: AttentionStrategy {
  public var name: String { "mix" }

  /// The strategy of each query head.
  public let strategies: [any AttentionStrategy]

  /// A mix of one strategy a query head, in the order of the heads.
  ///
  /// - Throws: `AttentionError` when there are none, or one that depends on the numbers of heads, or on what
  ///   other heads of a group see.
  public init(_ strategies: [any AttentionStrategy]) throws(AttentionError) {
    guard !strategies.isEmpty else {
      throw AttentionError(
        .invalidArgument, argument: "mix", value: "no strategies",
        advice: "give one strategy for each query head")
    }
    if strategies.count > 1, let numbered = strategies.first(where: { $0.dependsOnHeadNumbers }) {
      throw AttentionError(
        .invalidArgument, argument: "mix", value: numbered.name,
        advice: "what it computes depends on the head's number, which a mix does not keep; give "
          + "all heads to it, or its rates to gated")
    }
    if strategies.count > 1, let shared = strategies.first(where: { $0.queryReach == .group }) {
      throw AttentionError(
        .invalidArgument, argument: "mix", value: shared.name,
        advice:
          "the heads of a group select together, which a mix takes apart; give all heads to it")
    }
    self.strategies = strategies
  }

  /// The furthest from exact that any part is.
  public var operatorClass: OperatorClass {
    let classes = strategies.map { $0.operatorClass }
    if classes.contains(.different) { return .different }
    return classes.contains(.restricted) ? .restricted : .exact
  }

  /// The coarsest of the parts'.
  public var arithmetic: Arithmetic {
    strategies.map { $0.arithmetic }.max { $0.unitRoundoff < $1.unitRoundoff } ?? .float32
  }

  /// What any of the parts takes, once.
  public var operands: [OperandDeclaration] {
    var declared: [OperandDeclaration] = []
    for operand in strategies.flatMap({ $0.operands })
    where !declared.contains(where: { $0.name == operand.name }) {
      declared.append(operand)
    }
    return declared
  }
  public var usesBLAS: Bool { strategies.contains { $0.usesBLAS } }

  public var servesCausalMasks: Bool { strategies.allSatisfy { $0.servesCausalMasks } }
  public var laterRowsDecide: Bool { strategies.contains { $0.laterRowsDecide } }
  public var selectsKeys: Bool { strategies.contains { $0.selectsKeys } }
  public var keepsState: Bool { strategies.allSatisfy { $0.keepsState } }
  public var keepsBesideCache: Bool { strategies.contains { $0.keepsBesideCache } }

  public func excess(for problem: AttentionProblem) -> AttentionError? {
    strategies.lazy.compactMap { $0.excess(for: problem) }.first
  }

  /// The widest of the parts'.
  public var queryReach: QueryReach {
    [.group, .head].first { reach in strategies.contains { $0.queryReach == reach } } ?? .row
  }

  /// How many heads run what: `flash x3, window(512) x9`, in the order of the first heads.
  public func resolvedParameters(for problem: AttentionProblem) -> String {
    groups(for: problem).map { "\($0.strategy.spec(for: problem)) x\($0.heads.count)" }
      .joined(separator: ", ")
  }

  public func work(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    var total = WorkEstimate(
      pairs: 0, flops: 0, minimumBytes: 0, workspaceBytes: 0)
    for part in try parts(of: problem) {
      let work = try part.strategy.work(for: part.slice.problem(of: problem), threads: threads)
      total.pairs += work.pairs
      total.flops += work.flops
      total.workspaceBytes += work.workspaceBytes
      total.minimumBytes += work.minimumBytes
    }
    // Query heads of one key/value head may be dealt to several parts, which share its bytes.
    total.minimumBytes = min(total.minimumBytes, problem.minimumBytes)
    return total
  }

  public func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan {
    var planned: [(part: MixedPlan.Part, flops: Int)] = []
    for part in try parts(of: problem) {
      let own = try part.slice.problem(of: problem)
      let flops = try part.strategy.work(for: own, threads: team.threadCount).flops
      let plan = try part.strategy.plan(for: own, on: team)
      planned.append((MixedPlan.Part(slice: part.slice, plan: plan), flops))
    }
    // What is dealt last should be small, so that workers finish together.
    planned.sort { $0.flops > $1.flops }
    return MixedPlan(problem, parts: planned.map(\.part), operands: operands, team: team)
  }

  /// Each head's own definition.
  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    MixedOracle(strategies.map { $0.oracle(for: problem) })
  }

  public func roundingOracle(
    for problem: AttentionProblem, draw: UInt64
  ) -> (any AttentionOracle)? {
    guard strategies.contains(where: { $0.arithmetic.hasRowScales }) else { return nil }
    return MixedOracle(
      strategies.map {
        $0.roundingOracle(for: problem, draw: draw) ?? $0.arithmeticOracle(for: problem)
      })
  }

  /// Each head's own definition on operands as its arithmetic rounds them.
  public func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    MixedOracle(strategies.map { $0.arithmeticOracle(for: problem) })
  }

  /// Full attention on each head's operands.
  public func fullOracle(for problem: AttentionProblem) -> any AttentionOracle {
    MixedOracle(strategies.map { $0.fullOracle(for: problem) })
  }

  /// Heads with the same strategy, in the order of their first heads.
  private func groups(
    for problem: AttentionProblem
  ) -> [(strategy: any AttentionStrategy, heads: [Int])] {
    var places: [String: Int] = [:]
    var groups: [(strategy: any AttentionStrategy, heads: [Int])] = []
    for (head, strategy) in strategies.enumerated() {
      let spec = strategy.spec(for: problem)
      if let place = places[spec] {
        groups[place].heads.append(head)
      } else {
        places[spec] = groups.count
        groups.append((strategy, [head]))
      }
    }
    return groups
  }

  /// The problems that are planned one by one.
  private func parts(
    of problem: AttentionProblem
  ) throws(AttentionError) -> [(strategy: any AttentionStrategy, slice: HeadSlice)] {
    let shape = problem.shape
    guard strategies.count == shape.heads else {
      throw AttentionError(
        .shapeMismatch, argument: "mix", value: "\(strategies.count) strategies",
        advice: "one for each query head is needed, and there are \(shape.heads)")
    }
    return groups(for: problem).flatMap { group in
      HeadSlice.covering(group.heads, groupSize: shape.groupSize)
        .map { (group.strategy, $0) }
    }
  }
}

/// The definition of each head's strategy.
private struct MixedOracle: AttentionOracle {
  private let oracles: [any AttentionOracle]

  init(_ oracles: [any AttentionOracle]) { self.oracles = oracles }

  func row(
    _ inputs: InputViews, batch: Int, head: Int, row: Int
  ) -> OracleRow {
    oracles[head].row(inputs, batch: batch, head: head, row: row)
  }

  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    oracles[head].prepared(inputs, batch: batch, head: head)
  }

  func keptKeys(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> [Int]? {
    oracles[head].keptKeys(inputs, batch: batch, head: head, row: row)
  }
}
