import AttentionKernels
import MachineTopology
import RealModule
import Tensors

/// What a strategy computes, relative to softmax attention over all visible keys.
public enum OperatorClass: String, Sendable, CaseIterable, Codable {
  /// softmax(scale Q K^T + mask) V itself; differs from it only by rounding.
  case exact
  /// Exact softmax over a subset of the keys, stated beforehand or selected from the data.
  case restricted
  /// Another function of its operands.
  case different
}

/// What a strategy does for one problem, in counted units.
public struct WorkEstimate: Sendable, Hashable {
  /// (query, key) pairs the pattern scores, summed over batch and heads. Pairs a block computes
  /// and masks away are waste and do not count.
  public var pairs: Int
  /// Floating-point operations: `2 pairs (d + dV)` for softmax strategies, the strategy's own
  /// stated count otherwise.
  public var flops: Int
  /// Bytes that must be moved at least once: of queries and output all rows, of keys and values those
  /// that some query sees.
  public var minimumBytes: Int
  /// Bytes a plan allocates beyond inputs and output.
  public var workspaceBytes: Int
  /// Bytes of a state that a step reads and writes in place: twice among `minimumBytes`.
  public var stateBytes = 0

  /// Creates an estimate of what has no state.
  public init(pairs: Int, flops: Int, minimumBytes: Int, workspaceBytes: Int) {
    self.pairs = pairs
    self.flops = flops
    self.minimumBytes = minimumBytes
    self.workspaceBytes = workspaceBytes
  }
}

/// The queries that a row of the output depends on.
public enum QueryReach: Sendable, Hashable {
  /// Its own.
  case row
  /// Those of its head.
  case head
  /// Those of all heads that share its key/value head.
  case group
}

/// A parameter a strategy takes, for parsing, checking and `attnbench list`.
public struct StrategyParameter: Sendable, Hashable {
  /// The label; the parameter may also be given by position.
  public let label: String
  /// What it means, its unit and its default.
  public let help: String

  public init(_ label: String, _ help: String) {
    self.label = label
    self.help = help
  }
}

/// One way to compute attention, its parameters known.
///
/// To add a strategy, conform a type to ``FamilyStrategy`` and add its family to a
/// ``StrategyRegistry``: it is then tested, swept, plotted and recommended like the others.
/// Everything outside sees a strategy only through this protocol.
public protocol AttentionStrategy: Sendable {
  /// The name it is written with: `window`.
  var name: String { get }
  /// What is computed. Precision does not change it.
  var operatorClass: OperatorClass { get }
  /// What its products are taken in; fp32, the default, unless the parameters change it.
  var arithmetic: Arithmetic { get }
  /// The element type that keys and values are rounded to before they are attended to; nil, the
  /// default, for as they come.
  var keyValueStorage: ElementType? { get }
  /// What it takes beyond query, key and value; nothing by default.
  var operands: [OperandDeclaration] { get }
  /// Whether its products are taken by the matrix library; false, the default, where it has its own.
  var usesBLAS: Bool { get }
  /// Whether what it computes for a head depends on the head's number, so that heads cannot be taken out
  /// and served alone; false by default.
  var dependsOnHeadNumbers: Bool { get }

  /// The parameters in force for a problem, as they would be written: `512, sinks: 4`; empty when
  /// there are none. Defaults that depend on the problem are resolved.
  func resolvedParameters(for problem: AttentionProblem) -> String

  /// What the parameters come to for a problem, where their written form leaves it open:
  /// `left 511, right 0`; empty, the default, where it does not.
  func explanation(for problem: AttentionProblem) -> String

  /// The first parameter that was given and asks for more keys or blocks than a problem has; nil by default. A
  /// plan takes all there are: sweeps over lengths go on, while a single run is refused, since whoever asks for
  /// it means another problem.
  func excess(for problem: AttentionProblem) -> AttentionError?

  /// Counts the work for a problem on `threads` workers without allocating its workspace.
  ///
  /// - Throws: `AttentionError` when the strategy cannot serve the problem.
  func work(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate

  /// Makes a plan: checks, sizes and allocates.
  ///
  /// - Throws: `AttentionError` when the strategy cannot serve the problem or memory is refused.
  func plan(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionPlan

  /// Makes ready to decode: to take in tokens as they come. By default over a key/value cache, which
  /// a strategy that keeps less of the past does without.
  ///
  /// - Parameters:
  ///   - problem: options, sizes and element types; see `CachedDecoder`.
  ///   - cache: where keys and values are kept, if they are.
  /// - Throws: `AttentionError` when the strategy cannot serve the problem, the cache does not fit
  ///   or memory is refused.
  func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder

  /// Whether the keys that it sees are selected from the data; false by default. Its pattern then says what
  /// there is to select from.
  var selectsKeys: Bool { get }

  /// Whether it can serve a causal mask; true by default. One that cannot refuses such problems, and nobody
  /// asks it for them unless it is named.
  var servesCausalMasks: Bool { get }

  /// Whether later rows, from anywhere in the sequence, decide what earlier ones attend to, under a causal mask
  /// too: right for a prefill that stands in for full attention, and no causal model of its own. False by
  /// default.
  var laterRowsDecide: Bool { get }

  /// Which queries a row of the output depends on: by default its own, or all of its head where keys are
  /// selected, since rows may share a selection.
  var queryReach: QueryReach { get }

  /// Whether its decoder keeps a state of fixed size instead of keys and values, so that what a step costs
  /// does not depend on the tokens before it; false by default.
  var keepsState: Bool { get }

  /// Whether its decoder keeps something of each key beside the cache, so that a step is not a run of its plan
  /// on the same keys; by default where it takes operands of keys.
  var keepsBesideCache: Bool { get }

  /// Counts the work of a step of decoding: nQ new tokens after the nKV - nQ before them. By default that of
  /// the problem, which reads all keys that are visible; a strategy that keeps a state says what a step of
  /// its decoder does, reading and writing the state included.
  ///
  /// - Throws: as `work(for:threads:)`.
  func stepWork(for problem: AttentionProblem, threads: Int) throws(AttentionError) -> WorkEstimate

  /// The keys a query may see, for softmax over a subset and for drawing masks. By default all
  /// that the mask leaves visible.
  func pattern(for geometry: MaskGeometry) -> any KeyPattern

  /// The strategy's definition in fp64, row by row. By default softmax under `pattern`.
  func oracle(for problem: AttentionProblem) -> any AttentionOracle

  /// The same definition on operands that are rounded as `arithmetic` rounds them: what is left
  /// between it and a run is the rounding of intermediate results. By default `oracle`, which is
  /// right for fp32.
  func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle

  /// `arithmeticOracle` with intermediate results off by roundings that are drawn at random, where the arithmetic
  /// rounds sums and weights to so few bits that they decide how near a run comes to it; nil, the default,
  /// where the rounding of weights is all.
  func roundingOracle(for problem: AttentionProblem, draw: UInt64) -> (any AttentionOracle)?

  /// Full softmax attention on operands as the strategy's arithmetic rounds them: what its distance
  /// from full attention is measured against.
  func fullOracle(for problem: AttentionProblem) -> any AttentionOracle
}

/// How close together the parameters of a series stand.
public enum SearchDensity: Sendable {
  /// Sixteen sizes an octave, 4% apart: a search that halves the series pays one step for twice as
  /// many.
  case search
  /// Twenty sizes an octave and more series, for holding a search against all there is.
  case exhaustive

  /// Sizes in a doubling.
  public var sizesPerOctave: Int {
    switch self {
    case .search: 16
    case .exhaustive: 20
    }
  }

  /// Whole numbers from `first` to `last`, rising by about the same factor; empty when `last` is
  /// below `first`.
  public func sizes(from first: Int, through last: Int) -> [Int] {
    guard first >= 1, last >= first else { return [] }
    var sizes: [Int] = []
    for step in 0... {
      let factor = Double.exp2(Double(step) / Double(sizesPerOctave))
      let size = Int((Double(first) * factor).rounded())
      if size > last { break }
      if size != sizes.last { sizes.append(size) }
    }
    return sizes
  }
}

extension AttentionStrategy {
  /// The strategy as written with its parameters resolved: `window(512, sinks: 4)`, `full`.
  public func spec(for problem: AttentionProblem) -> String {
    let parameters = resolvedParameters(for: problem)
    return parameters.isEmpty ? name : "\(name)(\(parameters))"
  }

  /// The resolved strategy with its explanation, for people: `window(512) [left 511, right 0]`.
  public func explainedSpec(for problem: AttentionProblem) -> String {
    let explanation = explanation(for: problem)
    return spec(for: problem) + (explanation.isEmpty ? "" : " [\(explanation)]")
  }

  public func explanation(for problem: AttentionProblem) -> String { "" }

  public func decoder(
    for problem: AttentionProblem, cache: CacheChoice, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    try CachedDecoder(self, for: problem, cache: cache.cache(for: problem), on: team)
  }

  /// Makes ready to decode, over a contiguous cache where keys and values are kept.
  public func decoder(
    for problem: AttentionProblem, on team: WorkerTeam
  ) throws(AttentionError) -> any AttentionDecoder {
    try decoder(for: problem, cache: .contiguous(), on: team)
  }

  public func pattern(for geometry: MaskGeometry) -> any KeyPattern { DensePattern(geometry) }

  public func oracle(for problem: AttentionProblem) -> any AttentionOracle {
    SoftmaxOracle(problem) { pattern(for: $0) }
  }

  public func arithmeticOracle(for problem: AttentionProblem) -> any AttentionOracle {
    oracle(for: problem)
  }

  public func roundingOracle(
    for problem: AttentionProblem, draw: UInt64
  ) -> (any AttentionOracle)? { nil }

  public var usesBLAS: Bool { false }

  public var dependsOnHeadNumbers: Bool { false }

  public var selectsKeys: Bool { false }

  public var servesCausalMasks: Bool { true }

  public var laterRowsDecide: Bool { false }

  public var queryReach: QueryReach { selectsKeys ? .head : .row }

  public var keepsState: Bool { false }

  public func excess(for problem: AttentionProblem) -> AttentionError? { nil }

  /// An error that says that a parameter is above what there is; nil where it is not, or was not given.
  package func excess(_ parameter: String, _ value: Int?, of most: Int, _ what: String)
    -> AttentionError?
  {
    guard let value, value > most else { return nil }
    return AttentionError(
      .invalidArgument, argument: "\(name) \(parameter)", value: value,
      advice: "must be at most \(most), as there are \(what); give fewer, or leave it out")
  }

  public var keepsBesideCache: Bool { operands.contains { $0.axes.contains(.keyLength) } }

  public func stepWork(
    for problem: AttentionProblem, threads: Int
  ) throws(AttentionError) -> WorkEstimate {
    try work(for: problem, threads: threads)
  }

  public var arithmetic: Arithmetic { .float32 }

  public var keyValueStorage: ElementType? { nil }

  /// Whether its outputs differ from softmax attention by no more than fp32 rounds: of the exact
  /// class, and of full precision.
  public var isExactInFloat32: Bool {
    operatorClass == .exact && arithmetic == .float32 && keyValueStorage == nil
  }

  public var operands: [OperandDeclaration] { [] }

  public func fullOracle(for problem: AttentionProblem) -> any AttentionOracle {
    SoftmaxOracle(problem, operands: arithmetic) { DensePattern($0) }
  }
}
