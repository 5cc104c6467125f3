import AttentionBench
import Foundation
import SystemPackage
import TensorFiles
import Testing

@Suite("Files of exponents, crossovers and predictions")
struct ScalingFilesTests {
  private var sweep: ScalingFixture {
    var sweep = ScalingFixture()
    sweep.curve("flash", sizes: [1000, 2000, 4000]) { $0 * $0 / 1024 }
    sweep.curve("linear", sizes: [1000, 2000, 4000]) { 2 * $0 }
    sweep.skip("flash", n: 8000, status: .skippedMemory)
    return sweep
  }

  private func texts(_ analysis: ScalingAnalysis) throws -> [[String]] {
    try withTemporaryDirectory { directory in
      let files = analysis.files(in: directory)
      try OutputTransaction(files).commit()
      let paths = files.map(\.path)
      let names = ["fits", "slopes", "crossovers", "predictions"]
      #expect(paths == names.map { "\(directory)/\($0).csv" })
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
          == names.map { "\($0).csv" }.sorted())
      return try paths.map { path in
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
      }
    }
  }

  @Test("Every file has its columns, and as many cells in every row")
  func columns() throws {
    let texts = try texts(sweep.analysis)
    let setting = "batch,heads,kv_heads,head_dim,value_dim,dtype,causal,threads,bind"
    #expect(
      texts.map { $0.first ?? "" } == [
        "strategy,class,\(setting),sizes,n_min,n_max,exponent,exponent_ci95_lo,"
          + "exponent_ci95_hi,factor_s,residual_pct,r_squared",
        "strategy,class,\(setting),n_from,n_to,exponent,exponent_ci95_lo,exponent_ci95_hi",
        "faster,faster_class,slower,slower_class,\(setting),outcome,n,n_ci95_lo,n_ci95_hi,"
          + "resamples_pct,sizes,sizes_decided,n_min,n_max",
        "strategy,class,\(setting),n,kind,status,n_from,earlier_errors,predicted_s,"
          + "predicted_pi95_lo_s,predicted_pi95_hi_s,measured_s,error_pct",
      ])
    #expect(texts.map(\.count) == [3, 5, 2, 4])
    for lines in texts {
      let counts = Set(
        lines.map { $0.split(separator: ",", omittingEmptySubsequences: false).count })
      #expect(counts.count == 1)
    }
    let setting1 = "1,4,4,64,64,fp32,false,2,core:0-1"
    #expect(texts[0][1].hasPrefix("flash,exact,\(setting1),3,1000,4000,2"))
    #expect(texts[1][1].hasPrefix("flash,exact,\(setting1),1000,2000,2"))
    #expect(texts[2][1].hasPrefix("linear,exact,flash,exact,\(setting1),crossing,20"))
    #expect(texts[3][2].hasPrefix("flash,exact,\(setting1),8000,predicted,skipped_memory,4000,2,"))
    #expect(texts[3][2].hasSuffix(",,"))
  }

  @Test("The same sweep gives the same bytes, in whatever order its rows come")
  func stable() throws {
    var generator = SeededGenerator(seed: 1)
    var noisy = ScalingFixture()
    noisy.noisyCurve("flash", using: &generator) { $0 * $0 }
    noisy.noisyCurve("linear", using: &generator) { 3000 * $0 }
    noisy.skip("flash", n: 64000)
    let first = try texts(noisy.analysis)
    #expect(try texts(noisy.analysis) == first)
    let shuffled = ScalingAnalysis(
      rows: noisy.rows.shuffled(using: &generator), samples: noisy.samples)
    #expect(try texts(shuffled) == first)
  }

  @Test("A sweep without a measured cell gives tables without figures")
  func empty() throws {
    #expect(try texts(ScalingAnalysis(rows: [], samples: [])).map(\.count) == [1, 1, 1, 1])
    var skipped = ScalingFixture()
    skipped.skip("full", n: 1000)
    let lines = try texts(skipped.analysis)
    #expect(lines.map(\.count) == [2, 1, 1, 1])
    #expect(lines[0][1] == "full,exact,1,4,4,64,64,fp32,false,2,core:0-1,0,,,,,,,,")
  }

  @Test("A directory without samples.csv has no samples, and a damaged one is an error")
  func readSamples() throws {
    try withTemporaryDirectory { directory in
      #expect(try RunDirectory.readSamples(in: directory).rows.isEmpty)
      let path = directory + "/samples.csv"
      try Data("run_id,cell_id\nr1,c1\n".utf8).write(to: URL(fileURLWithPath: path))
      #expect(throws: RecordError.missingColumn(path: path, column: "sample_index")) {
        try RunDirectory.readSamples(in: directory)
      }
    }
  }
}
