import ArgumentParser
import Attention
import AttentionBench
import AttentionTestSupport
import Foundation
import TensorFiles
import Testing
import attnbench

/// Operands that a strategy takes beyond q, k and v, on the command line.
@Suite("Operands", .serialized)
struct OperandCommandTests {
  private static let registry = StrategyRegistry.standard.adding(GatedRecurrence.family)

  /// Runs a command in this process, with a strategy from outside among the others.
  private func run<Command: ParsableCommand>(
    _ type: Command.Type, _ arguments: [String]
  ) throws -> (code: Int32, message: String) {
    CommandRegistry.$current.withValue(Self.registry) {
      do {
        var command = try type.parse(arguments)
        try command.run()
        return (0, "")
      } catch {
        let outcome = CommandExit.outcome(of: error)
        return (outcome.code.rawValue, outcome.message ?? "")
      }
    }
  }

  /// Two heads, nine rows: q.npy and so on, decay.npy, and all of them in all.safetensors with and
  /// without the prefix `layer7`; qkv.safetensors is without the decay.
  private func files() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    let tensors = try TestTensors()
    try tensors.write(to: directory)
    let decay = try HostTensor(shape: [2, 9]) { elements in
      for index in elements.indices { elements[index] = Float(index % 4) * -0.2 }
    }
    try NpyFile.write(decay, to: directory.path("decay.npy"))
    let all = [("q", tensors.query), ("k", tensors.key), ("v", tensors.value), ("decay", decay)]
    try SafetensorsFile.write(
      all.map { NamedTensor($0, $1) } + all.map { NamedTensor("layer7." + $0, $1) },
      to: directory.path("all.safetensors"))
    return directory
  }

  @Test("what lies behind a sequence's length is not looked at")
  func padding() throws {
    let directory = try files()
    defer { directory.remove() }
    let decay = try HostTensor(shape: [2, 9]) { elements in
      for index in elements.indices { elements[index] = index % 9 < 7 ? -0.2 : .nan }
    }
    try NpyFile.write(decay, to: directory.path("padded.npy"))
    for (length, code) in [("7", 0), ("8", 1)] {
      let result = try AttnbenchProcess.run(
        [
          "run", "--inputs", "qkv.safetensors:layer7", "--strategy", "gated", "--causal", "--decay",
          "padded.npy", "--kv-lengths", length, "-o", "o.npy",
        ], in: directory.root)
      #expect(result.code == code, "\(result.error)")
      #expect(result.error.contains("--decay padded.npy holds decay[0, 0, 7, 0]") == (code == 1))
    }
  }

  @Test(
    "more keys or blocks than there are",
    arguments: [
      ("topk(10)", "topk k = 10: must be at most 9"),
      ("topblocks(4, 4)", "topblocks top = 4: must be at most 3"),
      ("quest(3, 4)", "quest top = 4: must be at most 3"),
      ("vertical_slash(10, 2)", "vertical_slash columns = 10: must be at most 9"),
      ("vertical_slash(2, 10)", "vertical_slash diagonals = 10: must be at most 9"),
      ("nystrom(10)", "nystrom landmarks = 10: must be at most 9"),
    ])
  func excess(_ strategy: String, _ message: String) throws {
    let directory = try files()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["run", "--inputs", "qkv.safetensors:layer7", "--strategy", strategy, "-o", "o.npy"],
      in: directory.root)
    #expect(result.code == 64 && result.error.contains(message), "\(result.error)")
    #expect(try !directory.contents.contains("o.npy"))
  }

  @Test("run finds them beside q, k and v or by --operand, with the same result")
  func found() throws {
    let directory = try files()
    defer { directory.remove() }
    func path(_ name: String) -> String { directory.path(name) }
    let separate = ["--q", path("q.npy"), "--k", path("k.npy"), "--v", path("v.npy")]
    let ways = [
      ["--inputs", path("all.safetensors")], ["--inputs", path("all.safetensors:layer7")],
      ["--inputs", path("qkv.safetensors:layer7"), "--operand", "decay=" + path("decay.npy")],
      separate + ["--operand", "decay=" + path("decay.npy")],
      separate + ["--operand", "decay=" + path("all.safetensors:layer7.decay")],
    ]
    var results: [[UInt32]] = []
    for way in ways {
      let (code, message) = try run(
        RunCommand.self, way + ["--strategy", "gated", "--causal", "-o", path("o.npy")])
      #expect(code == 0, "\(way): \(message)")
      results.append(try NpyFile.read(path("o.npy")).elements.map(\.bitPattern))
    }
    #expect(results.allSatisfy { $0 == results[0] })
  }

  @Test("run refuses what is missing, not taken, given twice or not valid, and writes nothing")
  func refused() throws {
    let directory = try files()
    defer { directory.remove() }
    func path(_ name: String) -> String { directory.path(name) }
    for (name, value) in [("positive", Float(0.5)), ("nan", .nan)] {
      try NpyFile.write(
        HostTensor(shape: [2, 9]) {
          $0.update(repeating: -1)
          $0[12] = value
        }, to: path(name + ".npy"))
    }
    func decay(_ name: String) -> [String] { ["--operand", "decay=" + path(name)] }
    let cases: [(strategy: String, arguments: [String], code: Int32, words: [String])] = [
      ("gated", [], 64, ["gated needs the operand decay", "give --decay FILE"]),
      ("gated", decay("decay.npy") + decay("decay.npy"), 64, ["leave one of them out"]),
      (
        "gated", ["--operand", "decai=" + path("decay.npy")], 64,
        ["--operand decai=", "gated takes decay; leave it out"]
      ),
      ("flash", decay("decay.npy"), 64, ["query, key and value alone", "leave it out"]),
      ("gated", decay("q.npy"), 1, ["q.npy has shape [2, 9, 5]", "[b, hKV, nKV] = [1, 2, 9]"]),
      ("gated", decay("positive.npy"), 1, ["decay[0, 1, 3, 0] = 0.5", "-inf...0.0"]),
      ("gated", decay("nan.npy"), 1, ["decay[0, 1, 3, 0] = nan"]),
      ("gated", ["--operand", path("decay.npy")], 64, ["must be NAME=FILE"]),
      ("gated", decay("nowhere.npy"), 1, ["nowhere.npy"]),
    ]
    for (strategy, arguments, code, words) in cases {
      let (found, message) = try run(
        RunCommand.self,
        ["--inputs", path("qkv.safetensors"), "--strategy", strategy, "-o", path("o.npy")]
          + arguments)
      #expect(found == code, "\(arguments): \(message)")
      #expect(words.allSatisfy(message.contains), "\(message)")
      #expect(!FileManager.default.fileExists(atPath: path("o.npy")))
    }
    let both = try run(
      RunCommand.self,
      ["--inputs", path("all.safetensors"), "--strategy", "gated", "-o", path("o.npy")]
        + decay("decay.npy"))
    #expect(both.code == 64 && both.message.contains("leave one of them out"), "\(both.message)")
  }

  @Test("verify and sweep read them from --inputs and draw them without")
  func checkedAndSwept() throws {
    let directory = try files()
    defer { directory.remove() }
    let inputs = directory.path("all.safetensors:layer7")
    for source in [["--inputs", inputs], ["--n", "40", "--heads", "2"]] {
      let (code, message) = try run(
        VerifyCommand.self, source + ["--strategy", "gated,flash", "--threads", "1", "--causal"])
      #expect(code == 0, "\(source): \(message)")
    }
    let without = try run(
      VerifyCommand.self,
      ["--inputs", directory.path("qkv.safetensors"), "--strategy", "gated", "--threads", "1"])
    #expect(without.code == 1)
    let (code, message) = try run(
      SweepCommand.self,
      [
        "--inputs", inputs, "--n", "5,9", "--strategy", "flash,gated", "--threads", "1",
        "--rel-ci", "100%", "--budget", "1h", "-o", directory.path("out"),
      ])
    #expect(code == 0, "\(message)")
    for row in try RunDirectory.readResults(in: directory.path("out")).rows {
      let isGated = row.strategy.name == "gated"
      #expect((row.accuracy.relativeL2 == nil) == isGated, "\(row.reason)")
      #expect(row.reason.contains("needs a model trained for it") == isGated)
    }
  }

  @Test("recommend measures it and shows no distance from full attention")
  func recommended() throws {
    let directory = try files()
    defer { directory.remove() }
    let (code, message) = try run(
      RecommendCommand.self,
      [
        "--inputs", directory.path("all.safetensors"), "--strategy", "flash,gated", "--threads",
        "1", "--budget", "1h", "--causal",
      ])
    #expect(code == 0, "\(message)")
  }

  @Test("list says what it takes")
  func listed() throws {
    let listed = ListedStrategy(GatedRecurrence.family)
    #expect(
      listed.operands.map(\.line) == [
        "operand decay [b, hKV, nKV], at most 0.0: natural logarithm of what is kept of the state"
      ])
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let json = String(decoding: try encoder.encode(listed), as: UTF8.self)
    #expect(
      json.contains(
        #""operands":[{"maximum":0,"meaning":"natural logarithm of what is kept of the state","#
          + #""name":"decay","optional":false,"shape":"[b, hKV, nKV]"}]"#), "\(json)")
  }

  @Test("gates of nsa have an option of their own, and a domain")
  func gates() throws {
    let directory = try files()
    defer { directory.remove() }
    func path(_ name: String) -> String { directory.path(name) }
    func write(_ name: String, _ value: Float) throws {
      let gate = try HostTensor(shape: [2, 9, 3]) { elements in
        for index in elements.indices { elements[index] = Float(index % 3) * value }
      }
      try NpyFile.write(gate, to: path(name))
    }
    try write("gate.npy", 0.5)
    try write("wide.npy", 0.8)
    let arguments = [
      "--inputs", path("qkv.safetensors:layer7"), "--strategy", "nsa(2, 3, 4)", "--causal", "-o",
      path("o.npy"),
    ]
    let fine = try run(RunCommand.self, arguments + ["--gate", path("gate.npy")])
    #expect(fine.code == 0, "\(fine.message)")
    let wide = try run(RunCommand.self, arguments + ["--gate", path("wide.npy")])
    #expect(wide.code == 1 && wide.message.contains("--gate "), "\(wide.message)")
    #expect(wide.message.contains("gate") && wide.message.contains("0.0...1.0"), "\(wide.message)")
    let missing = try run(RunCommand.self, arguments)
    #expect(missing.code == 64 && missing.message.contains("--gate FILE"), "\(missing.message)")
  }
}
