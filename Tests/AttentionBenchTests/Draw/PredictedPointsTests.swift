import AttentionBench
import Foundation
import TensorFiles
import Testing

@Suite("Predicted points")
struct PredictedPointsTests {
  private var rows: [ResultRow] {
    var sweep = ScalingFixture()
    sweep.curve("full", sizes: [1000, 2000, 4000]) { 1e-9 * $0 * $0 }
    sweep.skip("full", n: 8000)
    sweep.skip("full", n: 16000, status: .skippedMemory)
    sweep.curve("flash", sizes: [1000, 2000, 4000]) { 5e-10 * $0 * $0 }
    return sweep.rows
  }

  @Test("Skipped sizes are predicted on the scaling picture, apart from the measured ones")
  func figure() throws {
    let figure = try PlotKind.scaling.figure(rows: rows)
    let exact = try #require(figure.curves.first)
    #expect(exact.points.map(\.n) == [1000, 2000, 4000])
    #expect(exact.predicted.map(\.n) == [8000, 16000])
    #expect(abs(exact.predicted[1].value - 0.256) < 1e-12)
    #expect(figure.curves[1].predicted.isEmpty)
    #expect(figure.sizes == [1000, 2000, 4000, 8000, 16000])
    #expect(
      figure.notes.last
        == "predicted times were not measured; their bars are 95% prediction intervals")
    #expect(try PlotKind.efficiency.figure(rows: rows).curves.allSatisfy(\.predicted.isEmpty))
  }

  @Test("They are dotted and open, on a line from the last measured point, within the frame")
  func script() throws {
    let figure = try PlotKind.scaling.figure(rows: rows)
    let text = GnuplotScript(figure, formats: [.svg]).text
    let lines = text.split(separator: "\n").map(String.init)
    let start = try #require(lines.firstIndex(of: "$predicted0 << EOD"))
    #expect(lines[start + 2].hasPrefix("4000 0.016"))
    #expect(lines[start + 3].hasPrefix("8000 ") && lines[start + 4].hasPrefix("16000 "))
    #expect(!text.contains("$predicted1"))
    #expect(text.contains("dashtype (2,4)") && text.contains("title 'predicted'"))
    let range = try #require(lines.first { $0.hasPrefix("set yrange [") })
    let top = try #require(range.split(separator: ":").last.flatMap { Double($0.dropLast()) })
    #expect(top > 0.256)
  }

  @Test("gnuplot draws them in pictures and in characters")
  func draws() throws {
    try withTemporaryDirectory { directory in
      let figure = try PlotKind.scaling.figure(rows: rows)
      let files = try Gnuplot().draw(figure, formats: [.svg, .png], in: directory)
      try OutputTransaction(files).commit()
      #expect(try String(contentsOfFile: files[1].path, encoding: .utf8).contains(">predicted<"))
      let text = try Gnuplot().text(figure, columns: 90, lines: 24)
      #expect(text.contains("predicted, not measured    ?"))
    }
  }

  @Test("Two sizes have no exponent in the legend")
  func fewSizes() throws {
    let two = rows.filter { $0.shape.queryLength < 3000 }
    let curves = try PlotKind.scaling.figure(rows: two).curves
    #expect(curves.map(\.exponent) == [nil, nil])
  }
}
