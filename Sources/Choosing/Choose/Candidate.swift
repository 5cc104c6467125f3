import Measuring
import Records
import Statistics
import Units

/// A strategy as it was measured for a choice.
public struct Candidate: Codable, Equatable, Sendable {
  /// With its parameters: `window(512)`.
  public let strategy: String
  /// exact, restricted or different.
  public let operatorClass: String
  /// How its measurement ended.
  public let status: Status
  /// Why it ended so, with the numbers; empty when there is nothing to say.
  public let reason: String
  /// The median time of a run; nil when it was not measured.
  public let seconds: Double?
  /// What a run would take by its counted work, at the rate that its kind was measured at; nil where
  /// that was not asked.
  public let predictedSeconds: Double?
  /// The 95% interval of that median.
  public let secondsInterval: [Double]?
  /// How many runs were timed.
  public let samples: Int
  /// Relative L2 distance from full softmax attention on the checked rows; nil where there is none.
  public let relativeError: Double?
  /// What that distance is not above over all rows, with 99% confidence; the distance itself where
  /// all rows were checked.
  public let relativeErrorUpper: Double?
  /// The same limit for each query head.
  public let headErrorsUpper: [Double]?
  /// How many rows were checked.
  public let rowsChecked: Int?
  /// How many rows there are.
  public let rows: Int?
  /// How many more were looked at on which full attention is not finite.
  public let rowsUndefined: Int?
  /// Tensors and workspace together.
  public let memoryBytes: Int?
  /// The part of it that the strategy allocates.
  public let workspaceBytes: Int?
  /// (query, key) pairs scored, over all heads and batches.
  public let pairs: Int?
  /// Percent of the FMA peak.
  public let percentOfPeak: Double?
  /// Of a restricted strategy the mean share of full attention's mass on the keys that it keeps, over the
  /// checked rows of the cell.
  public let massKept: Double?
  /// Likewise the mean share of the true top keys, as many as it keeps, that it keeps.
  public let topKeysFound: Double?
  /// The mean mass of as many keys of each row, the best ones: that of `topk` with the same budget.
  public let bestMass: Double?
  /// The share of what these hold beyond keys drawn by lot that the keys kept hold.
  public let gainRealised: Double?
  /// What is certain about the error over all rows; nil where it was not worked out.
  public var certificate: MassCertificate?
  /// The share of needles found over all distances; nil where none were planted.
  public var foundShare: Double?

  /// The reason of one that was timed and whose output nobody has looked at yet.
  public static let unchecked = "not checked yet"

  /// The figures of a row of a sweep.
  ///
  /// - Parameters:
  ///   - errors: nil for those of the row's own sampled rows.
  ///   - predictedSeconds: of one that was not run.
  public init(
    _ row: ResultRow, errors: HeadErrors? = nil, predictedSeconds: Double? = nil
  ) {
    self.predictedSeconds = predictedSeconds
    let parameters = row.strategy.parameters
    strategy = parameters.isEmpty ? row.strategy.name : "\(row.strategy.name)(\(parameters))"
    operatorClass = row.strategy.classification
    status = row.status
    reason = row.reason
    samples = row.time.samples
    seconds = row.status.isMeasured ? row.time.median : nil
    if row.status.isMeasured, let lower = row.time.intervalLower,
      let upper = row.time.intervalUpper
    {
      secondsInterval = [lower, upper]
    } else {
      secondsInterval = nil
    }
    // A distance that is not finite is none: the output is not finite where full attention is, and
    // right by the strategy's own definition.
    func known(_ error: Double?) -> Double? { error.flatMap { $0.isFinite ? $0 : nil } }
    relativeError = known(errors.map(\.whole.value) ?? row.accuracy.relativeL2)
    relativeErrorUpper = known(errors.map(\.whole.upper) ?? row.accuracy.relativeL2)
    let heads = errors?.heads.map(\.upper)
    headErrorsUpper = heads.flatMap { $0.allSatisfy(\.isFinite) ? $0 : nil }
    rowsChecked = errors?.rowsChecked ?? row.accuracy.rowsChecked
    rows = errors?.rows
    rowsUndefined = errors?.rowsUndefined
    workspaceBytes = row.work.workspaceBytes
    pairs = row.work.pairs
    percentOfPeak = row.work.percentOfPeak
    massKept = row.accuracy.massKept
    topKeysFound = row.accuracy.topKeysFound
    bestMass = row.accuracy.bestMass
    gainRealised = row.accuracy.gainRealised
    if let tensors = row.work.minimumBytes, let workspace = row.work.workspaceBytes {
      let (sum, overflow) = tensors.addingReportingOverflow(workspace)
      memoryBytes = overflow ? nil : sum
    } else {
      memoryBytes = nil
    }
  }

  private enum CodingKeys: String, CodingKey {
    case strategy
    case operatorClass = "class"
    case status
    case reason
    case seconds = "time_median_s"
    case predictedSeconds = "predicted_time_s"
    case secondsInterval = "time_ci95_s"
    case samples
    case relativeError = "rel_l2_error"
    case relativeErrorUpper = "rel_l2_error_upper"
    case headErrorsUpper = "head_rel_l2_error_upper"
    case rowsChecked = "error_rows_checked"
    case rows = "rows"
    case rowsUndefined = "rows_undefined"
    case memoryBytes = "memory_bytes"
    case workspaceBytes = "workspace_bytes"
    case pairs
    case percentOfPeak = "pct_of_peak"
    case certificate
    case foundShare = "retrieval_found_share"
    case massKept = "mass_kept"
    case topKeysFound = "top_keys_found"
    case bestMass = "best_mass"
    case gainRealised = "gain_realised"
  }
}
