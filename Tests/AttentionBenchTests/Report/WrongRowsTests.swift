import Attention
import AttentionBench
import Foundation
import Testing

/// Rows of releases that did not hold every cell to its definition: their status says measured, and their
/// error that they were wrong.
@Suite("Rows whose error says that they are wrong")
struct WrongRowsTests {
  /// The same sweep twice: with cells that are wrong by their error, and by their status.
  private static func sweeps(error: Double = 0.3) -> (byError: [ResultRow], byStatus: [ResultRow]) {
    var byError = SyntheticSweep.rows()
    var byStatus = byError
    for index in byError.indices
    where ["flash", "window"].contains(byError[index].strategy.name) && byError[index].n <= 8000 {
      byError[index].accuracy.oracleRelativeL2 = error
      byStatus[index].status = .wrong
    }
    return (byError, byStatus)
  }

  @Test("are in no picture", arguments: PlotKind.allCases)
  func pictures(_ kind: PlotKind) throws {
    let (byError, byStatus) = Self.sweeps()
    func script(_ rows: [ResultRow]) throws -> String {
      GnuplotScript(try kind.figure(rows: rows), formats: [.svg]).text
    }
    #expect(try script(byError) == script(byStatus))
    #expect(try script(byError) != script(SyntheticSweep.rows()))
  }

  @Test("are in no fit, crossover or prediction")
  func fits() throws {
    let (byError, byStatus) = Self.sweeps()
    let analysis = ScalingAnalysis(rows: byError, samples: [])
    #expect(analysis == ScalingAnalysis(rows: byStatus, samples: []))
    #expect(analysis != ScalingAnalysis(rows: SyntheticSweep.rows(), samples: []))
  }

  @Test("are no choice of a page, and it says why", arguments: [0.3, .nan, .infinity])
  func page(error: Double) throws {
    func html(_ rows: [ResultRow]) throws -> String {
      try withTemporaryDirectory { directory in
        let run = try RunDirectory(path: directory, resuming: false)
        for row in rows { try run.append(row) }
        return try ReportPage(SweepFolder(reading: directory)).html
      }
    }
    var right = ResultRow.measured("full", seconds: 2)
    var wrong = ResultRow.measured("flash", seconds: 0.1)
    wrong.accuracy.oracleRelativeL2 = error
    let page = try html([right, wrong])
    #expect(page.contains("the fastest exact attention is <b>full</b>"), "\(page)")
    #expect(page.contains("error against its own definition"))
    #expect(page.contains("called it ok"))
    right.status = .noisy
    #expect(try html([right]).contains("called it") == false)
  }

  /// A row that is wrong or not by its error.
  private struct Case {
    let error: Double?
    let n: Int
    let type: String
    let arithmetic: Arithmetic
    let isWrong: Bool

    init(
      _ error: Double?, _ n: Int, _ type: String = "fp32", _ arithmetic: Arithmetic = .float32,
      isWrong: Bool
    ) {
      (self.error, self.n, self.type) = (error, n, type)
      (self.arithmetic, self.isWrong) = (arithmetic, isWrong)
    }
  }

  private static let cases: [Case] = [
    Case(nil, 1000, isWrong: false), Case(3e-7, 1000, isWrong: false),
    Case(1e-5, 1000, isWrong: false), Case(3.5e-6, 32_768, isWrong: false),
    Case(1e-3, 1000, isWrong: true), Case(1e-3, 100_000, isWrong: true),
    Case(.nan, 1000, isWrong: true), Case(.infinity, 1000, "bf16", isWrong: true),
    Case(5.3e-3, 8192, "bf16", isWrong: false), Case(5e-3, 8192, "fp32", .bfloat16, isWrong: false),
    Case(0.1, 8192, "bf16", isWrong: true), Case(2.1e-4, 8192, "fp16", isWrong: false),
    Case(1e-2, 8192, "fp16 on int8-token", isWrong: true),
  ]

  @Test("are told from those that rounding explains")
  func rule() {
    for one in Self.cases {
      var row = ResultRow.measured(n: one.n)
      row.shape.elementType = one.type
      row.arithmetic = one.arithmetic
      row.accuracy.oracleRelativeL2 = one.error
      let cells = ScalingCurve.curves(rows: [row], samples: []).flatMap { $0.cells }
      #expect(cells.isEmpty == one.isWrong, "\(one)")
    }
  }
}
