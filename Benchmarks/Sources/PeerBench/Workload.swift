import Attention
import PeerProtocol

/// Work that is compared: one problem, in the ways attnbench computes it.
///
/// Batch 1, 8 heads unless it says otherwise, operands independent unit normals, in fp32 unless the
/// name says bf16. `decode` is a step of decoding: one query reads n keys. `recurrent` keeps a state
/// instead of keys: it begins with one, and the state after the last token is part of the work; a
/// `step` of it takes in one token.
public struct Workload: Sendable {
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
  public func definition(_ strategy: any AttentionStrategy) -> any AttentionStrategy {
    guard rule != nil else { return strategy }
    return StrategyOnOperands(
      strategy, given: ["state"], drawn: ["decay": { Float(-0.2 * $0) }])
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
    problem = try AttentionProblem(
      AttentionShape(
        heads: heads, kvHeads: kvHeads, queryLength: queries ?? n, keyLength: n, headDim: d),
      visibility: Visibility(causal: causal), storage: Storage(bf16 ? .bfloat16 : .float32))
    strategies =
      if linear { ["linear"] } else if let window { ["window(\(window))"] } else {
        bf16 && queries == nil ? ["flash", "flash(arithmetic: bf16)"] : ["flash"]
      }
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
    let kind = "recurrent-\(prefix)\(n == 1 ? "-step" : "")"
    name = "\(kind)-n\(n)-d\(d)"
    self.kind = "\(kind)-d\(d)"
    self.n = n
    self.rule = rule
    window = nil
    isLinear = false
    problem = try AttentionProblem(
      AttentionShape(heads: 8, queryLength: n, keyLength: n, headDim: d),
      visibility: Visibility(causal: true), storage: Storage())
    strategies = [strategy]
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
    return work
  }
}

extension Workload {
  /// All work that is compared.
  ///
  /// - Parameter quick: the same kinds at sizes that take a minute together.
  public static func all(quick: Bool) throws(AttentionError) -> [Workload] {
    quick ? try small() : try large()
  }

  private static func large() throws(AttentionError) -> [Workload] {
    var work = [try Workload("short", n: 128, d: 64)]
    for d in [64, 128] {
      for n in [1024, 4096, 16384] { work.append(try Workload("full", n: n, d: d)) }
    }
    for (d, sizes) in [(64, [1024, 4096, 16384]), (128, [1024, 4096])] {
      for n in sizes { work.append(try Workload("causal", n: n, d: d, causal: true)) }
    }
    for d in [64, 128] {
      work.append(try Workload("gqa-causal", n: 4096, d: d, kvHeads: 2, causal: true))
    }
    work.append(try Workload("window512", n: 16384, d: 64, causal: true, window: 512))
    for n in [8192, 32768] {
      work.append(try Workload("decode", n: n, d: 128, heads: 32, queries: 1))
    }
    work.append(try Workload("decode-gqa", n: 8192, d: 128, heads: 32, kvHeads: 8, queries: 1))
    for d in [64, 128] { work.append(try Workload("full-bf16", n: 4096, d: d, bf16: true)) }
    for (prefix, kvHeads) in [("decode-bf16", 32), ("decode-gqa-bf16", 8)] {
      for n in [8192, 32768] {
        work.append(
          try Workload(prefix, n: n, d: 128, heads: 32, kvHeads: kvHeads, queries: 1, bf16: true))
      }
    }
    work.append(try Workload("linear", n: 16384, d: 64, linear: true))
    work.append(try Workload("linear-causal", n: 16384, d: 64, causal: true, linear: true))
    return work + (try recurrent(n: 16384, dims: [64, 128]))
  }

  private static func small() throws(AttentionError) -> [Workload] {
    [
      try Workload("short", n: 128, d: 64),
      try Workload("full", n: 1000, d: 64),
      try Workload("full", n: 2000, d: 64),
      try Workload("causal", n: 1000, d: 64, causal: true),
      try Workload("gqa-causal", n: 1000, d: 64, kvHeads: 2, causal: true),
      try Workload("window512", n: 2000, d: 64, causal: true, window: 512),
      try Workload("decode", n: 2000, d: 64, queries: 1),
      try Workload("decode-gqa", n: 2000, d: 64, kvHeads: 2, queries: 1),
      try Workload("full-bf16", n: 2000, d: 64, bf16: true),
      try Workload("decode-bf16", n: 2000, d: 64, queries: 1, bf16: true),
      try Workload("decode-gqa-bf16", n: 2000, d: 64, kvHeads: 2, queries: 1, bf16: true),
      try Workload("linear", n: 2000, d: 64, linear: true),
      try Workload("linear-causal", n: 2000, d: 64, causal: true, linear: true),
    ] + (try recurrent(n: 1000, dims: [64]))
  }

  /// Every rule over a prompt and in a step.
  private static func recurrent(n: Int, dims: [Int]) throws(AttentionError) -> [Workload] {
    let rules = [
      ("gated", "gated", "gated(head)"), ("gla", "gated", "gated(channel)"),
      ("delta", "delta", "delta"), ("gated-delta", "gated_delta", "gated_delta(head)"),
      ("kda", "gated_delta", "gated_delta(channel)"), ("ssd", "ssd", "ssd"),
    ]
    var work: [Workload] = []
    for length in [n, 1] {
      for (prefix, rule, strategy) in rules {
        for d in dims {
          work.append(
            try Workload(recurrent: prefix, rule: rule, strategy: strategy, n: length, d: d))
        }
      }
    }
    return work
  }
}
