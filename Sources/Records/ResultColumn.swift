import Attention
import Statistics
import Units

/// One column of `results.csv` and its place in `ResultRow`: writer and reader share this table,
/// so they cannot disagree.
public struct ResultColumn: Sendable {
  /// The name in the header; names carry their unit and never change.
  public let name: String
  /// What a cell of the column holds, for messages.
  public let expectation: String

  let text: @Sendable (ResultRow) -> String
  let store: @Sendable (String, inout ResultRow) -> Bool

  private init<Field: CSVField>(
    _ name: String, _ path: WritableKeyPath<ResultRow, Field> & Sendable
  ) {
    self.name = name
    expectation = Field.csvExpectation
    text = { row in row[keyPath: path].csvText }
    store = { text, row in
      guard let value = Field(csvText: text) else { return false }
      row[keyPath: path] = value
      return true
    }
  }

  /// Every column, in file order.
  public static let all: [ResultColumn] = [
    ResultColumn("schema_version", \.schemaVersion),
    ResultColumn("run_id", \.runID),
    ResultColumn("cell_id", \.cellID),
    ResultColumn("strategy", \.strategy.name),
    ResultColumn("params", \.strategy.parameters),
    ResultColumn("class", \.strategy.classification),
    ResultColumn("batch", \.shape.batch),
    ResultColumn("heads", \.shape.heads),
    ResultColumn("kv_heads", \.shape.kvHeads),
    ResultColumn("n_q", \.shape.queryLength),
    ResultColumn("n_kv", \.shape.keyLength),
    ResultColumn("head_dim", \.shape.headDimension),
    ResultColumn("value_dim", \.shape.valueDimension),
    ResultColumn("dtype", \.shape.elementType),
    ResultColumn("causal", \.shape.isCausal),
    ResultColumn("threads", \.placement.threads),
    ResultColumn("bind", \.placement.bind),
    ResultColumn("status", \.status),
    ResultColumn("reason", \.reason),
    ResultColumn("samples", \.time.samples),
    ResultColumn("time_median_s", \.time.median),
    ResultColumn("time_min_s", \.time.minimum),
    ResultColumn("time_p25_s", \.time.lowerQuartile),
    ResultColumn("time_p75_s", \.time.upperQuartile),
    ResultColumn("time_ci95_lo_s", \.time.intervalLower),
    ResultColumn("time_ci95_hi_s", \.time.intervalUpper),
    ResultColumn("cpu_time_s", \.time.cpuTime),
    ResultColumn("pairs", \.work.pairs),
    ResultColumn("flops", \.work.flops),
    ResultColumn("gflop_per_s", \.work.gflopPerSecond),
    ResultColumn("pct_of_peak", \.work.percentOfPeak),
    ResultColumn("bytes_min", \.work.minimumBytes),
    ResultColumn("workspace_bytes", \.work.workspaceBytes),
    ResultColumn("peak_rss_delta_bytes", \.work.peakRSSDeltaBytes),
    ResultColumn("rel_l2_error", \.accuracy.relativeL2),
    ResultColumn("max_abs_error", \.accuracy.maximumAbsolute),
    ResultColumn("error_rows_checked", \.accuracy.rowsChecked),
    ResultColumn("oracle_rel_l2_error", \.accuracy.oracleRelativeL2),
    ResultColumn("steal_pct", \.disturbance.stealPercent),
    ResultColumn("invol_ctx_switches", \.disturbance.involuntaryContextSwitches),
    ResultColumn("blas_core", \.build.blasCore),
    ResultColumn("isa", \.build.isa),
    ResultColumn("n", \.sweptSize),
    ResultColumn("arithmetic", \.arithmetic),
    ResultColumn("pass", \.pass),
    ResultColumn("ranks", \.ranks),
    ResultColumn("blas_pct_of_peak", \.work.blasPercentOfPeak),
    ResultColumn("mass_kept", \.accuracy.massKept),
    ResultColumn("top_keys_found", \.accuracy.topKeysFound),
    ResultColumn("best_mass", \.accuracy.bestMass),
    ResultColumn("gain_realised", \.accuracy.gainRealised),
  ]
}
