import Attention
import Records
import Statistics
import Units

/// Which of the machine's ceilings bounds a cell, and how close it comes to it.
///
/// A run takes at least its operations over the peak of its arithmetic, fused multiply-adds of fp32
/// or other products, and at least its bytes over the rate at which they can be read; the longer
/// of the two times is the bound, and its share of the measured time says how close the run is.
/// Operations and bytes are those of the definition: waste does not count, so that work done twice
/// shows as distance from the ceiling.
///
/// Where reading bounds a cell, its rate is that of the cell's own data, measured between its runs:
/// they lie in memory or in a level of the caches, and the bound says in which.
///
/// Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
/// multicore architectures", CACM 52(4), 2009.
public struct RooflineBound: Equatable, Sendable, CustomStringConvertible {
  /// A limit of the machine.
  public enum Ceiling: Hashable, Sendable {
    /// The products of an arithmetic.
    case products(Arithmetic)
    /// Reading from `mem`, or from `L3`, `L2`, ...
    case reading(level: String)

    /// `fma`, `bf16`, `int8`, `mem`, `L3`.
    public var name: String {
      switch self {
      case .products(let arithmetic): arithmetic == .float32 ? "fma" : arithmetic.rawValue
      case .reading(let level): level
      }
    }
  }

  /// The ceiling that the run meets first.
  public let ceiling: Ceiling
  /// The time that this ceiling demands over the measured median.
  public let share: Double

  /// Holds a measured row against the ceilings of its run.
  ///
  /// - Parameter ceilings: `RunMetadata.ceilings`.
  /// - Returns: nil for rows without a time, or without ceilings.
  public init?(_ row: ResultRow, ceilings: [MachineCeiling]) {
    guard row.status.isMeasured, (row.time.median ?? 0) > 0 else { return nil }
    let peak = Ceiling.products(row.arithmetic)
    let arithmetic = row.work.percentOfPeak.map { (ceiling: peak, share: $0 / 100) }
    let reading = row.reading(ceilings: ceilings).map {
      (ceiling: Ceiling.reading(level: $0.level), share: $0.share)
    }
    guard let nearest = [arithmetic, reading].compactMap({ $0 }).max(by: { $0.share < $1.share })
    else { return nil }
    (ceiling, share) = nearest
  }

  /// `fma 91%`.
  public var description: String { "\(ceiling.name) \(Int((100 * share).rounded()))%" }
}

extension ResultRow {
  /// How fast a row read its data beside how fast they can be read.
  package struct Reading: Equatable {
    /// Where the data lay.
    package var level: String
    /// The share of the rate of that level, 0 to 1 but for noise.
    package var share: Double
  }

  /// 10^9 bytes a second at the median time, counting every byte that must move once; nil for rows
  /// without a time.
  public var gigabytesPerSecond: Double? {
    guard status.isMeasured, let median = time.median, median > 0, let bytes = work.minimumBytes
    else { return nil }
    return Double(bytes) / median / 1e9
  }

  /// The share of the rate at which the row's data can be read with its threads, 0 to 1; nil where
  /// that is not known.
  public func readShare(ceilings: [MachineCeiling]) -> Double? {
    reading(ceilings: ceilings)?.share
  }

  /// More than the rate of memory, and more than noise, says that the data did not come from there.
  private static let mostOfMemory = 1.1

  /// The rate of the row's own data where it was measured; else that of memory, unless the row was
  /// faster: then its data lay in a cache whose rate nobody knows.
  package func reading(ceilings: [MachineCeiling]) -> Reading? {
    guard let rate = gigabytesPerSecond else { return nil }
    let own = ceilings.first {
      $0.n == n && $0.threads == placement.threads && $0.bind == placement.bind
    }?.workingSets?.first { $0.bytes == work.minimumBytes }
    if let own {
      // What its readings reached is within reach: a row that others' work slowed less than the usual
      // reading is at its ceiling, not above.
      let reached = own.gbRange.max() ?? own.gbPerSecond
      return Reading(
        level: own.level, share: rate / max(own.gbPerSecond, min(rate, reached)))
    }
    guard let memory = Self.bandwidth(of: placement, n: n, ceilings),
      rate <= Self.mostOfMemory * memory
    else { return nil }
    return Reading(level: "mem", share: rate / memory)
  }

  /// The read bandwidth of memory for a placement in GB/s: of a size, where it was read between the
  /// rounds of that size (as earlier versions did), else the median over all sizes, since it does not
  /// depend on the size: one reading in a few finds its buffer in a cache that other machines share.
  package static func bandwidth(
    of placement: Placement, n: Int? = nil, _ ceilings: [MachineCeiling]
  ) -> Double? {
    let placed = ceilings.filter {
      $0.threads == placement.threads && $0.bind == placement.bind
    }
    if let own = placed.first(where: { $0.n == n && $0.readGBRange != nil }) {
      return own.readGBPerSecond
    }
    return SampleSummary(placed.compactMap(\.readGBPerSecond))?.median
  }
}
