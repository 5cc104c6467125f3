/// Which of the machine's two ceilings bounds a cell, and how close it comes to it.
///
/// A run takes at least its operations over the peak of its arithmetic, fused multiply-adds of fp32
/// or dot products of bf16, and at least its bytes over the read bandwidth; the longer of the two
/// times is the bound, and its share of the measured time says how close the run is. Operations and
/// bytes are those of the definition: waste does not count, so that work done twice shows as distance
/// from the ceiling.
///
/// The bandwidth is that of memory. Where inputs and output fit into the caches the share of the
/// memory bound can pass 100%.
///
/// Source: Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
/// multicore architectures", CACM 52(4), 2009.
public struct RooflineBound: Equatable, Sendable, CustomStringConvertible {
  /// A limit of the machine.
  public enum Ceiling: String, Sendable {
    /// Fused multiply-adds of fp32.
    case arithmetic = "fma"
    /// Dot products of bf16.
    case bfloat16 = "bf16"
    /// Reading memory.
    case memory = "mem"
  }

  /// The ceiling that the run meets first.
  public let ceiling: Ceiling
  /// The time that this ceiling demands over the measured median.
  public let share: Double

  /// Holds a measured row against the ceilings of its run.
  ///
  /// The peak is the row's own, taken among the cells of its size, and so is the bandwidth where
  /// memory was read between their rounds. Elsewhere it is the median over all sizes of the row's
  /// placement, since it does not depend on the size: one reading in a few finds its buffer in a cache
  /// that other machines share.
  ///
  /// - Parameter ceilings: `RunMetadata.ceilings`.
  /// - Returns: nil for rows without a time, or without ceilings.
  public init?(_ row: ResultRow, ceilings: [MachineCeiling]) {
    guard row.status.isMeasured, (row.time.median ?? 0) > 0 else { return nil }
    let peak = row.arithmetic == .bfloat16 ? Ceiling.bfloat16 : .arithmetic
    let arithmetic = row.work.percentOfPeak.map { $0 / 100 }
    let memory = row.readShare(ceilings: ceilings)
    switch (arithmetic, memory) {
    case (let arithmetic?, let memory?) where memory > arithmetic:
      (ceiling, share) = (.memory, memory)
    case (let arithmetic?, _): (ceiling, share) = (peak, arithmetic)
    case (nil, let memory?): (ceiling, share) = (.memory, memory)
    case (nil, nil): return nil
    }
  }

  /// `fma 91%`.
  public var description: String { "\(ceiling.rawValue) \(Int((100 * share).rounded()))%" }
}

extension ResultRow {
  /// 10^9 bytes a second at the median time, counting every byte that must move once; nil for rows
  /// without a time.
  public var gigabytesPerSecond: Double? {
    guard status.isMeasured, let median = time.median, median > 0, let bytes = work.minimumBytes
    else { return nil }
    return Double(bytes) / median / 1e9
  }

  /// The same over the read bandwidth that was measured with the row's threads, 0 to 1 and above
  /// where the data came from caches; nil where either is not known.
  public func readShare(ceilings: [MachineCeiling]) -> Double? {
    guard let rate = gigabytesPerSecond, let ceiling = Self.bandwidth(of: placement, n: n, ceilings)
    else { return nil }
    return rate / ceiling
  }

  /// The read bandwidth of a placement in GB/s: of a size, where it was read between the rounds of
  /// that size, else the median over all sizes.
  static func bandwidth(
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
