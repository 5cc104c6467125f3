import Attention
import AttentionBench
import Foundation
import Testing

@Suite("Pages of models")
struct ModelPageTests {
  /// What `recommend --json` prints for two layers of two heads, made up.
  static func record(chosen: Bool = true, sensitivities: Bool = true) -> String {
    func point(_ limit: Double, _ speedup: Double, _ pairs: Double) -> String {
      """
      {"max_total_error": \(limit), "total_error": \(limit), "predicted_time_s": \(4 / speedup),
       "speedup": \(speedup), "pairs_share": \(pairs)}
      """
    }
    func head(_ strategy: String, _ error: Double, _ pairs: Double) -> String {
      #"{"strategy": "\#(strategy)", "squared_error_share": \#(error), "pairs_share": \#(pairs)}"#
    }
    func layer(_ number: Int, _ heads: [String]) -> String {
      """
      {"layer": \(number), "name": "layer\(number)", "measured": true, "sensitivity": 0.5,
       "heads": [\(heads.joined(separator: ","))], "predicted_time_s": 1, "baseline_time_s": 2,
       "timed_s": 0.8, "timed_baseline_s": 2.4}
      """
    }
    func problem(_ number: Int) -> String {
      """
      {"layer": \(number), "attention": "causal (the file's metadata)", "problem": {"batch": 1,
       "heads": 2, "kv_heads": 1, "n_q": 64, "n_kv": 64, "head_dim": 8, "value_dim": 8,
       "scale": 0.35, "causal": true, "query_offset": 0}}
      """
    }
    let layers = [
      layer(3, [head("window(8, sinks: 2)", 0.04, 0.25), head("flash", 0, 1)]),
      layer(7, [head("window(16)", 0.01, 0.5), head("strided(4)", 0.16, 0.3)]),
    ]
    return """
      {"inputs": "qkv.safetensors", "model": "Tiny & <small>",
       "problems": [\(problem(3)), \(problem(7))],
       "sensitivities": \(sensitivities ? "\"s.json\"" : "null"), "threads": 2, "bind": "none",
       "budget_s": 300,
       "result": {"baseline": "flash", "baseline_time_s": 4, "candidates": [],
         "curve": [\(point(0.01, 1.2, 0.9)), \(point(0.1, 2, 0.5)), \(point(0.4, 5, 0.2))],
         "chosen": \(chosen ? point(0.2, 3, 0.35) : "null"),
         "layers": [\(layers.joined(separator: ","))], "wrong": [], "interrupted": false}}
      """
  }

  /// What `attnbench-model evaluate --json` prints, as far as a page needs it.
  static func evaluation(
    mean: Double = 0.05, low: String = "0.02", high: String = "0.08", predicted: String = "0.04"
  ) -> String {
    """
    {"format": "attnbench-model-evaluation", "version": 1, "model": "Tiny", "plan": "plan.json",
     "text": "prose.txt", "n": 2048,
     "loss": {"full": {"mean": 3.0, "low": 2.9, "high": 3.1},
              "plan": {"mean": 3.05, "low": null, "high": null}},
     "loss_increase": {"mean": \(mean), "low": \(low), "high": \(high)},
     "predicted_loss_increase": \(predicted),
     "prefill_s": {"full": [2, 3, 4], "plan": [1, 1.5, 2]}}
    """
  }

  private func page(
    _ file: String, evaluations: [String] = []
  ) throws -> PageReader.Node {
    try PageReader.read(html(file, evaluations: evaluations))
  }

  private func html(_ file: String, evaluations: [String] = []) throws -> String {
    try withTemporaryDirectory { directory in
      func write(_ text: String, _ name: String) throws -> String {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(directory)/\(name)"))
        return "\(directory)/\(name)"
      }
      let path = try write(file, "file.json")
      let read = try evaluations.enumerated().map {
        try ModelEvaluation(path: write($1, "e\($0).json"))
      }
      return try ModelPage(ModelFile(path: path), path: "file.json", evaluations: read).html
    }
  }

  @Test("A page stands alone, names the model and its tensors, and has every section")
  func standsAlone() throws {
    let html = try html(Self.record(), evaluations: [Self.evaluation()])
    #expect(html.hasPrefix("<!DOCTYPE html>\n<html"))
    let page = try PageReader.read(html)
    #expect(page.all("title").first?.text == "Attention of Tiny & <small>")
    #expect(page.all("p").contains { $0.text == "2 layers · 4 heads · tensors of qkv.safetensors" })
    for node in page.all {
      #expect(node.attributes["src"] == nil)
      #expect(node.attributes["href"]?.hasPrefix("#") != false)
      #expect(!["script", "link", "iframe", "img", "object", "small>"].contains(node.name))
    }
    for link in page.all("a") {
      _ = try page.section(String((link.attributes["href"] ?? "").dropFirst()))
    }
    for figure in page.all("figure") {
      #expect(figure.all("figcaption")[0].text.contains("qkv.safetensors"))
    }
  }

  @Test("The curve has every predicted point, the chosen one, and what was measured of it")
  func tradeOff() throws {
    let figure = try page(Self.record(), evaluations: [Self.evaluation()])
      .section("trade-off").all("svg")[0]
    let tips = figure.all("circle").flatMap { $0.all("title") }.map(\.text)
    #expect(tips.count == 4)
    #expect(tips.contains { $0.hasPrefix("limit 0.2: total error 0.2, 3.00 times as fast") })
    let diamond = try #require(figure.all("polygon").first)
    #expect(
      diamond.text
        == "measured on prose.txt, 2048 tokens: loss increase +0.0500 (+0.0200 to +0.0800)")
    // The measured point lies at the plan's own speed-up, 4.8 / 1.6, and right of the predicted loss.
    let chosen = try #require(figure.all("circle").first { $0.attributes["r"] == "6.00" })
    let corners = try #require(diamond.attributes["points"]).split(separator: " ").map {
      $0.split(separator: ",").compactMap { Double($0) }
    }
    let x = try #require(chosen.attributes["cx"].flatMap(Double.init))
    let y = try #require(chosen.attributes["cy"].flatMap(Double.init))
    #expect(corners[0][0] > x && abs((corners[0][1] + corners[2][1]) / 2 - y) < 0.01)
    #expect(figure.all("text").contains { $0.text == "chosen, measured with 95% interval" })
    let rows = try page(Self.record()).section("trade-off").all("tr")
    #expect(rows.count == 5 && rows.filter { $0.text.hasSuffix("chosen") }.count == 1)
    #expect(rows[0].text.contains("predicted loss increase"))
    #expect(rows[0].text.contains("times as fast as flash"))
  }

  @Test("A loss that did not rise is drawn at the edge, and one without an interval without bars")
  func noIncrease() throws {
    let figure = try page(
      Self.record(), evaluations: [Self.evaluation(mean: -0.001, low: "null", high: "null")]
    ).section("trade-off").all("svg")[0]
    let diamond = try #require(figure.all("polygon").first)
    #expect(diamond.attributes["points"]?.hasPrefix("64.00,") == true)
    #expect(diamond.text.hasSuffix("loss increase -0.0010"))
  }

  @Test("A map of what was chosen and one of the error, a cell a head of each layer")
  func maps() throws {
    let section = try page(Self.record()).section("heads")
    let figures = section.all("svg")
    #expect(figures.count == 2)
    for figure in figures {
      let cells = figure.all("rect").filter { !$0.all("title").isEmpty }
      let tips = cells.map(\.text)
      #expect(tips.count == 4)
      #expect(
        tips.first == "layer 3, head 0: window(8, sinks: 2), error 2.0e-01, 25.0% of the pairs")
      #expect(tips.last?.hasPrefix("layer 7, head 1: strided(4)") == true)
    }
    func cells(_ figure: PageReader.Node, _ key: String) -> [String] {
      figure.all("rect").filter { !$0.all("title").isEmpty }.compactMap { $0.attributes[key] }
    }
    // One colour a family, and grey for what everything is compared with.
    let colours = cells(figures[0], "fill")
    #expect(colours[0] == colours[2] && Set(colours).count == 3 && colours[1] == "#808080")
    #expect(figures[0].all("text").contains { $0.text == "window x2" })
    // Errors 0.2, 0, 0.1, 0.4: as dark as they are of the largest.
    #expect(cells(figures[1], "fill-opacity") == ["0.50", "0.00", "0.25", "1.00"])
    let strategies = section.all("tbody").flatMap { $0.all("th") }.map(\.text)
    #expect(strategies == ["flash", "strided(4)", "window(16)", "window(8, sinks: 2)"])
  }

  @Test("Every layer with its strategies, error and times; texts with losses and speed-ups")
  func tables() throws {
    let page = try page(
      Self.record(),
      evaluations: [
        Self.evaluation(), Self.evaluation(predicted: "0.1"), Self.evaluation(predicted: "null"),
      ])
    let layers = try page.section("layers").all("tbody")[0].all("tr")
    #expect(layers.map { $0.all("th")[0].text } == ["3", "7"])
    #expect(
      layers[1].all("td").map(\.text) == [
        "window(16) x1, strided(4) x1", "4.1e-01", "40.0%", "800 ms", "2.40 s",
      ])
    let texts = try page.section("texts")
    #expect(
      texts.all("tbody")[0].all("tr")[0].all("td").map(\.text) == [
        "2048", "3.0000", "3.0500", "+0.0500 (+0.0200 to +0.0800)", "+0.0400", "2.00×", "",
      ])
    // Chosen for a predicted 0.04: what says 0.1 is of another plan.
    #expect(texts.all("li").map(\.text).count { $0.contains("is it this plan?") } == 1)
    let none = try self.page(Self.record()).section("texts")
    #expect(none.text.contains("attnbench-model evaluate MODEL --plan PLAN --text FILE --json"))
  }

  @Test("Without sensitivities the axis is the total error; without a choice nothing is chosen")
  func variants() throws {
    let plain = try page(Self.record(sensitivities: false)).section("trade-off")
    #expect(plain.all("text").contains { $0.text.hasPrefix("total error") })
    #expect(!plain.text.contains("predicted loss increase"))
    let open = try page(Self.record(chosen: false))
    #expect(open.text.contains("No point was chosen"))
    #expect(try open.section("trade-off").all("tr").count == 4)
  }

  @Test("A plan has a page too: its heads with counted pairs, and the error of its layers")
  func plan() throws {
    func problem() -> String {
      """
      {"batch": 1, "heads": 2, "kv_heads": 1, "n_q": 20, "n_kv": 20, "head_dim": 8, "value_dim": 8,
       "scale": 0.35, "causal": true, "query_offset": 0}
      """
    }
    let text = """
      {"format": "attnbench-model-plan", "version": 1, "inputs": "qkv.safetensors", "model": "Tiny",
       "max_total_error": 0.3, "layers": [
         {"layer": 0, "problem": \(problem()), "heads": ["window(4)", "flash"], "rel_l2_error": 0.3}],
       "measured": {"total_error": 0.3, "predicted_loss_increase": 0.09, "predicted_time_s": 1,
         "time_s": 1, "baseline": "flash", "baseline_time_s": 2.5, "pairs_share": 0.7, "threads": 2,
         "bind": "none", "isa": "avx512"}}
      """
    let page = try page(text, evaluations: [Self.evaluation(predicted: "0.09")])
    #expect(page.text.contains("2.50 times"))
    let figures = try page.section("heads").all("svg")
    let tips = figures.map { $0.all("rect").flatMap { $0.all("title") }.map(\.text) }
    // 74 of 210 pairs.
    #expect(
      tips[0] == [
        "layer 0, head 0: window(4), error 3.0e-01, 35.2% of the pairs",
        "layer 0, head 1: flash, error 3.0e-01, 100.0% of the pairs",
      ])
    #expect(figures[1].text.contains("error of each layer (a plan holds none of single heads)"))
    #expect(try page.section("trade-off").text.contains("The file holds one point"))
    #expect(try page.section("trade-off").all("polygon").count == 1)
  }

  @Test(
    "What is no file of a model is named with what it is",
    arguments: [
      ("{}", "is neither a model's plan nor what attnbench recommend --record writes"),
      ("[1]", "is no JSON object"), ("{", "is no JSON object"),
      (evaluation(), "give it with --evaluation"),
      (#"{"format": "attnbench-head-plan"}"#, "is a plan of one layer"),
      (
        record().replacing(#""baseline": "flash","#, with: ""), "(result.baseline is missing)"
      ),
    ])
  func otherFiles(text: String, message: String) {
    let error = #expect(throws: ModelFileError.self) { try html(text) }
    #expect(error?.description.contains(message) == true, "\(String(describing: error))")
  }

  @Test("An evaluation that is none is named")
  func noEvaluation() {
    let error = #expect(throws: ModelFileError.self) {
      try html(Self.record(), evaluations: [Self.record()])
    }
    #expect(error?.description.contains("is no evaluation; attnbench-model evaluate") == true)
  }

  @Test("recommend --plot draws the same curve and maps as one picture")
  func picture() throws {
    let record = try JSONDecoder().decode(ModelChoiceRecord.self, from: Data(Self.record().utf8))
    let svg = ModelChoicePicture(
      record.result, title: "qkv.safetensors: Tiny", hasSensitivities: true
    ).svg
    let page = try PageReader.read(svg)
    #expect(page.all("text").first?.text == "qkv.safetensors: Tiny")
    #expect(page.all("circle").flatMap { $0.all("title") }.count == 4)
    #expect(page.all("rect").flatMap { $0.all("title") }.count == 8, "two maps of four heads")
    let size = try #require(page.all("svg")[0].attributes["height"].flatMap(Double.init))
    // Everything lies within the picture.
    for group in page.all("g") {
      let shift = try #require(
        group.attributes["transform"]?.dropFirst(12).dropLast().components(separatedBy: ")").first)
      let offset = try #require(Double(shift))
      for cell in group.all("rect") {
        let y = try #require(cell.attributes["y"].flatMap(Double.init))
        #expect(y + offset < size)
      }
    }
  }
}
