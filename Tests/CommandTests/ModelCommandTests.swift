import AttentionBench
import Foundation
import TensorFiles
import Testing

/// recommend for all layers of a model, and run with its plan.
@Suite("Models")
struct ModelCommandTests {
  /// Rows of one head whose keys and queries point the same way where they are close: with a large
  /// `pull` only the nearest keys matter, with 0 all alike.
  private static func tensor(
    heads: Int, n: Int, pulls: [Double], isValue: Bool = false
  ) throws -> HostTensor {
    try HostTensor(shape: [heads, n, 8]) { elements in
      for index in elements.indices {
        let (head, row, column) = (index / (n * 8), index / 8 % n, index % 8)
        let angle = Double(row) * 2 * .pi / Double(2 * n) * Double(1 + column / 2)
        let wave = column.isMultiple(of: 2) ? cos(angle) : sin(angle)
        let noise = sin(12.9898 * Double(index) + Double(head))
        elements[index] = Float(isValue ? noise : pulls[head % pulls.count] * wave + 0.1 * noise)
      }
    }
  }

  /// Layers 0, 1 and 5 of two heads on one.
  private static func write(
    to directory: TemporaryDirectory, n: Int = 200, metadata: [String: String] = [:]
  ) throws {
    var tensors: [NamedTensor] = []
    for (layer, pulls) in [(0, [4.0, 0.1]), (1, [6, 6]), (5, [0.1, 0.1])] {
      tensors += [
        NamedTensor("layer\(layer).q", try tensor(heads: 2, n: n, pulls: pulls)),
        NamedTensor("layer\(layer).k", try tensor(heads: 1, n: n, pulls: [pulls[0]])),
        NamedTensor("layer\(layer).v", try tensor(heads: 1, n: n, pulls: [1], isValue: true)),
      ]
    }
    try SafetensorsFile.write(
      tensors, metadata: metadata, to: directory.path("qkv.safetensors"))
  }

  private static let metadata = [
    "model": "Tiny", "causal": "true", "scale": "1/sqrt(head_dim)",
    "layer5": #"{"causal": true, "scale": 0.25, "softcap": 20, "window": 63, "sinks": null}"#,
  ]

  private func recommend(
    _ arguments: [String], _ directory: TemporaryDirectory
  ) throws -> AttnbenchProcess.Result {
    try AttnbenchProcess.run(
      ["recommend", "--inputs", "qkv.safetensors", "--budget", "1h", "--threads", "1"] + arguments,
      in: directory.root)
  }

  /// `s.json`: layer 0 costs nothing.
  private static func writeSensitivities(to directory: TemporaryDirectory) throws {
    let layers = [0, 1, 5].map { #"{"layer": \#($0), "sensitivity": 0.\#($0)}"# }
    try Data(
      #"{"format": "attnbench-sensitivity", "version": 1, "layers": [\#(layers.joined(separator: ","))]}"#
        .utf8
    ).write(to: URL(fileURLWithPath: directory.path("s.json")))
  }

  private func object(_ text: String) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
  }

  @Test("all layers: header, trade-off, plan; run takes the plan at another length")
  func wholeModel() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    let result = try recommend(
      ["--max-total-error", "0.5", "--strategy", "window(16),window(64)", "--save", "plan.json"],
      directory)
    #expect(result.code == 0, "\(result.error)")
    for text in [
      "qkv.safetensors: Tiny", "3 layers (0-1, 5), 6 heads", "2 heads on 1, n = 200, d = 8",
      "causal (the file's metadata)", "own window of 63 keys back", "softcap 20.0",
      "threads: 1", "budget: 1h", "[3/3] layer5",
    ] {
      #expect(result.error.contains(text), "\(text) in \(result.error)")
    }
    #expect(result.output.contains("<- chosen") || result.output.contains("nothing is faster"))
    #expect(
      result.output.contains("pairs") && result.output.contains("the plan, run over all layers"))
    #expect(result.output.contains("attnbench-model evaluate MODEL --plan plan.json --text OTHER"))

    let plan = try object(String(contentsOfFile: directory.path("plan.json"), encoding: .utf8))
    let layers = try #require(plan["layers"] as? [[String: Any]])
    #expect(layers.map { $0["layer"] as? Int } == [0, 1, 5] && plan["model"] as? String == "Tiny")
    #expect(layers.allSatisfy { ($0["heads"] as? [String])?.count == 2 })
    let last = try #require(layers[2]["problem"] as? [String: Any])
    #expect(last["window_left"] as? Int == 63 && last["softcap"] as? Double == 20)

    try Self.write(to: directory, n: 130, metadata: Self.metadata)
    for layer in ["layer0", "layer5"] {
      let ran = try AttnbenchProcess.run(
        ["run", "--inputs", "qkv.safetensors:\(layer)", "--plan", "plan.json", "-o", "o.npy"],
        in: directory.root)
      #expect(ran.code == 0, "\(ran.error)")
      #expect(ran.error.contains("note: plan.json was measured at n = 200 and ran at 130"))
      #expect(try NpyFile.read(directory.path("o.npy")).shape == [2, 130, 8])
    }
  }

  @Test("--json has everything; sensitivities turn errors into nats")
  func json() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    try Self.writeSensitivities(to: directory)
    let result = try recommend(
      [
        "--max-loss-increase", "0.04", "--sensitivity", "s.json", "--strategy", "window(16)",
        "--json",
      ],
      directory)
    #expect(result.code == 0, "\(result.error)")
    let document = try object(result.output)
    #expect(document["model"] as? String == "Tiny" && document["threads"] as? Int == 1)
    let choice = try #require(document["result"] as? [String: Any])
    let chosen = try #require(choice["chosen"] as? [String: Any])
    #expect(abs((chosen["max_total_error"] as? Double ?? 0) - 0.2) < 1e-12)
    #expect((chosen["total_error"] as? Double ?? 1) <= 0.2)
    #expect((choice["layers"] as? [[String: Any]])?.count == 3)
    #expect((choice["candidates"] as? [[String: Any]])?.isEmpty == false)
  }

  @Test("plan chooses again from what was measured, without the tensors")
  func chooseAgain() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    try Self.writeSensitivities(to: directory)
    let measured = try recommend(
      [
        "--strategy", "window(16),window(64)", "--max-total-error", "0.5", "--save", "plan.json",
        "--record", "choice.json",
      ], directory)
    #expect(measured.code == 0, "\(measured.error)")
    #expect(measured.output.contains("wrote choice.json"))
    try FileManager.default.removeItem(atPath: directory.path("qkv.safetensors"))
    func plan(_ arguments: [String]) throws -> AttnbenchProcess.Result {
      try AttnbenchProcess.run(["plan"] + arguments, in: directory.root)
    }
    // The same limit is the same plan but for its own time.
    let same = try plan(["choice.json", "--max-total-error", "0.5", "--save", "same.json"])
    #expect(same.code == 0, "\(same.error)")
    let plans = try ["plan.json", "same.json"].map { try ModelPlan(path: directory.path($0)) }
    #expect(plans[0].layers == plans[1].layers)
    #expect(plans[0].measured?.totalError == plans[1].measured?.totalError)
    #expect(plans[1].measured?.seconds == nil)
    // Other weights and a picture.
    let other = try plan(
      [
        "choice.json", "--sensitivity", "s.json", "--max-loss-increase", "0", "--save",
        "nothing.json", "--plot", "nothing.svg", "--json",
      ])
    #expect(other.code == 0, "\(other.error)")
    let record = try object(other.output)
    #expect(record["sensitivities"] as? String == "s.json")
    let nothing = try ModelPlan(path: directory.path("nothing.json"))
    // What costs nothing may err; the others must not.
    #expect(nothing.measured?.totalError == 0)
    #expect(nothing.layers[1].heads.allSatisfy { $0 == "flash" || $0 == "full" })
    let curve = try plan(["choice.json"])
    #expect(curve.code == 0 && curve.output.contains("speed-up over"))
  }

  @Test("what plan cannot use is named")
  func badChoices() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    let measured = try recommend(
      [
        "--strategy", "window(16)", "--max-total-error", "0.5", "--save", "plan.json", "--record",
        "choice.json",
      ], directory)
    #expect(measured.code == 0, "\(measured.error)")
    let text = try String(contentsOfFile: directory.path("choice.json"), encoding: .utf8)
    func expect(_ arguments: [String], says words: String, line: Int = #line) throws {
      let result = try AttnbenchProcess.run(["plan"] + arguments, in: directory.root)
      #expect(
        result.code != 0 && result.error.contains(words), "line \(line): \(result.error)")
    }
    func choice(_ change: (inout [String: Any]) -> Void) throws -> [String] {
      var document = try object(text)
      change(&document)
      try JSONSerialization.data(withJSONObject: document)
        .write(to: URL(fileURLWithPath: directory.path("bad.json")))
      return ["bad.json", "--max-total-error", "0.5"]
    }
    func measuredLayers(_ change: (inout [[String: Any]]) -> Void) throws -> [String] {
      try choice { document in
        var measurement = document["measurement"] as? [String: Any] ?? [:]
        var layers = measurement["layers"] as? [[String: Any]] ?? []
        change(&layers)
        measurement["layers"] = layers
        document["measurement"] = measurement
      }
    }
    try expect(["none.json"], says: "none.json")
    try expect(["plan.json"], says: "is a plan, one point of the trade-off")
    try expect(["choice.json", "--save", "p.json"], says: "say which with --max-total-error")
    try expect(["choice.json", "--max-loss-increase", "0.1"], says: "--sensitivity FILE")
    try expect(try choice { $0["measurement"] = nil }, says: "as older versions wrote it")
    try expect(
      try measuredLayers { $0[0]["squared_error_shares"] = ["window(16)": [0.1]] },
      says: "must be 2 numbers, 0 or more, one for each head")
    try expect(
      try measuredLayers { $0[1]["squared_error_shares"] = [String: Any]() },
      says: "must be there, and among the candidates")
    try expect(
      try measuredLayers { $0.removeLast() }, says: "has other layers in measurement")
  }

  @Test("report makes a page of what --json prints, of a plan, and of an evaluation beside them")
  func report() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    let chosen = try recommend(
      [
        "--max-total-error", "0.5", "--strategy", "window(16),window(64)", "--save", "plan.json",
        "--plot", "plan.svg", "--json",
      ], directory)
    #expect(chosen.code == 0, "\(chosen.error)")
    try Data(chosen.output.utf8).write(to: URL(fileURLWithPath: directory.path("choice.json")))
    let svg = try String(contentsOfFile: directory.path("plan.svg"), encoding: .utf8)
    #expect(svg.contains("qkv.safetensors: Tiny") && svg.contains("layer 5, head 1: "))
    let evaluation = """
      {"format": "attnbench-model-evaluation", "version": 1, "model": "Tiny", "plan": "plan.json",
       "text": "other.txt", "n": 512, "loss": {"full": {"mean": 3}, "plan": {"mean": 3.1}},
       "loss_increase": {"mean": 0.1, "low": 0.05, "high": 0.15}, "predicted_loss_increase": null}
      """
    try Data(evaluation.utf8).write(to: URL(fileURLWithPath: directory.path("e.json")))
    for (arguments, path) in [
      (["choice.json"], "choice.html"), (["plan.json", "-o", "a.html"], "a.html"),
      (
        ["choice.json", "--evaluation", "e.json", "--evaluation", "e.json", "-o", "b.html"],
        "b.html"
      ),
    ] {
      let result = try AttnbenchProcess.run(["report"] + arguments, in: directory.root)
      #expect(result.code == 0 && result.outputLines == [path], "\(result.error)")
      let page = try String(contentsOfFile: directory.path(path), encoding: .utf8)
      #expect(page.contains("<h1>Attention of Tiny</h1>") && page.hasSuffix("</html>\n"))
      #expect(page.contains("layer 5, head 1: ") && page.contains("qkv.safetensors"))
      #expect(page.contains("other.txt") == (path == "b.html"))
    }
    for (arguments, message, code) in [
      (["choice.json", "--max-error", "0.1"], "--max-error 0.1: chooses among the cells", 64),
      (["e.json"], "give it with --evaluation", 1),
      (["qkv.safetensors"], "is no JSON object", 1),
      (["choice.json", "--evaluation", "plan.json"], "plan.json is no evaluation", 1),
      (["nothing", "--evaluation", "e.json"], "is a sweep, which has no loss", 64),
    ] {
      let result = try AttnbenchProcess.run(["report"] + arguments, in: directory.root)
      #expect(result.code == Int32(code) && result.errorLines.count == 1, "\(result.error)")
      #expect(result.error.contains(message), "\(result.error)")
    }
  }

  @Test(
    "layers with the same window are one problem, and a candidate's time is that of all of them")
  func windowsAlike() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: ["causal": "true", "window": "63"])
    let result = try recommend(["--strategy", "window(16)", "--json"], directory)
    #expect(result.code == 0, "\(result.error)")
    let choice = try #require(object(result.output)["result"] as? [String: Any])
    let candidates = try #require(choice["candidates"] as? [[String: Any]])
    #expect(
      Set(candidates.map { $0["strategy"] as? String }) == ["flash", "window(16)"]
        && candidates.count == 2)
    for candidate in candidates { #expect(candidate["layers"] as? [Int] == [0, 1, 5]) }
  }

  @Test("options win over the metadata, and a warning says so")
  func contradictions() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    let window = ["--strategy", "window(16)"]
    let whole = try recommend(["--no-causal", "--scale", "0.5"] + window, directory)
    #expect(whole.code == 0, "\(whole.error)")
    #expect(whole.error.contains("not causal (--no-causal), scale 0.5 (--scale)"))
    #expect(whole.error.contains("warning: --no-causal: qkv.safetensors says"))
    #expect(whole.error.contains("warning: --scale 0.5: qkv.safetensors says that it is 0.35355"))
    let layer = ["recommend", "--inputs", "qkv.safetensors:layer0", "--threads", "1"] + window
    let one = try AttnbenchProcess.run(layer, in: directory.root)
    #expect(one.code == 0, "\(one.error)")
    #expect(one.error.contains("causal (the file's metadata)"))
    #expect(!one.error.contains("the option wins"), "\(one.error)")
  }

  @Test("an interrupt keeps what is known, with the plan, and leaves with 130")
  func interrupted() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, n: 1500, metadata: Self.metadata)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: AttnbenchProcess.executable)
    process.arguments = [
      "recommend", "--inputs", "qkv.safetensors", "--max-total-error", "0.5", "--save", "plan.json",
      "--threads", "1", "--budget", "1h",
    ]
    process.currentDirectoryURL = URL(fileURLWithPath: directory.root)
    let (output, errors) = (directory.path("out.txt"), directory.path("err.txt"))
    for path in [output, errors] { try Data().write(to: URL(fileURLWithPath: path)) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle(forWritingAtPath: output)
    process.standardError = FileHandle(forWritingAtPath: errors)
    try process.run()
    func said() throws -> String { try String(contentsOfFile: errors, encoding: .utf8) }
    while process.isRunning, try !said().contains("tried") { usleep(500) }
    kill(process.processIdentifier, SIGINT)
    process.waitUntilExit()
    #expect(process.terminationReason == .exit && process.terminationStatus == 130)
    let text = try said()
    #expect(text.contains("not measured, and keeping flash: layers"), "\(text)")
    #expect(try String(contentsOfFile: output, encoding: .utf8).contains("wrote plan.json"))
    let plan = try object(String(contentsOfFile: directory.path("plan.json"), encoding: .utf8))
    #expect((plan["layers"] as? [[String: Any]])?.count == 3)
  }

  @Test(
    "what cannot be meant is refused, by name",
    arguments: [
      (["--max-error", "0.1"], "--max-error 0.1: is about one layer", 64),
      (["--max-total-error", "x"], "--max-total-error", 64),
      (["--max-total-error", "-1"], "0 or more", 64),
      (["--max-loss-increase", "0.1"], "--sensitivity FILE", 64),
      (["--max-total-error", "1", "--max-loss-increase", "0.1"], "contradicts", 64),
      (["--save", "plan.json"], "--save plan.json: a plan is one point", 64),
      (["--heads", "12"], "--heads 12: the tensors of --inputs qkv.safetensors", 64),
      (["--inputs", "other.safetensors"], "--inputs qkv.safetensors was given, too", 64),
      (["--n", "201"], "have 200 rows", 64),
      (["--sensitivity", "none.json", "--max-total-error", "1"], "none.json", 1),
    ])
  func refusals(_ arguments: [String], _ message: String, _ code: Int32) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory)
    let result = try recommend(arguments, directory)
    #expect(result.code == code, "\(result.error)")
    #expect(result.error.contains(message), "\(result.error)")
    #expect(try directory.contents == ["qkv.safetensors"])
  }

  @Test("options of a model are refused for one layer, and sizes beside tensors everywhere")
  func oneLayer() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory)
    let inputs = ["--inputs", "qkv.safetensors:layer0"]
    for (arguments, message) in [
      (["recommend", "--max-total-error", "1"], "--max-total-error 1: is about all layers"),
      (["recommend", "--head-dim", "8"], "--head-dim 8: the tensors of --inputs"),
      (["sweep", "--n", "50", "--batch", "2"], "--batch 2: the tensors of --inputs"),
      (["verify", "--n-kv", "9"], "--n-kv 9: the tensors of --inputs"),
      (["sweep", "--n", "50"] + inputs, "was given, too"),
      (["run", "--strategy", "flash", "-o", "o.npy"] + inputs, "was given, too"),
      (["run", "--plan", "plan.json", "-o", "o.npy"], "plan.json"),
    ] {
      let result = try AttnbenchProcess.run(
        [arguments[0]] + inputs + arguments.dropFirst(), in: directory.root)
      #expect(result.code != 0 && result.error.contains(message), "\(result.error)")
    }
  }

  @Test("weights are called weights")
  func weights() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensor = try Self.tensor(heads: 1, n: 4, pulls: [1])
    try SafetensorsFile.write(
      [NamedTensor("model.layers.0.self_attn.q_proj.weight", tensor)],
      to: directory.path("model.safetensors"))
    for command in [["recommend"], ["run", "--strategy", "flash", "-o", "o.npy"], ["verify"]] {
      let result = try AttnbenchProcess.run(
        [command[0], "--inputs", "model.safetensors"] + command.dropFirst(), in: directory.root)
      #expect(result.code == 1, "\(result.error)")
      #expect(
        result.error.contains("holds the weights of a model")
          && result.error.contains("attnbench-model capture"), "\(result.error)")
    }
  }

  @Test("a plan on standard output is alone there, and is not advised to be read from there")
  func planOnStandardOutput() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try Self.write(to: directory, metadata: Self.metadata)
    let measured = try recommend(
      [
        "--max-total-error", "0.5", "--strategy", "window(16),window(64)", "--record",
        "choice.json",
        "--save", "/dev/stdout",
      ], directory)
    #expect(measured.code == 0, "\(measured.error)")
    let again = ["plan", "choice.json", "--max-total-error", "0.5", "--save"]
    let chosen = try AttnbenchProcess.run(again + ["/dev/stdout"], in: directory.root)
    #expect(chosen.code == 0, "\(chosen.error)")
    for result in [measured, chosen] {
      #expect(try object(result.output)["format"] != nil, "\(result.output)")
      #expect(!result.error.contains("--plan /dev/stdout"), "\(result.error)")
      // What is said beside it has not been lost.
      #expect(result.error.contains("strategies and heads"), "\(result.error)")
    }
    // Neither are two files in one stream.
    let both = try AttnbenchProcess.run(
      again + ["/dev/stdout", "--json"], in: directory.root)
    #expect(both.code == 64 && both.output.isEmpty)
    #expect(both.error.contains("--save /dev/stdout: --json prints there, too"), "\(both.error)")
    let kept = try AttnbenchProcess.run(again + ["plan.json"], in: directory.root)
    #expect(kept.output.contains("--plan plan.json"), "\(kept.output)")
  }
}
