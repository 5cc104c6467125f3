import Attention
import PeerProtocol

/// Work that is compared: one problem, in the ways attnbench computes it.
///
/// Batch 1, 8 heads unless it says otherwise, operands independent unit normals, in fp32 unless the
/// name says bf16. `decode` is a step of decoding: one query reads n keys. `recurrent` keeps a state
/// instead of keys: it begins with one, and the state after the last token is part of the work; a
/// `step` of it takes in one token. `selected` and `index` choose keys from the data, which is part of
/// the work; `sparse` has blocks of keys that are known beforehand.
public struct Workload: Sendable {
  /// Which of the keys that causality leaves a query attends to, as `PeerCase.Selection` has it.
  public enum Kept: Hashable, Sendable {
    /// Blocks of so many keys, chosen for so many consecutive queries.
    case blocks(of: Int, top: Int, rows: Int)
    /// What the strategy's pattern says, which is whole blocks of so many keys under causality.
    case given(blocksOf: Int)
    /// The best keys of an index.
    case index(top: Int)
  }

  /// What it is called: `full-n4096-d64`.
  public let name: String
  /// What it shares with the same work at other sizes: `full-d64`.
  public let kind: String
  /// The size that varies within a kind: the number of keys.
  public let n: Int
  /// What is to be computed.
  public let problem: AttentionProblem
  /// attnbench's strategies for it, as they are written. The first is the definition that every
  /// output is held against.
  public let strategies: [String]
  /// The keys that a query sees, its own included; nil for all.
  public let window: Int?
  /// Linear attention instead of softmax.
  public let isLinear: Bool
  /// The recurrence that is computed instead of softmax, as `PeerCase.rule`; nil for none.
  public let rule: String?
  /// Scores of a hidden layer instead of products.
  public let isAdditive: Bool
  /// The keys that a query attends to; nil for all, or those of `window`.
  public let kept: Kept?

  /// Bytes of operands and output in fp32, as files hold them.
  ///
  /// - Parameter definition: what the work is defined by.
  public func handedOverBytes(_ definition: any AttentionStrategy) -> Int {
    let shape = problem.shape
    let named = definition.operands.filter { !$0.isOptional }.compactMap {
      try? $0.shape(in: shape).count
    }
    return 4
      * (shape.query.count + shape.key.count + shape.value.count + shape.output.count
        + named.reduce(0, +))
  }

  /// A strategy with the operands of this work. A recurrence begins with a state, and forgets by and by:
  /// the chunk forms of some libraries are not exact where it forgets at once, and would have no time.
  /// The scores of an index are seldom 0 in all of its heads, since libraries take any of equal ones.
  public func definition(_ strategy: any AttentionStrategy) -> any AttentionStrategy {
    if rule != nil {
      return StrategyOnOperands(
        strategy, given: ["state"], drawn: ["decay": { Float(-0.2 * $0) }])
    }
    guard case .index = kept else { return strategy }
    return StrategyOnOperands(
      strategy, given: [],
      drawn: ["index_q": { Float(1.75 * $0 - 0.75) }, "index_k": { Float($0) }])
  }

  /// Whether reading keys and values is what takes the time.
  public var isDecoding: Bool { problem.shape.queryLength < problem.shape.keyLength }

  /// One piece of work.
  ///
  /// - Parameters:
  ///   - queries: query rows, where they are not n.
  ///   - window: causal, with so many keys.
  /// - Throws: `AttentionError` when the sizes are no problem.
  public init(
    _ prefix: String, n: Int, d: Int, heads: Int = 8, kvHeads: Int? = nil, queries: Int? = nil,
    causal: Bool = false, window: Int? = nil, linear: Bool = false, bf16: Bool = false
  ) throws(AttentionError) {
    name = "\(prefix)-n\(n)-d\(d)"
    kind = "\(prefix)-d\(d)"
    self.n = n
    self.window = window
    isLinear = linear
    rule = nil
    isAdditive = false
    kept = nil
    problem = try AttentionProblem(
      AttentionShape(
        heads: heads, kvHeads: kvHeads, queryLength: queries ?? n, keyLength: n, headDim: d),
      visibility: Visibility(causal: causal), storage: Storage(bf16 ? .bfloat16 : .float32))
    strategies =
      if linear { ["linear"] } else if let window { ["window(\(window))"] } else {
        bf16 && queries == nil ? ["flash", "flash(arithmetic: bf16)"] : ["flash"]
      }
  }

  /// The work of one strategy in fp32, with as many queries as keys.
  ///
  /// - Parameters:
  ///   - strategy: attnbench's, as it is written.
  ///   - rule: the recurrence that it is.
  ///   - additive: whether scores are those of a hidden layer.
  ///   - kept: the keys that a query attends to; nil for all.
  /// - Throws: `AttentionError` when the sizes are no problem.
  public init(
    _ prefix: String, strategy: String, n: Int, d: Int, heads: Int = 8, causal: Bool = true,
    rule: String? = nil, additive: Bool = false, keeping kept: Kept? = nil
  ) throws(AttentionError) {
    name = "\(prefix)-n\(n)-d\(d)"
    kind = "\(prefix)-d\(d)"
    self.n = n
    window = nil
    isLinear = false
    self.rule = rule
    isAdditive = additive
    self.kept = kept
    problem = try AttentionProblem(
      AttentionShape(heads: heads, queryLength: n, keyLength: n, headDim: d),
      visibility: Visibility(causal: causal), storage: Storage())
    strategies = [strategy]
  }

  /// A recurrence over n tokens, and the state it leaves; a step where n is 1.
  ///
  /// - Parameters:
  ///   - rule: as `PeerCase.rule`.
  ///   - strategy: attnbench's strategy for it.
  /// - Throws: `AttentionError` when the sizes are no problem.
  public init(
    recurrent prefix: String, rule: String, strategy: String, n: Int, d: Int
  ) throws(AttentionError) {
    try self.init(
      "recurrent-\(prefix)\(n == 1 ? "-step" : "")", strategy: strategy, n: n, d: d, rule: rule)
  }

  /// The work as a peer is told of it.
  public func peerCase(strategy: String, threads: Int) -> PeerCase {
    let shape = problem.shape
    var work = PeerCase(
      strategy: strategy, heads: shape.heads, kvHeads: shape.kvHeads, nQ: shape.queryLength,
      nKv: shape.keyLength, headDim: shape.headDim, valueDim: shape.valueDim,
      causal: problem.visibility.causal, dtype: problem.storage.label, threads: threads)
    work.window = window
    work.linear = isLinear
    work.rule = rule
    work.additive = isAdditive
    switch kept {
    case .blocks(let block, let top, let rows):
      (work.selection, work.block, work.top, work.rows) = (.blocks, block, top, rows)
    case .given(let block): (work.selection, work.block) = (.given, block)
    case .index(let top): (work.selection, work.top) = (.index, top)
    case nil: break
    }
    return work
  }
}
