/// What a sweep tells while it runs. It prints nothing itself.
public enum SweepEvent: Sendable {
  /// The cells of a size are about to run.
  case sizeStarted(n: Int, cells: Int)
  /// A cell is being planned and run for the first time.
  case cellStarted(SweepCell)
  /// A choice has had a look at a candidate: a few runs, and its error.
  case candidateSeen(Candidate)
  /// What a choice knows before the looks and runs that take long; exact candidates that have not run
  /// stand there with their predicted times.
  case firstTable(Recommendation)
  /// Where the sweep stands; at most ten times a second.
  case progress(SweepProgress)
  /// A cell has ended, measured or not, and its row is kept.
  case cellFinished(SweepCell, ResultRow)
  /// The machine's ceilings as measured among the cells of a size.
  case ceilings(n: Int, [MachineCeiling])
  /// Something the user should know about the measurement.
  case warning(String)
}

/// Where a sweep stands.
public struct SweepProgress: Equatable, Sendable {
  public let cell: String
  /// Its samples so far.
  public let samples: Int
  /// The median of its samples so far in seconds; nil before the first.
  public let median: Double?
  /// The relative half width of that median's interval.
  public let relativeHalfWidth: Double?
  /// Cells that have ended, those of an earlier sitting included.
  public let finishedCells: Int
  public let totalCells: Int
  /// Predicted seconds until the end; nil while nothing is known.
  public let secondsLeft: Double?
}

/// The machine's ceilings with one placement, measured in the run.
public struct MachineCeiling: Codable, Equatable, Sendable {
  /// The size among whose cells it was measured.
  public var n: Int
  /// Workers.
  public var threads: Int
  /// Where they ran.
  public var bind: String
  /// The median over bursts of fused multiply-adds, in 10^9 flop/s.
  public var fmaGflopPerSecond: Double
  /// The slowest and the fastest burst: drift shows here.
  public var fmaGflopRange: [Double]
  /// The median over bursts of dot products of bf16, taken in turn with the others, in 10^9 flop/s;
  /// nil where no cell takes such products.
  public var bf16GflopPerSecond: Double?
  /// The median over bursts of the matrix library's products, taken in turn with the others, in
  /// 10^9 flop/s; nil where no cell uses it.
  public var blasGflopPerSecond: Double?
  /// Read bandwidth beyond the caches in 10^9 bytes/s, the median of all readings; nil when it was
  /// not taken.
  public var readGBPerSecond: Double?
  /// The slowest and the fastest reading, in files of earlier versions, which read memory again
  /// between the rounds of cells that it bounds.
  public var readGBRange: [Double]?
  /// The rates at which the data of cells that reading bounds were read between their runs; nil in
  /// files of earlier versions and where there is no such cell.
  public var workingSets: [WorkingSetCeiling]?

  /// Ceilings as given.
  public init(
    n: Int, threads: Int, bind: String, fmaGflopPerSecond: Double, fmaGflopRange: [Double],
    bf16GflopPerSecond: Double? = nil, blasGflopPerSecond: Double? = nil, readGBPerSecond: Double?,
    readGBRange: [Double]? = nil, workingSets: [WorkingSetCeiling]? = nil
  ) {
    self.n = n
    self.threads = threads
    self.bind = bind
    self.fmaGflopPerSecond = fmaGflopPerSecond
    self.fmaGflopRange = fmaGflopRange
    self.bf16GflopPerSecond = bf16GflopPerSecond
    self.blasGflopPerSecond = blasGflopPerSecond
    self.readGBPerSecond = readGBPerSecond
    self.readGBRange = readGBRange
    self.workingSets = workingSets
  }

  private enum CodingKeys: String, CodingKey {
    case n
    case threads
    case bind
    case fmaGflopPerSecond = "fma_gflop_per_s"
    case fmaGflopRange = "fma_gflop_per_s_range"
    case bf16GflopPerSecond = "bf16_gflop_per_s"
    case blasGflopPerSecond = "blas_gflop_per_s"
    case readGBPerSecond = "read_gb_per_s"
    case readGBRange = "read_gb_per_s_range"
    case workingSets = "working_sets"
  }
}
