import Foundation
import TensorFiles
import Testing

/// `attnbench mask --inputs` and `attnbench report`.
@Suite("Pictures of heads and runs")
struct PictureCommandTests {
  @Test("mask --inputs draws a head in characters, with what each strategy keeps")
  func mapText() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "mask", "--inputs", "qkv.safetensors:layer7", "--head", "1", "--strategy",
        "window(1),flash", "--causal",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.line(0) == "qkv.safetensors:layer7, head 1, h2 n9 d5 causal")
    #expect(result.line(1) == "softmax attention")
    #expect(result.line(2) == "#        ", "the first query has but one key")
    #expect(result.output.contains("window(1): keeps "))
    #expect(result.output.contains("flash: keeps 100% of the attention"))
    #expect(result.output.contains("looked at: all 9 queries"))
    #expect(try directory.contents.count == 4, "nothing is written")
  }

  @Test("mask --inputs writes a picture by the name's ending", arguments: ["svg", "png"])
  func mapPicture(format: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "mask", "--inputs", "qkv.safetensors", "--head", "0", "--strategy", "linear", "-n", "4",
        "-o", "map.\(format)",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error == "wrote map.\(format)\n")
    #expect(result.output.contains("h2 n4 d5"))
    let size = FileManager.default.contents(atPath: directory.path("map.\(format)"))?.count ?? 0
    #expect((1000..<1_000_000).contains(size))
  }

  @Test("mask --inputs without --head draws every head, in characters and as a picture")
  func allHeads() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let arguments = [
      "mask", "--inputs", "qkv.safetensors:layer7", "--strategy", "window(2),flash", "--causal",
    ]
    let text = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(text.code == 0, "\(text.error)")
    #expect(text.line(0) == "qkv.safetensors:layer7, all 2 heads, h2 n9 d5 causal")
    #expect(text.line(1) == "softmax attention")
    #expect(text.line(2) == "head 0     head 1")
    #expect(text.line(3) == "#          #", "the first query of each head has but one key")
    #expect(text.output.contains("window(2): keeps ") && text.output.contains("mean over 2 heads"))
    #expect(text.output.contains("head 0 100%  head 1 100%"), "flash keeps everything")
    #expect(try directory.contents.count == 4, "nothing is written")
    for format in ["svg", "png"] {
      let picture = try AttnbenchProcess.run(
        arguments + ["-o", "heads.\(format)"], in: directory.root)
      #expect(picture.code == 0, "\(picture.error)")
      #expect(picture.error == "wrote heads.\(format)\n")
      #expect(picture.output.contains("one pixel: the weight of one key for one query"))
    }
    let svg = try String(contentsOfFile: directory.path("heads.svg"), encoding: .utf8)
    for name in ["qkv.safetensors:layer7, all 2 heads", "head 0", "head 1", "window(2): keeps"] {
      #expect(svg.contains(name), "\(name)")
    }
    #expect(svg.components(separatedBy: "<image ").count == 7, "two heads, three panels")
    // The same head alone and among all of them.
    let alone = try AttnbenchProcess.run(arguments + ["--head", "1"], in: directory.root)
    let share = try #require(alone.output.firstMatch(of: /window\(2\): keeps ([\d.]+%)/)).1
    #expect(text.output.contains("head 1 \(share)"))
  }

  @Test("a tensor of one head is drawn large, under the mask that the file states")
  func oneHead() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensor = try HostTensor(shape: [1, 4, 2]) { $0.update(repeating: 1) }
    try SafetensorsFile.write(
      ["q", "k", "v"].map { NamedTensor($0, tensor) }, metadata: ["causal": "true"],
      to: directory.path("one.safetensors"))
    let arguments = ["mask", "--inputs", "one.safetensors", "--strategy", "flash"]
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.line(0) == "one.safetensors, head 0, h1 n4 d2 causal")
    #expect(result.error.hasPrefix("one.safetensors: causal (the file's metadata), scale 0.7"))
    let causal = try AttnbenchProcess.run(arguments + ["--causal"], in: directory.root)
    #expect(causal.error.isEmpty && causal.output == result.output)
    let other = try AttnbenchProcess.run(arguments + ["--no-causal"], in: directory.root)
    #expect(other.line(0) == "one.safetensors, head 0, h1 n4 d2")
    #expect(other.error.hasPrefix("warning: --no-causal: one.safetensors says that"))
  }

  @Test("mask takes what strategies need beside q and k from the file, and names what is missing")
  func operands() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors(heads: 2, n: 9)
    try tensors.write(to: directory)
    func tensor(_ shape: [Int], _ value: @escaping (Int) -> Float) throws -> HostTensor {
      try HostTensor(shape: shape) { elements in
        for index in elements.indices { elements[index] = value(index) }
      }
    }
    let own = [
      ("index_q", try tensor([2, 9, 4]) { Float($0 % 5) - 2 }),
      ("index_k", try tensor([1, 9, 4]) { Float($0 % 7) - 3 }),
      ("index_w", try tensor([2, 9]) { _ in 1 }), ("gate", try tensor([2, 9, 3]) { _ in 0.5 }),
      ("decay", try tensor([2, 9]) { Float($0 % 3) * -0.2 }),
    ]
    let all = [("q", tensors.query), ("k", tensors.key), ("v", tensors.value)] + own
    try SafetensorsFile.write(
      all.map { NamedTensor("layer7." + $0, $1) }, to: directory.path("all.safetensors"))
    let strategies = "indexer(9, heads: 2, dim: 4),indexer(2, heads: 2, dim: 4),nsa(2, 3, 4),gated"
    for options in [[], ["-n", "6"], ["--head", "1"]] {
      let result = try AttnbenchProcess.run(
        ["mask", "--inputs", "all.safetensors:layer7", "--causal", "--strategy", strategies]
          + options, in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      // An index that keeps all keys keeps all weights.
      #expect(result.output.contains("indexer(9, heads: 2, dim: 4): other weights, 100% agree"))
      #expect(!result.output.contains("indexer(2, heads: 2, dim: 4): other weights, 100% agree"))
      #expect(result.output.contains("nsa(2, 3, 4") && result.output.contains("gated"))
    }
    for (strategy, message) in [
      ("indexer(2, heads: 2, dim: 4)", "operand index_q = missing: [b, 2, nQ, 4] is needed"),
      ("nsa(2, 3, 4)", "operand gate = missing: [b, h, nQ, 3] is needed"),
      ("additive(3)", "operand additive_q = missing"), ("local_p(2)", "operand local_w = missing"),
    ] {
      let result = try AttnbenchProcess.run(
        ["mask", "--inputs", "qkv.safetensors:layer7", "--causal", "--strategy", strategy],
        in: directory.root)
      #expect(result.code == 64 && result.error.contains(message), "\(result.error)")
    }
    let shape = try AttnbenchProcess.run(
      ["mask", "--inputs", "all.safetensors:layer7", "--strategy", "indexer(2, heads: 2, dim: 5)"],
      in: directory.root)
    #expect(shape.code == 1 && shape.error.contains("(layer7.index_k) has shape [1, 9, 4]"))
  }

  /// A plan for layers 0 and 7 of two heads.
  private static let plan: String = {
    let layers = [(0, ["window(3)", "flash"]), (7, ["strided(4)", "window(2)"])].map { layer in
      """
      {"layer": \(layer.0), "heads": ["\(layer.1.joined(separator: "\", \""))"],
       "problem": {"batch": 1, "heads": 2, "kv_heads": 2, "n_q": 9, "n_kv": 9, "head_dim": 5,
       "value_dim": 5, "scale": 0.45, "causal": true, "query_offset": 0}}
      """
    }
    return """
      {"format": "attnbench-model-plan", "version": 1, "layers": [\(layers.joined(separator: ","))]}
      """
  }()

  @Test("mask --plan draws what each head sees, one of them, or what each keeps of real tensors")
  func plan() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    try Data(Self.plan.utf8).write(to: URL(fileURLWithPath: directory.path("plan.json")))
    func mask(_ arguments: String...) throws -> AttnbenchProcess.Result {
      try AttnbenchProcess.run(["mask", "--plan", "plan.json"] + arguments, in: directory.root)
    }
    let all = try mask("--layer", "0", "-n", "6", "-o", "heads.svg")
    #expect(all.code == 0, "\(all.error)")
    // 15 of 21 pairs.
    #expect(all.line(0) == "head 0 71.4%   head 1 100.0%")
    #expect(all.line(1) == "window(3)      flash")
    #expect(all.line(7) == "...###         ######")
    #expect(all.output.contains("plan.json, layer 0, n6 causal: 2 heads keep 85.7% of the pairs"))
    let svg = try String(contentsOfFile: directory.path("heads.svg"), encoding: .utf8)
    #expect(svg.contains(">head 1 100.0%</text>") && svg.contains(">window(3)</text>"))

    let one = try mask("--layer", "7", "--head", "1")
    #expect(one.code == 0, "\(one.error)")
    #expect(one.line(0) == "#........" && one.line(8) == ".......##")
    #expect(one.output.contains("plan.json, layer 7, head 1: window(2)"))

    let kept = try mask("--inputs", "qkv.safetensors:layer7", "--causal")
    #expect(kept.code == 0, "\(kept.error)")
    #expect(kept.line(0).hasPrefix("qkv.safetensors:layer7, all 2 heads, plan.json, layer 7"))
    #expect(kept.output.contains("the plan: keeps ") && kept.output.contains("strided(4)"))

    for (arguments, message) in [
      ([], "for the layers 0, 7 of a model; say which with --layer N"),
      (["--layer", "x"], "--layer x: must be the number"),
      (["--layer", "0", "--head", "2"], "--head 2: there are 0 to 1"),
      (["--layer", "0", "--strategy", "flash"], "has a strategy for each head"),
      (["--layer", "0", "--causal"], "--causal: --plan plan.json says the mask"),
      (["--layer", "0", "--n-kv", "4"], "--n-kv 4: --plan plan.json says the mask"),
    ] {
      let refused = try AttnbenchProcess.run(
        ["mask", "--plan", "plan.json"] + arguments, in: directory.root)
      #expect(refused.code == 64 && refused.error.contains(message), "\(refused.error)")
    }
    let missing = try mask("--layer", "3")
    #expect(missing.code == 1 && missing.error.contains("has no layer 3"), "\(missing.error)")
    let nothing = try AttnbenchProcess.run(["mask", "-n", "8"], in: directory.root)
    #expect(nothing.code == 64 && nothing.error.contains("give --strategy"))
  }

  @Test(
    "mask says what it cannot mean",
    arguments: [
      (["--inputs", "qkv.safetensors", "--head", "2"], "--head 2: there are 0 to 1"),
      (
        ["--inputs", "qkv.safetensors", "--head", "0", "--batch", "1"], "--batch 1: there is only 0"
      ),
      (
        ["--inputs", "qkv.safetensors", "--head", "0", "-n", "10"],
        "has 9 queries; give at most that"
      ),
      (["--inputs", "qkv.safetensors", "--head", "0", "-o", "a.pdf"], "must end in .svg or .png"),
      (["--inputs", "qkv.safetensors", "--head", "0", "--n-kv", "3"], "--n-kv 3: the lengths are"),
      (["-n", "8", "--head", "0"], "--head 0: is about tensors"),
      (["-n", "8", "-o", "a.png"], "a mask is written as .svg"), ([], "give -n"),
      (["-n", "8", "--layer", "1"], "--layer 1: says which layer of --plan"),
    ])
  func refused(arguments: [String], message: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 9).write(to: directory)
    let result = try AttnbenchProcess.run(
      ["mask", "--strategy", "flash"] + arguments, in: directory.root)
    #expect(result.code == 64)
    #expect(result.errorLines.count == 1)
    #expect(result.error.contains(message), "\(result.error)")
    #expect(try directory.contents.count == 4)
  }

  @Test("report writes a page beside the results, and where -o says")
  func report() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let sweep = try AttnbenchProcess.run(
      [
        "sweep", "--n", "16,32", "--strategy", "full,flash", "--threads", "1", "--min-samples",
        "3", "--rel-ci", "90%", "-o", "out",
      ], in: directory.root)
    #expect(sweep.code == 0, "\(sweep.error)")
    let result = try AttnbenchProcess.run(["report", "out"], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.outputLines == ["out/report.html"])
    let page = try String(contentsOfFile: directory.path("out/report.html"), encoding: .utf8)
    #expect(page.hasPrefix("<!DOCTYPE html>") && page.hasSuffix("</html>\n"))
    #expect(page.contains("--min-samples 3"))
    let other = try AttnbenchProcess.run(
      ["report", "out", "-o", "a.html", "--max-error", "0.5,1e-3"], in: directory.root)
    #expect(other.outputLines == ["a.html"])
    let limits = try String(contentsOfFile: directory.path("a.html"), encoding: .utf8)
    #expect(limits.contains("error ≤ 0.001</th>") && limits.contains("error ≤ 0.5</th>"))
  }

  @Test("plot and report name the tensors that a sweep was of")
  func tensorsAreNamed() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 40).write(to: directory)
    let sweep = try AttnbenchProcess.run(
      [
        "sweep", "--inputs", "qkv.safetensors:layer7", "--n", "20,40", "--strategy", "full,flash",
        "--threads", "1", "--min-samples", "3", "--rel-ci", "90%", "-o", "out",
      ], in: directory.root)
    #expect(sweep.code == 0, "\(sweep.error)")
    // By the sweep itself, and drawn again.
    func scaling() throws -> String {
      try String(contentsOfFile: directory.path("out/scaling.svg"), encoding: .utf8)
    }
    #expect(try scaling().contains("qkv.safetensors:layer7 · "))
    let plot = try AttnbenchProcess.run(
      ["plot", "out", "--kind", "scaling,speedup"], in: directory.root)
    #expect(plot.code == 0, "\(plot.error)")
    #expect(try scaling().contains("qkv.safetensors:layer7 · "))
    let speedup = try String(contentsOfFile: directory.path("out/speedup.svg"), encoding: .utf8)
    #expect(speedup.contains("Times faster than flash"))
    let report = try AttnbenchProcess.run(["report", "out"], in: directory.root)
    #expect(report.code == 0, "\(report.error)")
    let page = try String(contentsOfFile: directory.path("out/report.html"), encoding: .utf8)
    #expect(page.contains("tensors of qkv.safetensors:layer7</p>"))
  }

  @Test("report names what is missing, in one line")
  func reportFails() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let missing = try AttnbenchProcess.run(["report", "nothing"], in: directory.root)
    #expect(missing.code == 1 && missing.errorLines.count == 1)
    #expect(missing.error.contains("nothing/results.csv"))
    let limit = try AttnbenchProcess.run(
      ["report", "nothing", "--max-error", "-1"], in: directory.root)
    #expect(limit.code == 64 && limit.error.contains("'-1' is no error above 0"))
  }
}
