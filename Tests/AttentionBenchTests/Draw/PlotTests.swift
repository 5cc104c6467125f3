import AttentionBench
import Foundation
import TensorFiles
import Testing

@Suite("Figures")
struct FigureTests {
  @Test("Every kind has a curve for each strategy, exact first and classes together")
  func curves() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows(), machine: "Box")
    #expect(
      figure.curves.map(\.label) == [
        "full", "flash(96,128)", "strided", "window(512)", "linear(elu)",
      ])
    #expect(
      figure.curves.map(\.group) == [
        "exact", "exact", "restricted softmax", "restricted softmax", "different operator",
      ])
    #expect(
      figure.subtitle == "Box · avx512 · batch 1 · 4 heads · d = 64 · fp32 · not causal · 2 threads"
    )
    #expect(figure.curves[1].points.map(\.n) == SyntheticSweep.sizes)
  }

  @Test("Exponents are those the times were made with")
  func exponents() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows())
    let exponents = figure.curves.compactMap(\.exponent)
    #expect(exponents.count == 5)
    for (found, expected) in zip(exponents, [2, 2, 1.5, 1, 1]) {
      #expect(abs(found - expected) < 0.03)
    }
  }

  @Test("The n² guide lies above every point and the n guide below every point")
  func guides() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows())
    let points = figure.curves.flatMap(\.points)
    #expect(figure.guides.map(\.power) == [2, 1])
    for point in points {
      let n = Double(point.n)
      #expect(figure.guides[0].factor * n * n > point.high)
      #expect(figure.guides[1].factor * n < point.low)
    }
  }

  @Test("What is not drawn is said, once")
  func notes() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows(threads: [1, 2]))
    #expect(
      figure.notes == [
        "full: 64k, 100k skipped (memory), 32k skipped (time)", "strided: 100k with few samples",
        "window(512): 1k noisy",
      ])
  }

  @Test("Bars that are less than 95% sure say so")
  func fewSamples() throws {
    let figure = try PlotKind.scaling.figure(rows: [.measured()])
    #expect(
      figure.notes == ["bars over fewer than 6 samples span all of them (3: 75.0% sure, not 95%)"])
  }

  @Test("Only measured rows are drawn, and the later of two rows of a cell counts")
  func measuredOnly() throws {
    var rows = Status.allCases.enumerated().map { index, status in
      ResultRow.measured(n: 1000 * (index + 1), status: status)
    }
    rows.append(.measured(n: 9000, seconds: 7))
    let figure = try PlotKind.scaling.figure(rows: rows)
    #expect(figure.sizes == [1000, 2000, 3000, 9000])
    #expect(figure.curves[0].points.last?.value == 7)
    #expect(figure.notes.contains { $0.contains("7k failed") && $0.contains("8k wrong") })
    #expect(!figure.notes.contains { $0.contains("interrupted") })
  }

  @Test("Thread counts are told apart by name and dash, and share a colour and a shape")
  func threads() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows(threads: [1, 2]))
    #expect(figure.curves.count == 10)
    #expect(figure.curves[2].label == "flash(96,128), 2 threads")
    #expect(figure.curves[3].label == "flash(96,128), 1 thread")
    #expect(figure.curves[2].style == CurveStyle(strategy: 1, variant: 0))
    #expect(figure.curves[3].style == CurveStyle(strategy: 1, variant: 1))
  }

  @Test("One strategy with two parameters at one size is two curves")
  func parameters() throws {
    let rows = ["256", "512"].flatMap { parameters in
      [1000, 2000].map { n in
        var row = ResultRow.measured("window", n: n, classification: "restricted softmax")
        row.strategy.parameters = parameters
        return row
      }
    }
    let figure = try PlotKind.scaling.figure(rows: rows)
    #expect(figure.curves.map(\.label) == ["window(256)", "window(512)"])
  }

  @Test("Names of points that would touch are left out, the ends of curves last")
  func pointLabels() throws {
    func points(_ xs: [Double]) -> [Figure.Point] {
      xs.enumerated().map { index, x in
        var point = Figure.Point(n: index, value: 1)
        (point.place, point.label) = (x, "\(index)k")
        return point
      }
    }
    var figure = try PlotKind.scaling.figure(rows: [.measured("full"), .measured("flash")])
    figure.curves[0].points = points([0, 10, 40, 80])
    figure.curves[1].points = points([78])
    let labels = PointLabels(figure, width: 5, height: 10) { ($0.place ?? 0, $0.value) }
    // 1k touches 0k, which ends a curve; the second curve's only point touches the first one's last.
    #expect(labels.placed.map(\.text) == ["3k", "0k", "2k"])
    #expect(labels.placed.allSatisfy { $0.curve == 0 })
  }

  @Test("Twelve strategies have colours of their own, and no two of 72 look alike")
  func manyStyles() {
    let styles = (0..<72).map { CurveStyle(strategy: $0, variant: 0) }
    #expect(Set(styles.prefix(12).map(\.color)).count == 12)
    #expect(Set(styles.map { "\($0.color) \($0.pointType)" }).count == 72)
  }

  @Test("A picture grows with its legend, so that no name lies on another or on a note")
  func tallLegend() throws {
    let rows = (0..<12).flatMap { index in
      [1, 2].map { threads in
        ResultRow.measured("s\(index)", threads: threads, classification: "exact")
      }
    }
    let few = GnuplotScript(
      try PlotKind.scaling.figure(rows: SyntheticSweep.rows()), formats: [.svg, .png]
    ).text
    #expect(few.contains("svg enhanced size 900,600") && few.contains("size 1800,1200"))
    let figure = try PlotKind.scaling.figure(rows: rows)
    #expect(figure.curves.count == 24)
    let svg = String(
      decoding: try withTemporaryDirectory { directory in
        try OutputTransaction(Gnuplot().draw(figure, formats: [.svg], in: directory)).commit()
        return try Data(contentsOf: URL(fileURLWithPath: "\(directory)/scaling.svg"))
      }, as: UTF8.self)
    let height = try #require(
      svg.firstMatch(of: /viewBox="0 0 900 (\d+)"/).flatMap { Double($0.1) })
    // The places of the names in the legend, in the order of the file.
    let names = svg.matches(
      of:
        /translate\([\d.]+,([\d.]+)\)[^>]*text-anchor="start">\s*<text><tspan[^>]*>s\d+, \d thread/
    ).compactMap { Double($0.1) }.sorted()
    #expect(names.count == 24, "\(svg.prefix(4000))")
    for (one, next) in zip(names, names.dropFirst()) { #expect(next - one >= 15) }
    #expect((names.last ?? 0) < height - 40, "above the notes")
  }

  @Test("A picture says which tensors it is of")
  func inputs() throws {
    let figure = try PlotKind.scaling.figure(
      rows: SyntheticSweep.rows(), machine: "Box", inputs: "runs/qkv.safetensors:layer3")
    #expect(figure.subtitle.hasPrefix("runs/qkv.safetensors:layer3 · Box · "))
    let long = String(repeating: "a directory/", count: 12) + "qkv.safetensors:layer3"
    let wide = try PlotKind.scaling.figure(rows: [.measured()], machine: "Box", inputs: long)
    let script = GnuplotScript(wide, formats: [.svg]).text
    let lines = script.matches(
      of: /set label '([^']*)' at screen 0.02, screen [\d.]+ left font ',13/)
    #expect(lines.count >= 2 && lines.allSatisfy { $0.1.count <= 120 })
  }

  @Test("Shapes that differ are told apart by what differs")
  func shapes() throws {
    let rows = [64, 128].map { dimension in
      var row = ResultRow.measured()
      row.shape.headDimension = dimension
      row.shape.valueDimension = dimension
      return row
    }
    let figure = try PlotKind.scaling.figure(rows: rows)
    #expect(figure.curves.map(\.label).sorted() == ["flash, d = 128", "flash, d = 64"])
    #expect(!figure.subtitle.contains("d = "))
  }

  @Test("A speed-up is the ratio of medians with the widest interval, where both were measured")
  func speedup() throws {
    let rows = [
      ResultRow.measured("full", seconds: 4), .measured("window", seconds: 2),
      .measured("window", n: 2000, seconds: 8), .measured("window", seconds: 3, threads: 1),
      .measured("full", n: 2000, status: .skippedTime),
    ]
    let figure = try PlotKind.speedup.figure(rows: rows)
    #expect(figure.curves.count == 1)
    let point = try #require(figure.curves.first?.points.first)
    #expect(point.n == 1000 && point.value == 2)
    #expect(abs(point.low - 4 * 0.98 / (2 * 1.03)) < 1e-12)
    #expect(abs(point.high - 4 * 1.03 / (2 * 0.98)) < 1e-12)
    #expect(figure.notes == ["full: 2k skipped (time), so no speed-up there"])
    #expect(figure.yLabel == "time of full / time of strategy")
  }

  @Test("Speed-ups are over flash where it was measured, and the picture says so")
  func speedupOverFlash() throws {
    var products = ResultRow.measured("flash", seconds: 1)
    products.strategy.parameters = "arithmetic: bf16"
    products.arithmetic = .bfloat16
    let rows = [
      ResultRow.measured("full", seconds: 8), .measured("flash", seconds: 2), products,
      .measured("window", seconds: 0.5), .measured("window", n: 2000, seconds: 0.25),
      .measured("flash", n: 2000, seconds: 4), .measured("full", n: 2000, status: .skippedMemory),
    ]
    let figure = try PlotKind.speedup.figure(rows: rows)
    #expect(figure.title == "Times faster than flash")
    #expect(figure.yLabel == "time of flash / time of strategy")
    #expect(figure.guides.map(\.label) == ["as fast as flash"])
    let values = Dictionary(
      uniqueKeysWithValues: figure.curves.map { ($0.label, $0.points.map(\.value)) })
    // `full` no longer cuts the curves off at the sizes where it was skipped.
    #expect(
      values == ["full": [0.25], "flash(arithmetic: bf16)": [2], "window": [4, 16]])
    #expect(figure.notes.isEmpty)
    // Nothing to hold against flash: full, as before.
    let without = try PlotKind.speedup.figure(
      rows: [rows[0], rows[3], .measured("flash", n: 2000, status: .timeout)])
    #expect(without.yLabel == "time of full / time of strategy")
    #expect(without.curves.map(\.label) == ["window"])
  }

  @Test("Memory shows what was planned and what was measured, without zeros")
  func memory() throws {
    var rows = [ResultRow.measured(n: 1000), .measured(n: 2000), .measured(threads: 1)]
    rows[1].work.peakRSSDeltaBytes = 0
    let figure = try PlotKind.memory.figure(rows: rows)
    #expect(figure.curves.map(\.label) == ["flash", "flash, measured"])
    #expect(figure.curves.map { $0.points.count } == [2, 1])
    #expect(figure.title.hasSuffix("2 threads"))
  }

  @Test("The top of efficiency is the peak", arguments: [(70.0, "0.0:100.0"), (130, "0.0:130.0")])
  func efficiency(percent: Double, range: String) throws {
    var row = ResultRow.measured()
    row.work.percentOfPeak = percent
    row.time.intervalLower = row.time.median
    let figure = try PlotKind.efficiency.figure(rows: [row])
    #expect(GnuplotScript(figure, formats: [.svg]).text.contains("set yrange [\(range)]"))
  }

  @Test("A Pareto figure has a point a cell and joins, size by size, what no other beats")
  func pareto() throws {
    func cell(_ name: String, _ n: Int, _ seconds: Double, _ error: Double) -> ResultRow {
      var row = ResultRow.measured(name, n: n, seconds: seconds)
      row.accuracy.relativeL2 = error
      return row
    }
    let rows = [
      cell("flash", 1000, 2, 4e-7), cell("full", 1000, 3, 2e-7), cell("window", 1000, 1, 0.2),
      cell("fixed", 1000, 1.5, 0.3), cell("linear", 1000, 0.5, 0.9), cell("flash", 2000, 8, 0),
      .measured("window", n: 2000, threads: 1),
    ]
    let figure = try PlotKind.pareto.figure(rows: rows)
    let fronts = figure.curves.filter { $0.mark == .line }
    // exact is slower than flash, and nearer by less than rounding; fixed loses to window in both.
    #expect(fronts.map { $0.points.map(\.place) } == [[0.5, 1, 2], [8]])
    #expect(fronts.map(\.startLabel) == ["1k", "2k"])
    let drawn = figure.curves.filter { $0.mark == .points }
    #expect(drawn.flatMap(\.points).count == 6, "of one thread count only")
    #expect(drawn.allSatisfy { $0.points.allSatisfy { $0.value > 0 } }, "a logarithmic axis")
    // What is rounding stands together, a decade below the smallest error that is more.
    let edge = try #require(figure.edge)
    #expect(abs(edge.value - 0.01) < 1e-12)
    let exact = drawn.filter { ["full", "flash"].contains($0.label) }.flatMap(\.points)
    #expect(exact.count == 3 && exact.allSatisfy { $0.value == edge.value })
    #expect(exact.compactMap(\.atEdge).sorted() == [0, 2e-7, 4e-7])
    #expect(figure.guides.map(\.label) == ["exact (rounding)"])
    #expect(figure.notes.contains { $0.hasPrefix("exact (rounding), at the lower edge") })
    let script = GnuplotScript(figure, formats: [.svg]).text
    #expect(script.contains("set xlabel 'time (median)'"))
    #expect(script.contains("with lines") && script.contains("set label '1k' at 0.5,0.9"))
    #expect(
      script.contains("set ytics ('exact' 0.01, '1e-1' 0.1, '1e0' 1.0, '1e1' 10.0)"), "\(script)")
    #expect(script.contains("set yrange [0.004:10.0]"), "\(script)")
    #expect(script.contains("set label 'exact (rounding)'"))
  }

  @Test("Errors of exact strategies alone have an axis, and without them it has no edge")
  func paretoOfOneKind() throws {
    var row = ResultRow.measured("flash")
    row.accuracy.relativeL2 = 3e-7
    let exact = try PlotKind.pareto.figure(rows: [row])
    #expect(exact.edge != nil && exact.curves[0].points[0].atEdge == 3e-7)
    // bf16 products are of the exact class, and their error is more than rounding in fp32.
    row.accuracy.relativeL2 = 3e-3
    row.arithmetic = .bfloat16
    let rounded = try PlotKind.pareto.figure(rows: [row])
    #expect(rounded.edge == nil && rounded.guides.isEmpty)
    #expect(rounded.curves[0].points[0].value == 3e-3)
  }

  private static let ceilings = [
    MachineCeiling(
      n: 1000, threads: 2, bind: "core:0-1", fmaGflopPerSecond: 500, fmaGflopRange: [490, 510],
      readGBPerSecond: 0.032768)
  ]

  @Test("The roofline has a point a cell at its operations a byte, below both ceilings")
  func roofline() throws {
    let rows = [ResultRow.measured(), .measured(n: 2000), .measured(threads: 1)]
    let figure = try PlotKind.roofline.figure(rows: rows, ceilings: Self.ceilings)
    let places = figure.curves.map { $0.points.map { ($0.place ?? 0).rounded() } }
    #expect(places == [[250, 500]], "flops over bytes")
    #expect(figure.curves[0].points[0].value == rows[0].work.gflopPerSecond)
    // The points say which n they are of, and a line gives their order.
    #expect(figure.curves[0].points.map(\.label) == ["1k", "2k"])
    #expect(figure.curves[0].mark == .joinedPoints)
    #expect(figure.guides.map(\.power) == [0, 1])
    #expect(figure.guides[1].factor == 0.032768)
    #expect(figure.guides[1].extent?.upperBound == figure.guides[0].extent?.lowerBound)
    let script = GnuplotScript(figure, formats: [.svg]).text
    #expect(script.contains("set logscale x") && script.contains("set logscale y"))
    #expect(
      script.contains("\(figure.guides[1].label)'")
        && script.contains("$guide1 using 1:2 with lines"))
    #expect(script.contains("set label '1k' at ") && script.contains("set label '2k' at "))
    let without = try PlotKind.roofline.figure(rows: rows)
    #expect(without.guides.map(\.power) == [0], "no bandwidth was measured")
  }

  /// A cell at 71.5% of the FMA peak and one as fast at half of that share of a peak twice as high.
  private static var bothArithmetics: [ResultRow] {
    var products = ResultRow.measured("window")
    products.strategy.parameters = "arithmetic: bf16"
    products.arithmetic = .bfloat16
    products.work.percentOfPeak = 71.5 / 2
    return [.measured(), products]
  }

  @Test("Each arithmetic has a ceiling of its own, and the rising line ends at the highest")
  func rooflineOfBothArithmetics() throws {
    let rows = Self.bothArithmetics
    let figure = try PlotKind.roofline.figure(rows: rows, ceilings: Self.ceilings)
    #expect(figure.guides.map(\.power) == [0, 0, 1])
    #expect(figure.guides[1].factor == 2 * figure.guides[0].factor)
    #expect(figure.guides.map { $0.label.hasSuffix(" in bf16") } == [false, true, false])
    #expect(figure.guides[2].extent?.upperBound == figure.guides[1].extent?.lowerBound)
    let alone = try PlotKind.roofline.figure(rows: [rows[1]], ceilings: Self.ceilings)
    #expect(alone.guides.map(\.factor) == [figure.guides[1].factor, figure.guides[2].factor])
  }

  @Test("Efficiency says which peak it is of")
  func efficiencyOfBothArithmetics() throws {
    let rows = Self.bothArithmetics
    for (rows, label) in [
      ([rows[0]], "percent of the FMA peak of the same run"),
      ([rows[1]], "percent of the peak of bf16 products of the same run"),
      (rows, "percent of the peak of the same run"),
    ] {
      let figure = try PlotKind.efficiency.figure(rows: rows)
      #expect(figure.yLabel == label)
      let isExplained = figure.notes.contains {
        $0 == "the peak: that of a strategy's arithmetic (bf16), else the FMA peak"
      }
      #expect(isExplained == (rows.count == 2))
    }
  }

  @Test("A sweep over keys is drawn against them, and held against the read bandwidth")
  func decoding() throws {
    let rows = [1000, 2000].map { n in
      var row = ResultRow.measured(n: n)
      row.shape.queryLength = 1
      row.sweptSize = n
      return row
    }
    #expect(rows.isDecoding)
    let figure = try PlotKind.efficiency.figure(rows: rows, ceilings: Self.ceilings)
    #expect(figure.xLabel == "keys in the cache" && figure.yLabel.contains("read bandwidth"))
    let values = figure.curves[0].points.map(\.value)
    #expect(abs(values[0] - 50) < 1e-9 && abs(values[1] - 100) < 1e-9)
    #expect(try PlotKind.scaling.figure(rows: rows).sizes == [1000, 2000])
    #expect(throws: PlotError.nothingToDraw(kind: .efficiency)) {
      try PlotKind.efficiency.figure(rows: rows)
    }
  }

  @Test("With a fixed number of keys the queries are the axis")
  func fixedKeys() throws {
    let rows = [1000, 2000].map { n in
      var row = ResultRow.measured(n: n)
      row.shape.keyLength = 5000
      row.sweptSize = n
      return row
    }
    let figure = try PlotKind.scaling.figure(rows: rows)
    #expect(figure.sizes == [1000, 2000])
    #expect(figure.xLabel == "sequence length n")
    #expect(!rows.isDecoding)
  }

  @Test("Rows with nothing to show are an error that says what is missing")
  func nothing() {
    let skipped = [ResultRow.measured(status: .skippedTime)]
    for kind in PlotKind.allCases {
      #expect(throws: PlotError.nothingToDraw(kind: kind)) { try kind.figure(rows: skipped) }
      #expect(throws: PlotError.nothingToDraw(kind: kind)) { try kind.figure(rows: []) }
    }
    #expect(throws: PlotError.nothingToDraw(kind: .speedup)) {
      try PlotKind.speedup.figure(rows: [.measured()])
    }
  }
}

@Suite("gnuplot")
struct GnuplotTests {
  @Test("The script has the data, the guides, the classes and the exponents")
  func script() throws {
    let figure = try PlotKind.scaling.figure(rows: SyntheticSweep.rows())
    let text = GnuplotScript(figure, formats: [.svg, .png]).text
    #expect(text.contains("$curve4 << EOD"))
    #expect(text.contains("$guide1 using 1:2 with lines"))
    #expect(text.contains("set label 'n²'"))
    #expect(text.contains("title 'flash(96,128)  n^{2.00}'"))
    #expect(text.contains("title '{/:Bold restricted softmax}'"))
    #expect(text.contains("set output 'scaling.svg'") && text.contains("set output 'scaling.png'"))
    #expect(text.contains("with yerrorbars"))
  }

  @Test(
    "gnuplot draws every kind, for one size and many, and the script stays",
    arguments: PlotKind.allCases)
  func draws(kind: PlotKind) throws {
    try withTemporaryDirectory { directory in
      let one = SyntheticSweep.rows().filter { $0.shape.queryLength == 1000 }
      for rows in [SyntheticSweep.rows(threads: [1, 2]), one] {
        let figure = try kind.figure(rows: rows, machine: "Box")
        let drawn = try Gnuplot().draw(figure, formats: [.svg, .png], in: directory)
        try OutputTransaction(drawn).commit()
        let paths = drawn.map(\.path)
        #expect(paths == ["gp", "svg", "png"].map { "\(directory)/\(kind.rawValue).\($0)" })
        let svg = try String(contentsOfFile: paths[1], encoding: .utf8)
        #expect(svg.hasSuffix("</svg>\n\n") || svg.hasSuffix("</svg>\n"))
        #expect(svg.contains("restricted softmax") && svg.contains("window(512)"))
        let png = try Data(contentsOf: URL(fileURLWithPath: paths[2]))
        #expect(png.starts(with: [0x89, 0x50, 0x4E, 0x47]))
        let files = try FileManager.default.contentsOfDirectory(atPath: directory)
        #expect(files.count == 3)
      }
    }
  }

  @Test("In characters the title stands above and the notes below", arguments: PlotKind.allCases)
  func characters(kind: PlotKind) throws {
    let figure = try kind.figure(rows: SyntheticSweep.rows(), machine: "Box")
    let text = try Gnuplot().text(figure, columns: 100, lines: 30)
    #expect(text.hasPrefix(figure.title))
    // Speed-ups are over flash, which has no curve of its own there.
    #expect(text.contains(kind == .speedup ? "full [exact]" : "flash(96,128) [exact]"))
    #expect(text.contains("100k") || kind == .speedup)
    #expect(text.hasSuffix((figure.notes.last ?? "") + "\n"))
  }

  /// Names come from a CSV file that anybody may have written.
  @Test(
    "No name can become markup or a command",
    arguments: [
      "a_b^c{d}@&~\\", "it's", "'; system 'touch HERE/owned'; '", "`touch HERE/owned`", "\"",
      "two\nlines", "$x",
    ])
  func hostileNames(name: String) throws {
    try withTemporaryDirectory { directory in
      let name = name.replacing("HERE", with: directory)
      let rows = [ResultRow.measured(name, classification: name), .measured(name, n: 2000)]
      let figure = try PlotKind.scaling.figure(rows: rows, machine: name)
      try OutputTransaction(Gnuplot().draw(figure, formats: [.svg], in: directory)).commit()
      let files = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
      #expect(files == ["scaling.gp", "scaling.svg"])
      let svg = try String(contentsOfFile: directory + "/scaling.svg", encoding: .utf8)
      if name.hasPrefix("a_b") { #expect(svg.contains("a_b^c{d}@&amp;~\\")) }
    }
  }

  @Test("A missing gnuplot names its package in one line")
  func missing() {
    let error = #expect(throws: PlotError.self) { try Gnuplot(searchPath: "/nowhere:/proc") }
    #expect(
      error?.description
        == "gnuplot was not found on PATH; install it with: apt-get install -y gnuplot-nox")
  }

  @Test("A gnuplot that fails is quoted, in one line")
  func fails() throws {
    try withTemporaryDirectory { directory in
      let stub = directory + "/gnuplot"
      try Data("#!/bin/sh\necho 'no such'\necho terminal >&2\nexit 3\n".utf8)
        .write(to: URL(fileURLWithPath: stub))
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: stub)
      let figure = try PlotKind.scaling.figure(rows: [.measured()])
      let error = #expect(throws: PlotError.self) {
        try Gnuplot(searchPath: directory).draw(figure, formats: [.svg], in: directory)
      }
      #expect(error?.description == "gnuplot could not draw scaling.gp: no such terminal")
    }
  }

  /// As it does on a full disk, with exit code 0.
  @Test("A picture that gnuplot could not finish is an error")
  func truncated() throws {
    try withTemporaryDirectory { directory in
      let stub = directory + "/gnuplot"
      let figure = try PlotKind.scaling.figure(rows: [.measured()])
      for format in GnuplotScript.Format.allCases {
        let drawn = try Gnuplot().draw(figure, formats: [format], in: directory)
        try OutputTransaction(drawn).commit()
        let whole = try Data(contentsOf: URL(fileURLWithPath: drawn[1].path))
        let half = directory + "/half"
        try whole.dropLast(whole.count / 2).write(to: URL(fileURLWithPath: half))
        try Data("#!/bin/sh\ncp \(half) scaling.\(format.rawValue)\n".utf8)
          .write(to: URL(fileURLWithPath: stub))
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: stub)
        let error = #expect(throws: PlotError.self) {
          try Gnuplot(searchPath: directory).draw(figure, formats: [format], in: directory)
        }
        #expect(error?.description.contains("could not write all of") == true)
      }
    }
  }
}
