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
  /// The medians over bursts of products other than fp32, taken in turn with the others, in 10^9 flop/s, of
  /// those that cells take.
  public var products: [Arithmetic: Double]
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
    products: [Arithmetic: Double] = [:], blasGflopPerSecond: Double? = nil,
    readGBPerSecond: Double?,
    readGBRange: [Double]? = nil, workingSets: [WorkingSetCeiling]? = nil
  ) {
    self.n = n
    self.threads = threads
    self.bind = bind
    self.fmaGflopPerSecond = fmaGflopPerSecond
    self.fmaGflopRange = fmaGflopRange
    self.products = products
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
    case bf16 = "bf16_gflop_per_s"
    case fp16 = "fp16_gflop_per_s"
    case int8 = "int8_gflop_per_s"
    case int8Scores = "int8_qk_gflop_per_s"
    case blasGflopPerSecond = "blas_gflop_per_s"
    case readGBPerSecond = "read_gb_per_s"
    case readGBRange = "read_gb_per_s_range"
    case workingSets = "working_sets"
  }

  /// Where the peak of an arithmetic is written; nil for fp32, which every file has.
  private static func key(_ arithmetic: Arithmetic) -> CodingKeys? {
    switch arithmetic {
    case .float32: nil
    case .bfloat16: .bf16
    case .float16: .fp16
    case .int8: .int8
    case .int8Scores: .int8Scores
    }
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    var products: [Arithmetic: Double] = [:]
    for arithmetic in Arithmetic.allCases {
      guard let key = Self.key(arithmetic) else { continue }
      products[arithmetic] = try values.decodeIfPresent(Double.self, forKey: key)
    }
    self.init(
      n: try values.decode(Int.self, forKey: .n),
      threads: try values.decode(Int.self, forKey: .threads),
      bind: try values.decode(String.self, forKey: .bind),
      fmaGflopPerSecond: try values.decode(Double.self, forKey: .fmaGflopPerSecond),
      fmaGflopRange: try values.decode([Double].self, forKey: .fmaGflopRange),
      products: products,
      blasGflopPerSecond: try values.decodeIfPresent(Double.self, forKey: .blasGflopPerSecond),
      readGBPerSecond: try values.decodeIfPresent(Double.self, forKey: .readGBPerSecond),
      readGBRange: try values.decodeIfPresent([Double].self, forKey: .readGBRange),
      workingSets: try values.decodeIfPresent([WorkingSetCeiling].self, forKey: .workingSets))
  }

  public func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(n, forKey: .n)
    try values.encode(threads, forKey: .threads)
    try values.encode(bind, forKey: .bind)
    try values.encode(fmaGflopPerSecond, forKey: .fmaGflopPerSecond)
    try values.encode(fmaGflopRange, forKey: .fmaGflopRange)
    for (arithmetic, rate) in products {
      if let key = Self.key(arithmetic) { try values.encode(rate, forKey: key) }
    }
    try values.encodeIfPresent(blasGflopPerSecond, forKey: .blasGflopPerSecond)
    try values.encodeIfPresent(readGBPerSecond, forKey: .readGBPerSecond)
    try values.encodeIfPresent(readGBRange, forKey: .readGBRange)
    try values.encodeIfPresent(workingSets, forKey: .workingSets)
  }
}
