import Statistics
import Units

/// The rate at which a working set of some size was read between the runs of the cells that read as
/// much: what bounds them, wherever in the caches or in memory their data lie.
public struct WorkingSetCeiling: Codable, Equatable, Sendable {
  /// The size of the working set: `bytes_min` of the cells.
  public var bytes: Int
  /// Where it lies: `L2`, `L3`, ..., or `mem`.
  public var level: String
  /// The median over the readings, in 10^9 bytes/s.
  public var gbPerSecond: Double
  /// The slowest and the fastest reading.
  public var gbRange: [Double]

  /// A ceiling as given.
  public init(bytes: Int, level: String, gbPerSecond: Double, gbRange: [Double]) {
    self.bytes = bytes
    self.level = level
    self.gbPerSecond = gbPerSecond
    self.gbRange = gbRange
  }

  private enum CodingKeys: String, CodingKey {
    case bytes
    case level
    case gbPerSecond = "read_gb_per_s"
    case gbRange = "read_gb_per_s_range"
  }
}
