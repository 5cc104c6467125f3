import AttentionBench
import Testing

@Suite("Result rows")
struct ResultRowTests {
  @Test("The header is the published one, in its order")
  func header() {
    #expect(
      ResultRow.header.joined(separator: ", ")
        == """
        schema_version, run_id, cell_id, strategy, params, class, batch, heads, kv_heads, n_q, \
        n_kv, head_dim, value_dim, dtype, causal, threads, bind, status, reason, samples, \
        time_median_s, time_min_s, time_p25_s, time_p75_s, time_ci95_lo_s, time_ci95_hi_s, \
        cpu_time_s, pairs, flops, gflop_per_s, pct_of_peak, bytes_min, workspace_bytes, \
        peak_rss_delta_bytes, rel_l2_error, max_abs_error, error_rows_checked, \
        oracle_rel_l2_error, steal_pct, invol_ctx_switches, blas_core, isa, n, arithmetic, pass, \
        ranks, blas_pct_of_peak, mass_kept, top_keys_found, best_mass, gain_realised
        """)
  }

  @Test("Every cell of a measured row stands in its own column")
  func cells() {
    var row = ResultRow.measured(n: 2000)
    row.shape.kvHeads = 2
    row.shape.valueDimension = 32
    row.shape.keyLength = 3000
    let cells = Dictionary(uniqueKeysWithValues: zip(ResultRow.header, row.fields))
    #expect(cells["schema_version"] == "1")
    #expect(cells["kv_heads"] == "2")
    #expect(cells["n_q"] == "2000")
    #expect(cells["n_kv"] == "3000")
    #expect(cells["value_dim"] == "32")
    #expect(cells["causal"] == "false")
    #expect(cells["status"] == "ok")
    #expect(cells["samples"] == "3")
    #expect(cells["time_median_s"] == "0.25")
    #expect(cells["rel_l2_error"] == "3e-07")
    #expect(cells["isa"] == "avx512")
  }

  @Test("A figure that was not taken is an empty cell, not a 0")
  func empty() {
    let row = ResultRow.measured(status: .skippedMemory, reason: "needs 40 GB")
    let cells = Dictionary(uniqueKeysWithValues: zip(ResultRow.header, row.fields))
    #expect(cells["time_median_s"]?.isEmpty == true)
    #expect(cells["flops"]?.isEmpty == true)
    #expect(cells["samples"] == "0")
    #expect(cells["status"] == "skipped_memory")
  }

  @Test("Files of earlier versions have no swept size: the longer sequence stands for it")
  func withoutSize() throws {
    var row = ResultRow.measured(n: 2000)
    row.shape.keyLength = 3000
    row.sweptSize = 2000
    var cells = Dictionary(uniqueKeysWithValues: zip(ResultRow.header, row.fields))
    #expect(cells["n"] == "2000")
    #expect(try ResultRow(cells: cells).n == 2000)
    cells["n"] = nil
    cells["blas_pct_of_peak"] = nil
    #expect(try ResultRow(cells: cells).n == 3000)
  }

  @Test("Statuses have their published names")
  func statuses() {
    #expect(
      Status.allCases.map(\.rawValue) == [
        "ok", "low_samples", "noisy", "skipped_time", "skipped_memory", "timeout", "error", "wrong",
        "interrupted",
      ])
    #expect(Status.allCases.filter(\.isMeasured) == [.ok, .lowSamples, .noisy])
  }

  @Test("A row survives its cells, whatever its status", arguments: Status.allCases)
  func roundTrip(status: Status) throws {
    let row = ResultRow.measured(status: status, reason: "because")
    let cells = Dictionary(uniqueKeysWithValues: zip(ResultRow.header, row.fields))
    #expect(try ResultRow(cells: cells) == row)
  }

  @Test("A cell that does not fit its column is named")
  func misfit() {
    var cells = Dictionary(
      uniqueKeysWithValues: zip(ResultRow.header, ResultRow.measured().fields))
    cells["threads"] = "two"
    let error = #expect(throws: CSVCellError.self) { try ResultRow(cells: cells) }
    #expect(error?.column == "threads")
    #expect(error?.text == "two")
  }
}
