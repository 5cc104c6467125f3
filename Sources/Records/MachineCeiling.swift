import Attention
import Statistics
import Units

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
