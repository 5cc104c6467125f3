/// Which of the machine's two ceilings bounds a cell, and how close it comes to it.
///
/// A run takes at least its operations over the FMA peak, and at least its bytes over the read
/// bandwidth; the longer of the two times is the bound, and its share of the measured time says how
/// close the run is. Operations and bytes are those of the definition: waste does not count, so that
/// work done twice shows as distance from the ceiling.
///
/// The bandwidth is that of memory. Where inputs and output fit into the caches the share of the
/// memory bound can pass 100%.
///
/// Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
/// multicore architectures", CACM 52(4), 2009.
public struct RooflineBound: Equatable, Sendable, CustomStringConvertible {
  /// A limit of the machine.
  public enum Ceiling: String, Sendable {
    /// Fused multiply-adds.
    case arithmetic = "fma"
    /// Reading memory.
    case memory = "mem"
  }

  /// The ceiling that the run meets first.
  public let ceiling: Ceiling
  /// The time that this ceiling demands over the measured median.
  public let share: Double

  /// Holds a measured row against the ceilings of its run.
  ///
  /// The FMA peak is the row's own, taken among the cells of its size. The bandwidth does not depend
  /// on the size, so the median over all sizes of the row's placement is used: one pass in a few
  /// finds its buffer in a cache that other machines share.
  ///
  /// - Parameter ceilings: `RunMetadata.ceilings`.
  /// - Returns: nil for rows without a time, or without ceilings.
  public init?(_ row: ResultRow, ceilings: [MachineCeiling]) {
    guard row.status.isMeasured, let median = row.time.median, median > 0 else { return nil }
    let placed = ceilings.filter {
      $0.threads == row.placement.threads && $0.bind == row.placement.bind
    }
    let arithmetic = row.work.percentOfPeak.map { $0 / 100 }
    let bandwidth = SampleSummary(placed.compactMap(\.readGBPerSecond))?.median
    let memory = row.work.minimumBytes.flatMap { bytes in
      bandwidth.map { Double(bytes) / ($0 * 1e9) / median }
    }
    switch (arithmetic, memory) {
    case (let arithmetic?, let memory?) where memory > arithmetic:
      (ceiling, share) = (.memory, memory)
    case (let arithmetic?, _): (ceiling, share) = (.arithmetic, arithmetic)
    case (nil, let memory?): (ceiling, share) = (.memory, memory)
    case (nil, nil): return nil
    }
  }

  /// `fma 91%`.
  public var description: String { "\(ceiling.rawValue) \(Int((100 * share).rounded()))%" }
}
