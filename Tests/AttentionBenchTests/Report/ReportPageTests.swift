import AttentionBench
import Foundation
import Testing

@Suite("Reports as pages")
struct ReportPageTests {
  /// The page of a folder that holds `rows`, and `files` beside them.
  private func page(
    _ rows: [ResultRow], metadata: RunMetadata? = nil, files: [String: String] = [:],
    limits: [Double] = ReportPage.defaultLimits
  ) throws -> PageReader.Node {
    try PageReader.read(html(rows, metadata: metadata, files: files, limits: limits))
  }

  private func html(
    _ rows: [ResultRow], metadata: RunMetadata? = nil, files: [String: String] = [:],
    limits: [Double] = ReportPage.defaultLimits
  ) throws -> String {
    try withTemporaryDirectory { directory in
      let run = try RunDirectory(path: directory, resuming: false)
      for row in rows { try run.append(row) }
      if let metadata { try run.write(metadata) }
      for (name, text) in files {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
      }
      return try ReportPage(SweepFolder(reading: directory), limits: limits).html
    }
  }

  @Test("A page is well-formed, names itself and stands alone")
  func standsAlone() throws {
    let html = try html(SyntheticSweep.rows(threads: [1, 2]), metadata: .made())
    #expect(html.hasPrefix("<!DOCTYPE html>\n<html"))
    let page = try PageReader.read(html)
    #expect(page.all("title").first?.text == "CPU attention on Box 9000")
    for node in page.all {
      #expect(node.attributes["src"] == nil && node.attributes["srcset"] == nil)
      #expect(node.attributes["href"]?.hasPrefix("#") != false)
      #expect(!["script", "link", "iframe", "img", "object"].contains(node.name))
      #expect(!node.attributes.keys.contains { $0.hasPrefix("on") })
    }
    let style = try #require(page.all("style").first).text
    #expect(!style.contains("url(") && !style.contains("@import"))
    for link in page.all("a") {
      _ = try page.section(String((link.attributes["href"] ?? "").dropFirst()))
    }
  }

  @Test("Both themes are there, and every colour that a chart uses in each of them")
  func themes() throws {
    let page = try page(SyntheticSweep.rows())
    let style = try #require(page.all("style").first).text
    let parts = style.components(separatedBy: "@media (prefers-color-scheme: dark)")
    #expect(parts.count == 2)
    let used = Set(page.all.compactMap { $0.attributes["class"] }).filter {
      $0.count == 2 && $0.hasPrefix("c")
    }
    #expect(used.count == 5)
    for colour in 0..<12 {
      #expect(parts[0].contains("--c\(colour):") && parts[1].contains("--c\(colour):"))
    }
    let dark = parts.last?.prefix { $0 != "*" } ?? ""
    for name in used.map({ "--\($0):" }) + ["--page:", "--card:", "--text:", "--muted:"] {
      #expect(parts[0].contains(name) && dark.contains(name), "\(name)")
    }
    let viewport = page.all("meta").first { $0.attributes["name"] == "viewport" }
    #expect(viewport?.attributes["content"]?.contains("width=device-width") == true)
  }

  @Test(
    "What a file says cannot become markup",
    arguments: [
      "<script>alert(1)</script>", "a & b", "&lt;", "]]>", "x\" onload=\"y", "it's", "<!--",
      "é\u{301}",
      "two\nlines",
    ])
  func escaped(text: String) throws {
    var rows = [
      ResultRow.measured(text, classification: "exact", status: .noisy, reason: text),
      .measured("flash", n: 2000), .measured(text, n: 2000),
    ]
    rows[0].strategy.parameters = ""
    var metadata = RunMetadata.made()
    metadata.machine.cpuModel = text
    metadata.argv = ["attnbench", text]
    let page = try page(rows, metadata: metadata)
    let cells = try page.section("cells")
    #expect(cells.all("th").contains { $0.text == text })
    #expect(cells.all("div").contains { $0.text == text })
    #expect(page.all("title").first?.text.contains(text) == true)
    #expect(!page.all.contains { $0.name == "script" })
  }

  @Test("Control characters, which no page may hold, are replaced")
  func controlCharacters() throws {
    let page = try page([.measured("a\u{1}b\u{1B}c", status: .noisy, reason: "x\u{7}")])
    #expect(try page.section("cells").text.contains("a\u{FFFD}b\u{FFFD}c"))
  }

  @Test("Every cell is in the table, with its status and reason")
  func cells() throws {
    let rows = Status.allCases.enumerated().map { index, status in
      ResultRow.measured("s\(index)", n: 1000 + index, status: status, reason: "because \(index)")
    }
    let page = try page(rows)
    let table = try page.section("cells")
    for (index, row) in rows.enumerated() {
      let line = try #require(table.all("tr").first { $0.all("th").first?.text == "s\(index)" })
      let status = row.status.rawValue.replacingOccurrences(of: "_", with: " ")
      #expect(line.all("span").map(\.text) == [status])
      #expect(table.all("div").contains { $0.text == "because \(index)" })
    }
    #expect(page.all("li").contains { $0.text == "\(rows.count) cells" })
  }

  @Test("A page says which peak a cell is held against, and draws the ceilings of the run")
  func peaks() throws {
    var products = ResultRow.measured("flash")
    products.strategy.parameters = "arithmetic: bf16"
    products.arithmetic = .bfloat16
    products.work.percentOfPeak = 71.5 / 2
    func page(_ rows: [ResultRow], bf16: Double?) throws -> PageReader.Node {
      var metadata = RunMetadata.made()
      metadata.ceilings = [
        MachineCeiling(
          n: 1000, threads: 2, bind: "core:0-1", fmaGflopPerSecond: 500, fmaGflopRange: [490, 510],
          products: bf16.map { [.bfloat16: $0] } ?? [:], readGBPerSecond: 0.032768)
      ]
      return try self.page(rows, metadata: metadata)
    }
    let both = try page([.measured("full"), products], bf16: 987)
    let cells = try both.section("cells")
    let shares = cells.all("tr").compactMap { line in
      line.all("td").map(\.text).first { $0 == "71.5" || $0 == "bf16 35.8" }
    }
    #expect(shares.sorted() == ["71.5", "bf16 35.8"])
    #expect(cells.text.contains("where it names an arithmetic, of the peak of its products"))
    let machine = try both.section("machine")
    #expect(machine.all("th").contains { $0.text == "bf16 peak, GFLOP/s" })
    #expect(machine.all("td").contains { $0.text == "987" })
    let lines = try both.section("curves").all("text").map(\.text)
    #expect(lines.contains { $0.hasSuffix(" in bf16") })
    #expect(lines.contains { $0.hasSuffix(" GB/s") })

    let plain = try page([.measured("full")], bf16: nil)
    #expect(!plain.text.contains("bf16"))
  }

  @Test("The choice is the fastest exact strategy, and the fastest within each limit")
  func choice() throws {
    func cell(_ name: String, _ seconds: Double, _ error: Double, _ kind: String) -> ResultRow {
      var row = ResultRow.measured(name, seconds: seconds, classification: kind)
      row.accuracy.relativeL2 = error
      return row
    }
    let rows = [
      cell("full", 4, 1e-7, "exact"), cell("flash", 2, 4e-7, "exact"),
      cell("window", 1, 0.05, "restricted"), cell("linear", 0.1, 0.7, "different"),
    ]
    let section = try page(rows, limits: [0.01, 0.1, 0.6, 1]).section("choice")
    let line = try #require(section.all("tbody").first?.all("tr").first)
    let picks = line.all("td").map { cell in
      rows.map(\.strategy.name).first { cell.text.hasPrefix($0) } ?? ""
    }
    #expect(picks == ["flash", "flash", "window", "window", "linear"])
    #expect(line.all("small").contains { $0.text == "100 ms, 20.0×" })
  }

  @Test("A row that was measured again counts once, and intervals that overlap are said")
  func repeated() throws {
    let rows = [
      ResultRow.measured("flash", seconds: 9), .measured("flash", seconds: 1),
      .measured("full", seconds: 1.02),
    ]
    let page = try page(rows)
    #expect(page.all("li").contains { $0.text == "2 cells" })
    #expect(try page.section("choice").text.contains("another as fast"))
  }

  @Test("Growth: exponents, the held-out size and what was not measured, each said to be that")
  func growth() throws {
    let rows = [(1000, 1.0), (2000, 4), (4000, 16), (8000, 80)].map { n, seconds in
      var row = ResultRow.measured("flash", n: n, seconds: seconds)
      row.work.flops = n * n
      return row
    }
    var skipped = ResultRow.measured("flash", n: 16000, status: .skippedTime)
    skipped.work.flops = 16000 * 16000
    let section = try page(rows + [skipped]).section("growth")
    let line = try #require(section.all("tbody").first?.all("tr").first)
    let figures = line.all("td").map(\.text)
    // The speed at 4000 carried over to 8000 gives 64 s, where 80 s were measured.
    #expect(figures[2] == "2.32" && figures[3] == "8k")
    #expect(figures[4].hasPrefix("64.0 s") && figures[5] == "80.0 s" && figures[6] == "-20.0%")
    let item = try #require(section.all("li").first).text
    #expect(item.hasPrefix("predicted, not measured: flash at 16k takes 320 s"))
    #expect(try page([rows[0]]).section("growth").text.contains("two sizes"))
  }

  @Test("Crossovers stand in a table, pairs that do not cross in a list")
  func crossovers() throws {
    let rows = [
      ResultRow.measured("full", n: 1000, seconds: 1), .measured("window", n: 1000, seconds: 2),
      .measured("full", n: 4000, seconds: 4), .measured("window", n: 4000, seconds: 2),
      .measured("flash", n: 1000, seconds: 0.5), .measured("flash", n: 4000, seconds: 1),
    ]
    let section = try page(rows).section("choice")
    // Without samples nothing is sure. Times grow by 4 and by 1 over a factor of 4 in n.
    #expect(section.text.contains("windowfulln = 2,000unclear: noise may have made it"))
    let others = section.all("details").first?.all("li").map(\.text)
    #expect(others?.contains("flash is faster than window at every measured size") == true)
  }

  @Test("Samples that cannot be read cost intervals, and are said")
  func badSamples() throws {
    let page = try page(SyntheticSweep.rows(), files: ["samples.csv": "run_id\n"])
    #expect(try page.section("warnings").text.contains("crossovers without intervals"))
  }

  @Test("A missing or torn description is said", arguments: [nil, "{ \"argv\" : ["])
  func noMetadata(file: String?) throws {
    let files = file.map { ["meta.json": $0] } ?? [:]
    let page = try page([.measured()], files: files)
    #expect(try page.section("warnings").text.contains("no description of the run"))
    #expect(try page.section("machine").text.contains("could not be read"))
  }

  @Test("A torn last line is said, and a sweep without a finished cell has a page")
  func torn() throws {
    try withTemporaryDirectory { directory in
      let run = try RunDirectory(path: directory, resuming: false)
      #expect(
        try ReportPage(SweepFolder(reading: directory)).html.contains("No cell of this sweep"))
      try run.append(.measured())
      let path = URL(fileURLWithPath: run.layout.results)
      try (Data(contentsOf: path) + Data("1,torn".utf8)).write(to: path)
      let page = try PageReader.read(ReportPage(SweepFolder(reading: directory)).html)
      #expect(try page.section("warnings").text.contains("torn last line of 6 bytes"))
    }
  }

  @Test("A folder without results is an error that names the file")
  func noResults() {
    let error = #expect(throws: RecordError.self) { try SweepFolder(reading: "/nowhere") }
    #expect(error?.description.contains("/nowhere/results.csv") == true)
  }

  @Test("What spoils a run is a warning, and the command line can be pasted")
  func warnings() throws {
    var metadata = RunMetadata.made()
    metadata.build.dirty = true
    metadata.loadBefore = [1.5, 1, 1]
    metadata.argv = ["attnbench", "sweep", "--strategy", "window(512, sinks: 4)", "it's"]
    var row = ResultRow.measured()
    row.disturbance.stealPercent = 8
    let page = try page([row], metadata: metadata)
    let text = try page.section("warnings").text
    for expected in ["did not run to its end", "no commit", "load 1.50", "up to 8.00%"] {
      #expect(text.contains(expected), "\(expected)")
    }
    #expect(
      page.all("pre").first?.text
        == #"attnbench sweep --strategy 'window(512, sinks: 4)' 'it'\''s'"#)
  }

  @Test("A chart has a mark and a tip for each measured cell of its kind")
  func charts() throws {
    let rows = SyntheticSweep.rows(threads: [1, 2])
    let figures = try page(rows).section("curves").all("figure")
    #expect(figures.count == PlotKind.allCases.count)
    let tips = figures[0].all("path").flatMap { $0.all("title") }.map(\.text)
    #expect(tips.count == rows.count { $0.status.isMeasured })
    #expect(tips.contains { $0.hasPrefix("flash(96,128), 1 thread, n = 100000: ") })
    // Nothing lies outside the drawing.
    for line in figures.flatMap({ $0.all("line") }) where line.attributes["class"] != nil {
      for key in ["x1", "x2", "y1", "y2"] {
        let place = try #require(line.attributes[key].flatMap(Double.init))
        #expect((0...380).contains(place))
      }
    }
  }

  @Test("A page and its charts say which tensors they are of")
  func inputs() throws {
    var metadata = RunMetadata.made()
    metadata.inputs = RunMetadata.Inputs(
      path: "qkv.safetensors", prefix: "layer3",
      content: FileFingerprint(bytes: 1, crc32: "0"))
    let page = try page(SyntheticSweep.rows(), metadata: metadata)
    #expect(page.all("p").contains { $0.text.hasSuffix("tensors of qkv.safetensors:layer3") })
    for figure in try page.section("curves").all("figure") {
      #expect(figure.all("figcaption")[0].text.contains("qkv.safetensors:layer3"))
    }
    let random = try self.page(SyntheticSweep.rows(), metadata: .made())
    #expect(!random.text.contains("tensors of"))
  }

  @Test("Points at the edge of the errors say what they are, and those of the roofline their n")
  func edgesAndSizes() throws {
    let figures = try page(SyntheticSweep.rows()).section("curves").all("figure")
    let pareto = try #require(figures.first { $0.text.contains("Error against time") })
    #expect(pareto.all("text").contains { $0.text == "exact" })
    #expect(pareto.all("text").contains { $0.text == "exact (rounding)" })
    #expect(!pareto.all("text").contains { $0.text == "1e-7" })
    #expect(pareto.all("path").contains { $0.text.hasSuffix("3.0e-07, rounding") })
    let roofline = try #require(figures.first { $0.text.contains("Speed below") })
    #expect(roofline.all("text").contains { $0.text == "100k" })
  }

  @Test("Sizes that were skipped are on the chart as predictions, and say so")
  func predictions() throws {
    var sweep = ScalingFixture()
    sweep.curve("full", sizes: [1000, 2000, 4000]) { 1e-9 * $0 * $0 }
    sweep.skip("full", n: 8000)
    let chart = try #require(try page(sweep.rows).section("curves").all("figure").first)
    let tips = chart.all("path").flatMap { $0.all("title") }.map(\.text)
    let predicted = tips.filter {
      $0.hasPrefix("predicted, not measured: full, n = 8000: 64.0 ms")
    }
    #expect(tips.count == 4 && predicted.count == 1)
  }
}
