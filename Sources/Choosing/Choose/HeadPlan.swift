import Attention
import Measuring
import Records
import Statistics
import Units

/// A strategy for each query head of a problem, as it stands in a plan file.
///
/// `Guides/Choosing.md` describes the JSON. A plan holds for the problem it was made for: another
/// length or another head dimension would make its errors meaningless.
public struct HeadPlan: Codable, Equatable, Sendable {
  /// What the first field of every plan file says.
  public static let format = "attnbench-head-plan"
  /// The version of the format that this library writes, and the latest that it reads.
  public static let currentVersion = 1

  /// `attnbench-head-plan`.
  public var format: String
  /// The version of the format.
  public var version: Int
  /// The attnbench that wrote the plan; nil in one written by hand.
  public var toolVersion: String?
  /// What the plan is for.
  public var problem: Problem
  /// Where the tensors came from that it was chosen on.
  public var inputs: String?
  /// The limit that each head had to keep to; nil for none.
  public var maximumError: Double?
  /// One strategy for each query head, in the order of the heads.
  public var heads: [Head]
  public var measured: Measured?

  /// The sizes and the mask.
  public struct Problem: Codable, Equatable, Sendable {
    /// Sequences.
    public var batch: Int
    public var heads: Int
    /// Key/value heads.
    public var kvHeads: Int
    public var queryLength: Int
    public var keyLength: Int
    /// Dimension of queries and keys.
    public var headDim: Int
    /// Dimension of values.
    public var valueDim: Int
    /// The factor on the scores.
    public var scale: Float
    /// Whether position p sees only keys j <= p.
    public var causal: Bool
    /// Query i stands at position i + this.
    public var queryOffset: Int
    /// How the tensors were stored that it was measured on; nil in a plan that does not say.
    public var elementType: ElementType?
    /// The bound of the scores; nil for none.
    public var softcap: Float?
    /// Keys before and after its own position that a query sees, and positions of a chunk that sees only
    /// itself, as the model has it; nil for no limit.
    public var windowLeft: Int?
    public var windowRight: Int?
    public var chunk: Int?
    /// A logit for each query head; nil for none.
    public var sinkLogits: [Float]?

    /// The problem as a plan states it.
    public init(_ problem: AttentionProblem) {
      let shape = problem.shape
      batch = shape.batch
      heads = shape.heads
      kvHeads = shape.kvHeads
      queryLength = shape.queryLength
      keyLength = shape.keyLength
      headDim = shape.headDim
      valueDim = shape.valueDim
      scale = problem.scale
      causal = problem.visibility.causal
      queryOffset = problem.geometry(batch: 0).offset
      elementType = problem.storage.query
      softcap = problem.scoring.softcap
      windowLeft = problem.visibility.windowLeft
      windowRight = problem.visibility.windowRight
      chunk = problem.visibility.chunk
      sinkLogits = problem.scoring.sinkLogits
    }

    /// The problem on tensors of a shape, whose lengths may be others.
    ///
    /// - Throws: `AttentionError` when scale or offset are out of range.
    public func attention(on shape: AttentionShape) throws(AttentionError) -> AttentionProblem {
      let isUsual = queryOffset == keyLength - queryLength
      let visibility = Visibility(
        causal: causal, offset: isUsual ? .bottomRight : .fixed(queryOffset),
        windowLeft: windowLeft, windowRight: windowRight, chunk: chunk)
      return try AttentionProblem(
        shape, scoring: Scoring(scale: scale, softcap: softcap, sinkLogits: sinkLogits),
        visibility: visibility)
    }

    enum CodingKeys: String, CodingKey {
      case batch
      case heads
      case kvHeads = "kv_heads"
      case queryLength = "n_q"
      case keyLength = "n_kv"
      case headDim = "head_dim"
      case valueDim = "value_dim"
      case scale
      case causal
      case queryOffset = "query_offset"
      case elementType = "dtype"
      case softcap
      case windowLeft = "window_left"
      case windowRight = "window_right"
      case chunk
      case sinkLogits = "sink_logits"
    }
  }

  public struct Head: Codable, Equatable, Sendable {
    /// The query head, from 0.
    public var head: Int
    /// As `window(512, sinks: 4)`.
    public var strategy: String
    /// The relative L2 error that was measured on the head.
    public var relativeError: Double?
    /// The head's share of the time.
    public var timeShare: Double?

    private enum CodingKeys: String, CodingKey {
      case head
      case strategy
      case relativeError = "rel_l2_error"
      case timeShare = "time_share"
    }
  }

  /// Figures of the measurement that led to the plan.
  public struct Measured: Codable, Equatable, Sendable {
    /// The plan's median time of a run.
    public var seconds: Double?
    /// The best single strategy.
    public var singleStrategy: String?
    /// Its median time, measured in the same rounds.
    public var singleSeconds: Double?
    /// Relative L2 error over all heads.
    public var relativeError: Double?
    /// Rows that errors were measured on.
    public var rowsChecked: Int?
    public var rows: Int?
    /// Workers.
    public var threads: Int
    /// Where they ran.
    public var bind: String
    /// The instruction set of the kernels.
    public var isa: String

    private enum CodingKeys: String, CodingKey {
      case seconds = "time_median_s"
      case singleStrategy = "single_strategy"
      case singleSeconds = "single_time_median_s"
      case relativeError = "rel_l2_error"
      case rowsChecked = "error_rows_checked"
      case rows
      case threads
      case bind
      case isa
    }
  }

  enum CodingKeys: String, CodingKey {
    case format
    case version
    case toolVersion = "tool_version"
    case problem
    case inputs
    case maximumError = "max_rel_l2_error"
    case heads
    case measured
  }

  /// The plan that a choice comes to.
  public init(
    _ result: PerHeadRecommendation, problem: AttentionProblem, placement: SweepPlacement,
    inputs: String, isa: String
  ) {
    format = Self.format
    version = Self.currentVersion
    toolVersion = AttnbenchVersion.current
    self.problem = Problem(problem)
    self.inputs = inputs
    maximumError = result.single.requirements.maximumError
    let ran = result.usesMix ? result.mix : result.singleBeside ?? result.mix
    heads = zip(result.heads, result.plan).map { head, strategy in
      Head(
        head: head.head, strategy: strategy,
        relativeError: ran.headErrorsUpper?[head.head],
        timeShare: result.usesMix ? head.timeShare : 1 / Double(result.heads.count))
    }
    measured = Measured(
      seconds: ran.seconds, singleStrategy: result.single.choice,
      singleSeconds: result.singleBeside?.seconds, relativeError: ran.relativeErrorUpper,
      rowsChecked: ran.rowsChecked, rows: ran.rows, threads: placement.threads,
      bind: "\(placement.binding)", isa: isa)
  }
}
