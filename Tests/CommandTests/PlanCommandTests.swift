import Foundation
import TensorFiles
import Testing

/// recommend --per-head --save, and run --plan.
@Suite("Plans")
struct PlanCommandTests {
  private static func plan(_ strategies: [String], n: Int, dimension: Int) -> String {
    let heads = strategies.enumerated().map { #"{"head": \#($0), "strategy": "\#($1)"}"# }
    return """
      {"format": "attnbench-head-plan", "version": 1,
       "problem": {"batch": 1, "heads": \(strategies.count), "kv_heads": \(strategies.count),
                   "n_q": \(n), "n_kv": \(n), "head_dim": \(dimension),
                   "value_dim": \(dimension), "scale": 0.5, "causal": true, "query_offset": 0},
       "heads": [\(heads.joined(separator: ", "))]}
      """
  }

  private func write(_ text: String, to directory: TemporaryDirectory) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: directory.path("plan.json")))
  }

  private func run(_ arguments: [String], _ directory: TemporaryDirectory) throws
    -> AttnbenchProcess.Result
  {
    try AttnbenchProcess.run(
      ["run", "--inputs", "qkv.safetensors"] + arguments, in: directory.root)
  }

  @Test("a plan of one strategy gives that strategy's bytes; of several, each head's own")
  func plans() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let (n, dimension) = (70, 8)
    try TestTensors(heads: 3, n: n, dimension: dimension).write(to: directory)
    var outputs: [String: (output: [Float], lse: [Float])] = [:]
    for strategy in ["flash", "window(9, sinks: 2)"] {
      try write(
        Self.plan([strategy, strategy, strategy], n: n, dimension: dimension), to: directory)
      for arguments in [
        ["--plan", "plan.json", "-o", "plan.npy", "--lse", "plan-lse.npy"],
        [
          "--strategy", strategy, "--causal", "--scale", "0.5", "-o", "own.npy", "--lse",
          "own-lse.npy",
        ],
      ] {
        let result = try run(arguments, directory)
        #expect(result.code == 0, "\(result.error)")
      }
      for name in ["", "-lse"] {
        let files = ["plan", "own"].map {
          FileManager.default.contents(atPath: directory.path("\($0)\(name).npy"))
        }
        #expect(files[0] != nil && files[0] == files[1], "\(strategy) \(name)")
      }
      outputs[strategy] = (
        try NpyFile.read(directory.path("own.npy")).elements,
        try NpyFile.read(directory.path("own-lse.npy")).elements
      )
    }
    let strategies = ["window(9, sinks: 2)", "flash", "window(9, sinks: 2)"]
    try write(Self.plan(strategies, n: n, dimension: dimension), to: directory)
    let result = try run(["--plan", "plan.json", "-o", "o.npy", "--lse", "l.npy"], directory)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error.contains("mix(window(9, sinks: 2) x2, flash x1)"))
    let output = try NpyFile.read(directory.path("o.npy")).elements
    let lse = try NpyFile.read(directory.path("l.npy")).elements
    for (head, strategy) in strategies.enumerated() {
      let own = try #require(outputs[strategy])
      let rows = head * n * dimension..<(head + 1) * n * dimension
      #expect(output[rows].map(\.bitPattern) == own.output[rows].map(\.bitPattern))
      let logs = head * n..<(head + 1) * n
      #expect(lse[logs].map(\.bitPattern) == own.lse[logs].map(\.bitPattern))
    }
  }

  @Test("recommend --per-head saves a plan that run takes")
  func recommend() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 150, dimension: 8).write(to: directory)
    let arguments = [
      "recommend", "--inputs", "qkv.safetensors", "--causal", "--max-error", "0.3",
      "--strategy", "flash,window(16),window(64),linear", "--budget", "1h", "--threads", "1",
      "--per-head", "--save", "plan.json",
    ]
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("strategy") && result.output.contains("share of time"))
    #expect(result.output.contains("on all 300 rows"))
    #expect(result.output.contains("for all heads"))
    let ran = try run(["--plan", "plan.json", "-o", "o.npy"], directory)
    #expect(ran.code == 0, "\(ran.error)")
    #expect(try NpyFile.read(directory.path("o.npy")).shape == [2, 150, 8])
    #expect(!ran.error.contains("warning"), "\(ran.error)")

    let json = try AttnbenchProcess.run(arguments + ["--json"], in: directory.root)
    let object = try #require(
      JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    #expect(object["n_q"] as? Int == 150 && object["causal"] as? Bool == true)
    let perHead = try #require(object["per_head"] as? [String: Any])
    let heads = try #require(perHead["heads"] as? [[String: Any]])
    #expect(heads.count == 2)
    #expect(heads.allSatisfy { ($0["rel_l2_error"] as? Double ?? 1) <= 0.3 })
  }

  @Test("a plan measured on other storage runs, and a warning says so")
  func storage() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 20, dimension: 8).write(to: directory)
    let plan = Self.plan(["flash", "flash"], n: 20, dimension: 8)
    let options = ["--plan", "plan.json", "-o", "o.npy"]
    try write(plan, to: directory)
    let silent = try run(options, directory)
    #expect(silent.code == 0 && !silent.error.contains("warning"), "\(silent.error)")
    try write(
      plan.replacingOccurrences(of: #""scale""#, with: #""dtype": "bf16", "scale""#),
      to: directory)
    let warned = try run(options, directory)
    #expect(warned.code == 0, "\(warned.error)")
    #expect(warned.error.contains("warning: plan.json was measured on bf16 tensors"))
    #expect(warned.error.contains("recommend --per-head --dtype f32"))
  }

  @Test("recommend searches parameters and says on which rows errors were measured")
  func search() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 150, dimension: 8).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "recommend", "--inputs", "qkv.safetensors", "--max-error", "0.5", "--error-rows", "40",
        "--budget", "1h", "--threads", "1",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("on 80 of 300 rows, sampled"))
    #expect(result.output.contains("at most"))
    #expect(result.output.contains("<- choice"))
    #expect(result.output.contains("run "))
  }

  @Test(
    "what cannot be meant is refused, by name",
    arguments: [
      (["--plan", "plan.json", "--strategy", "flash"], "leave out --strategy", 64),
      ([], "--strategy S or --plan", 64),
      (["--plan", "plan.json", "--scale", "2"], "was made for the scale 0.5", 64),
      (["--plan", "missing.json"], "missing.json", 1),
      (["--plan", "other.json"], "problem.head_dim 9: the tensors have 8", 1),
    ])
  func refusals(_ arguments: [String], _ message: String, _ code: Int32) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 20, dimension: 8).write(to: directory)
    try write(Self.plan(["flash", "flash"], n: 20, dimension: 8), to: directory)
    try Data(Self.plan(["flash", "flash"], n: 20, dimension: 9).utf8)
      .write(to: URL(fileURLWithPath: directory.path("other.json")))
    let result = try run(arguments + ["-o", "o.npy"], directory)
    #expect(result.code == code, "\(result.error)")
    #expect(result.error.contains(message), "\(result.error)")
    #expect(!FileManager.default.fileExists(atPath: directory.path("o.npy")))
  }

  @Test("--save without --per-head is refused before anything is measured")
  func saveNeedsHeads() throws {
    let result = try AttnbenchProcess.run(["recommend", "--n", "64", "--save", "plan.json"])
    #expect(result.code == 64)
    #expect(result.error.contains("--save plan.json") && result.error.contains("--per-head"))
  }
}
