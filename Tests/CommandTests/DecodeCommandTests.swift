import AttentionBench
import Foundation
import Testing

/// sweep --decode: the sizes are numbers of keys.
@Suite("Decoding sweeps")
struct DecodeCommandTests {
  private func sweep(_ arguments: [String]) throws -> (AttnbenchProcess.Result, [ResultRow]) {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try SweepProcess.finish(
      ["sweep", "--heads", "4", "--kv-heads", "2", "--head-dim", "16", "--threads", "1"]
        + ["--strategy", "flash,full,linear", "--rel-ci", "90%"] + arguments,
      in: directory.root)
    guard result.code == 0 else { return (result, []) }
    return (result, try RunDirectory.readResults(in: directory.path("out")).rows)
  }

  @Test("few queries read n keys", arguments: [(["--decode"], 1), (["--decode", "4"], 4)])
  func keysAreSwept(_ flag: [String], _ queries: Int) throws {
    let (result, rows) = try sweep(["--n", "3,40,64"] + flag)
    #expect(result.code == 0, "\(result.error)")
    #expect(rows.count == 9)
    for row in rows {
      #expect(row.shape.queryLength == queries && row.shape.keyLength == row.n)
      #expect(row.pass == (row.n > queries ? .decode : .forward))
      if row.strategy.name == "linear", row.pass == .decode { continue }
      #expect(row.work.minimumBytes == 4 * 16 * 2 * (4 * queries + 2 * row.n))
    }
    #expect(Set(rows.map(\.n)) == [3, 40, 64])
    #expect(result.output.contains("GB/s") && result.output.contains("% of read"))
    #expect(!result.output.contains("GFLOP/s"))
    #expect(
      result.error.contains("3, 40, 64 keys, read by \(queries == 1 ? "1 query" : "4 queries")"))
  }

  @Test("where a state is kept, a step costs the same whatever came before")
  func statesAreKept() throws {
    let strategies = "linear,linear(identity),gated,delta,gated_delta(channel),retention,ssd"
    for queries in [1, 3] {
      let (result, rows) = try sweep([
        "--n", "40,1000", "--decode", "\(queries)", "--strategy", strategies,
      ])
      #expect(result.code == 0, "\(result.error)")
      #expect(rows.count == 14)
      #expect(rows.allSatisfy { $0.status.isMeasured && $0.pass == .decode }, "\(result.output)")
      for name in Set(rows.map(\.strategy.text)) {
        let own = rows.filter { $0.strategy.text == name }
        #expect(own.count == 2)
        let bytes = Set(own.map(\.work.minimumBytes))
        #expect(bytes.count == 1 && Set(own.map(\.work.workspaceBytes)).count == 1)
        // The state is read and written: d dV numbers for each of two key/value heads.
        #expect(bytes.first.map { ($0 ?? 0) >= 2 * 4 * 2 * 16 * 16 } == true)
      }
    }
  }

  @Test("an index is decoded step by step: its keys are kept beside the cache")
  func operandsOfKeys() throws {
    let stored = ["--batch", "2", "--dtype", "f16"]
    for (queries, options) in [(1, []), (3, ["--causal"]), (1, stored)] {
      let strategies = ["--strategy", "indexer(8),nsa(8, 4, 16)"]
      let (result, rows) = try sweep(
        ["--n", "40,1000", "--decode", "\(queries)"] + strategies + options)
      #expect(result.code == 0, "\(result.error)")
      #expect(rows.count == 4)
      for row in rows {
        #expect(row.status.isMeasured && row.pass == .decode, "\(row.reason)")
        #expect(row.accuracy.oracleRelativeL2 ?? 1 < (options.isEmpty ? 1e-5 : 1e-3))
        // Keys and values of two heads, and a key of the index.
        let bytes = row.n * (options.contains("f16") ? 2 * 2 * 2 : 4 * 2) * (16 + 16)
        let isIndex = row.strategy.name == "indexer"
        #expect(!isIndex || row.work.workspaceBytes ?? 0 >= bytes + row.n * 4 * 32, "\(row.work)")
      }
    }
  }

  @Test("what reading takes is predicted before anything has run")
  func dryRun() throws {
    let result = try AttnbenchProcess.run(
      ["sweep", "--decode", "--n", "100k", "--strategy", "flash", "--threads", "1", "--dry-run"]
        + ["--cell-timeout", "1us"])
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("assuming 80% of the read bandwidth of "))
    #expect(result.output.contains("whichever takes longer"))
  }

  @Test("with a fixed number of keys the queries are the sizes")
  func queriesAreSwept() throws {
    let (result, rows) = try sweep(["--n", "8,16", "--n-kv", "50"])
    #expect(result.code == 0, "\(result.error)")
    #expect(rows.allSatisfy { $0.n == $0.shape.queryLength && $0.shape.keyLength == 50 })
    #expect(Set(rows.map(\.n)) == [8, 16])
  }
}
