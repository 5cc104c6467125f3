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
  /// The 95% interval of that median.
  public let secondsInterval: [Double]?
  /// Relative L2 distance from full softmax attention on the checked rows.
  public let relativeError: Double?
  /// How many rows were checked.
  public let rowsChecked: Int?
  /// Tensors and workspace together.
  public let memoryBytes: Int?
  /// The part of it that the strategy allocates.
  public let workspaceBytes: Int?
  /// Percent of the FMA peak.
  public let percentOfPeak: Double?
  /// What is certain about the error over all rows; nil where it was not worked out.
  public var certificate: MassCertificate?
  /// The share of needles found over all distances; nil where none were planted.
  public var foundShare: Double?

  /// The figures of a row of a sweep.
  public init(_ row: ResultRow) {
    let parameters = row.strategy.parameters
    strategy = parameters.isEmpty ? row.strategy.name : "\(row.strategy.name)(\(parameters))"
    operatorClass = row.strategy.classification
    status = row.status
    reason = row.reason
    seconds = row.status.isMeasured ? row.time.median : nil
    if row.status.isMeasured, let lower = row.time.intervalLower,
      let upper = row.time.intervalUpper
    {
      secondsInterval = [lower, upper]
    } else {
      secondsInterval = nil
    }
    relativeError = row.accuracy.relativeL2
    rowsChecked = row.accuracy.rowsChecked
    workspaceBytes = row.work.workspaceBytes
    percentOfPeak = row.work.percentOfPeak
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
    case secondsInterval = "time_ci95_s"
    case relativeError = "rel_l2_error"
    case rowsChecked = "error_rows_checked"
    case memoryBytes = "memory_bytes"
    case workspaceBytes = "workspace_bytes"
    case percentOfPeak = "pct_of_peak"
    case certificate
    case foundShare = "retrieval_found_share"
  }
}
