import Attention
import Statistics
import Units

/// One cell of a sweep: what was run, how it ended and what was measured.
///
/// The groups below follow the columns of `results.csv`; `ResultColumn.all` maps them. A figure
/// that was not taken is nil and becomes an empty cell.
public struct ResultRow: Equatable, Sendable {
  /// The version of the column set, raised when a column changes its meaning.
  public static let currentSchemaVersion = 1

  /// The version of the column set this row was written with.
  public var schemaVersion = Self.currentSchemaVersion
  /// The run that wrote the row.
  public var runID: String
  /// The cell within the sweep: the same arguments give the same cell.
  public var cellID: String
  /// What was run.
  public var strategy: StrategyLabel
  /// On which problem.
  public var shape: Shape
  /// The size that the sweep varied; nil in files of earlier versions.
  public var sweptSize: Int?
  /// In what products were taken, which says whose peak `percentOfPeak` is of. A row stands for
  /// itself, also on a machine that has no such products.
  public var arithmetic = Arithmetic.float32
  /// What of a model's work was run.
  public var pass = AttentionPass.forward
  /// Processes that shared it.
  public var ranks = 1
  /// On how many cores, and which.
  public var placement: Placement
  /// How it ended.
  public var status: Status
  /// Why it ended so, with the numbers; empty when there is nothing to say.
  public var reason = ""
  /// How long it took.
  public var time = Times()
  /// How much was done, and what memory it took.
  public var work = Work()
  /// How far the result lies from the reference.
  public var accuracy = Accuracy()
  /// What else happened on the machine meanwhile.
  public var disturbance = Disturbance()
  /// The code that ran.
  public var build: Build

  /// A row without figures yet.
  public init(
    runID: String, cellID: String, strategy: StrategyLabel, shape: Shape, placement: Placement,
    status: Status, reason: String = "", build: Build
  ) {
    self.runID = runID
    self.cellID = cellID
    self.strategy = strategy
    self.shape = shape
    self.placement = placement
    self.status = status
    self.reason = reason
    self.build = build
  }
}

extension ResultRow {
  /// The size that the sweep varied; where that is not known, the longer of the two sequences.
  public var n: Int { sweptSize ?? max(shape.queryLength, shape.keyLength) }

  /// Which strategy ran.
  public struct StrategyLabel: Hashable, Sendable {
    /// The strategy's name.
    public var name: String
    /// Its resolved parameters; empty when it has none.
    public var parameters: String
    /// Its class: exact, restricted or a different operator.
    public var classification: String

    public init(name: String, parameters: String = "", classification: String) {
      self.name = name
      self.parameters = parameters
      self.classification = classification
    }

    /// The name with its parameters: `window(512)`.
    public var text: String { parameters.isEmpty ? name : "\(name)(\(parameters))" }
  }

  /// The problem: b, h, hKV, nQ, nKV, d, dV, the element type and the mask.
  public struct Shape: Hashable, Sendable {
    /// b.
    public var batch: Int
    /// h, the query heads.
    public var heads: Int
    /// hKV, the key and value heads.
    public var kvHeads: Int
    /// nQ.
    public var queryLength: Int
    /// nKV.
    public var keyLength: Int
    /// d, of queries and keys.
    public var headDimension: Int
    /// dV.
    public var valueDimension: Int
    /// The storage type of the inputs, such as `fp32`.
    public var elementType: String
    /// Whether the causal mask was on.
    public var isCausal: Bool

    /// States a problem.
    public init(
      batch: Int, heads: Int, kvHeads: Int, queryLength: Int, keyLength: Int, headDimension: Int,
      valueDimension: Int, elementType: String, isCausal: Bool
    ) {
      self.batch = batch
      self.heads = heads
      self.kvHeads = kvHeads
      self.queryLength = queryLength
      self.keyLength = keyLength
      self.headDimension = headDimension
      self.valueDimension = valueDimension
      self.elementType = elementType
      self.isCausal = isCausal
    }
  }

  /// Where it ran.
  public struct Placement: Hashable, Sendable {
    /// How many workers.
    public var threads: Int
    /// Their binding as it was read back, such as `core:0-1` or `none`.
    public var bind: String

    /// Places a run.
    public init(threads: Int, bind: String) {
      self.threads = threads
      self.bind = bind
    }
  }

  /// Times in seconds.
  public struct Times: Equatable, Sendable {
    /// How many samples the figures rest on.
    public var samples = 0
    public var median: Double?
    public var minimum: Double?
    public var lowerQuartile: Double?
    public var upperQuartile: Double?
    /// The lower end of the median's 95% interval.
    public var intervalLower: Double?
    /// The upper end of the median's 95% interval.
    public var intervalUpper: Double?
    /// Processor time of all threads together, the median over the samples.
    public var cpuTime: Double?

    /// No samples.
    public init() {}

    /// The figures of a summary in seconds.
    public init(_ summary: SampleSummary, cpuTime: Double? = nil) {
      samples = summary.count
      median = summary.median
      minimum = summary.minimum
      lowerQuartile = summary.lowerQuartile
      upperQuartile = summary.upperQuartile
      intervalLower = summary.interval.lower
      intervalUpper = summary.interval.upper
      self.cpuTime = cpuTime
    }
  }

  /// Work, speed and memory.
  public struct Work: Equatable, Sendable {
    /// (query, key) pairs scored, over all heads and batches.
    public var pairs: Int?
    /// Floating-point operations of the definition, waste not counted.
    public var flops: Int?
    /// 10^9 operations a second at the median time.
    public var gflopPerSecond: Double?
    /// Percent of the FMA peak measured in the same run with the same threads.
    public var percentOfPeak: Double?
    /// Percent of the FMA peak that the matrix library reached on square products in the same run
    /// with the same threads; nil for strategies that do not use it.
    public var blasPercentOfPeak: Double?
    /// The bytes that inputs and output hold: the least that must move.
    public var minimumBytes: Int?
    /// What the plan allocated.
    public var workspaceBytes: Int?
    /// How far the resident set grew beyond inputs and output at its peak.
    public var peakRSSDeltaBytes: Int?

    /// Nothing counted yet.
    public init() {}
  }

  /// Distances from fp64 references on sampled rows.
  public struct Accuracy: Equatable, Sendable {
    /// Relative l2 distance from full softmax attention: quality.
    public var relativeL2: Double?
    /// Largest absolute distance from full softmax attention.
    public var maximumAbsolute: Double?
    /// How many rows were checked.
    public var rowsChecked: Int?
    /// Relative l2 distance from the strategy's own definition: correctness.
    public var oracleRelativeL2: Double?
    /// Of a restricted strategy the mean share of full attention's mass on the keys that it keeps.
    public var massKept: Double?
    /// Likewise of the true top keys, as many as it keeps, the mean share that it keeps.
    public var topKeysFound: Double?
    /// The mean mass of as many keys of each row, the best ones.
    public var bestMass: Double?
    /// The share of what these hold beyond keys drawn by lot that the keys kept hold.
    public var gainRealised: Double?

    /// Nothing checked yet.
    public init() {}
  }

  /// Signs that something else used the machine.
  public struct Disturbance: Equatable, Sendable {
    /// Percent of the cell's time that the hypervisor gave to others.
    public var stealPercent: Double?
    /// How often a thread was taken off its core.
    public var involuntaryContextSwitches: Int?

    /// Nothing seen yet.
    public init() {}
  }

  /// The code that ran.
  public struct Build: Hashable, Sendable {
    /// The kernel OpenBLAS chose, such as `SkylakeX`.
    public var blasCore: String
    /// The instruction set our own kernels chose, such as `avx512`.
    public var isa: String

    /// Names the code.
    public init(blasCore: String, isa: String) {
      self.blasCore = blasCore
      self.isa = isa
    }
  }
}
