import AttentionBench
import Foundation
import TensorFiles
import Testing

/// What a file's metadata state of a layer's attention, in the commands that read tensors.
@Suite("Stated attention")
struct StatedAttentionTests {
  private static let layer =
    #"{"causal": true, "scale": 0.25, "softcap": 3, "window": 3, "sinks": [0.5, -1]}"#
  private static let tensors = Result { try TestTensors(heads: 2, n: 9, dimension: 5) }

  /// qkv.safetensors with the tensors as `layer7`, of two heads and nine rows.
  private func files(_ metadata: [String: String] = ["layer7": layer]) throws -> TemporaryDirectory
  {
    let directory = try TemporaryDirectory()
    let tensors = try Self.tensors.get()
    try SafetensorsFile.write(
      [("q", tensors.query), ("k", tensors.key), ("v", tensors.value)].map {
        NamedTensor("layer7." + $0, $1)
      }, metadata: metadata, to: directory.path("qkv.safetensors"))
    return directory
  }

  private func run(
    _ arguments: [String], _ directory: TemporaryDirectory
  ) throws -> AttnbenchProcess.Result {
    try AttnbenchProcess.run(
      ["run", "--inputs", "qkv.safetensors:layer7", "-o", "o.npy"] + arguments, in: directory.root)
  }

  private func expect(
    _ directory: TemporaryDirectory, _ configure: (inout PlainAttention) -> Void
  ) throws {
    var formula = PlainAttention(try Self.tensors.get())
    configure(&formula)
    expectClose(
      try NpyFile.read(directory.path("o.npy")).elements, formula.compute().output)
  }

  @Test("run applies it and says so; a window among strategies narrows it")
  func applied() throws {
    let directory = try files()
    defer { directory.remove() }
    for (strategy, width) in [("flash", 3), ("full", 3), ("window(2)", 1), ("window(7)", 3)] {
      let result = try run(["--strategy", strategy], directory)
      #expect(result.code == 0, "\(result.error)")
      #expect(
        result.errorLines.first
          == "qkv.safetensors:layer7: causal (the file's metadata), scale 0.25 (the file's metadata), "
          + "softcap 3.0 (the file's metadata), sink logits (the file's metadata), "
          + "own window of 3 keys back (the file's metadata)")
      #expect(result.errorLines.count == 2 && !result.error.contains("warning"))
      try expect(directory) { formula in
        (formula.scale, formula.softcap, formula.sinks) = (0.25, 3, [0.5, -1])
        formula.sees = { $1 <= $0 && $0 - $1 <= width }
      }
    }
  }

  @Test("what one layer states may be of the whole file, and chunks are of positions")
  func chunks() throws {
    let directory = try files(["causal": "false", "chunk": "4", "scale": "1/sqrt(head_dim)"])
    defer { directory.remove() }
    let result = try run(["--strategy", "flash"], directory)
    #expect(result.code == 0 && result.error.contains("own chunks of 4 positions"))
    try expect(directory) { $0.sees = { $0 / 4 == $1 / 4 } }
  }

  @Test("sinks may be of the whole file; those of a layer win")
  func sinks() throws {
    for (metadata, expected) in [
      (["sinks": "[0.5, -1]"], [0.5, -1.0]),
      (["sinks": "[0.5, -1]", "layer7": #"{"causal": false, "sinks": null}"#], [0.5, -1]),
      (["sinks": "[9, 9]", "layer7": #"{"sinks": [2, 1], "window_keys": null}"#], [2, 1]),
    ] {
      let directory = try files(metadata)
      defer { directory.remove() }
      let result = try run(["--strategy", "flash"], directory)
      #expect(result.code == 0, "\(result.error)")
      #expect(result.error.contains("sink logits (the file's metadata)"), "\(result.error)")
      try expect(directory) { $0.sinks = expected }
    }
  }

  @Test(
    "a key that says nothing in a layer's object is refused, with the nearest; others' entries are theirs",
    arguments: [
      (#"{"causal": true, "sink": [1, 2]}"#, "'sink'", "did you mean 'sinks'?"),
      (#"{"causal": true, "windw": 3}"#, "'windw'", "did you mean 'window'?"),
      (
        #"{"temperature": 3}"#, "'temperature'",
        "known are causal, scale, softcap, window, chunk, sinks"
      ),
    ])
  func unknownKey(_ layer: String, _ key: String, _ advice: String) throws {
    let directory = try files(["layer7": layer])
    defer { directory.remove() }
    for command in [["run", "-o", "o.npy"], ["verify"], ["sweep", "--n", "4", "-o", "out"]] {
      let result = try AttnbenchProcess.run(
        command + ["--inputs", "qkv.safetensors:layer7", "--strategy", "flash"],
        in: directory.root)
      #expect(result.code == 1 && result.output.isEmpty, "\(result.error)")
      #expect(
        result.error.contains(
          "error: --inputs qkv.safetensors has in its __metadata__ layer7 '\(layer)': \(key) says "
            + "nothing of a layer's attention; \(advice)"),
        "\(result.error)")
      #expect(try directory.contents == ["qkv.safetensors"])
    }
    // What stands for no tensors is another tool's.
    let other = try files(["format": "pt", "sink": "[1, 2]", "layer9": layer, "config": layer])
    defer { other.remove() }
    let result = try run(["--strategy", "flash"], other)
    #expect(result.code == 0 && result.errorLines.count == 1, "\(result.error)")
  }

  @Test("options win, and warnings say where")
  func contradicted() throws {
    let directory = try files()
    defer { directory.remove() }
    let result = try run(
      [
        "--no-causal", "--scale", "0.5", "--softcap", "20", "--sink-logits", "0,0", "--window-left",
        "4",
      ], directory)
    #expect(result.code == 0, "\(result.error)")
    for text in [
      "--no-causal: qkv.safetensors says that its attention is causal",
      "--scale 0.5: qkv.safetensors says that it is 0.25",
      "--softcap 20.0: qkv.safetensors says that it is 3.0",
      "--sink-logits 0,0: qkv.safetensors says that its sink logits are others",
      "--window-left 4: qkv.safetensors says that its own window is 3 keys back",
    ] {
      #expect(
        result.errorLines.contains(
          "warning: \(text); the option wins, and results are not the model's"),
        "\(result.error)")
    }
    #expect(!result.error.contains("the file's metadata"))
    try expect(directory) { formula in
      (formula.scale, formula.softcap, formula.sinks) = (0.5, 20, [0, 0])
      formula.sees = { $0 - $1 <= 4 }
    }

    let repeated = try run(
      [
        "--causal", "--scale", "0.25", "--softcap", "3", "--sink-logits", "0.5,-1", "--window-left",
        "3",
      ], directory)
    #expect(repeated.code == 0 && repeated.errorLines.count == 1, "\(repeated.error)")
  }

  @Test("tensors named one by one, and files that state nothing, are run as the options say")
  func plain() throws {
    let directory = try files()
    defer { directory.remove() }
    let named = ["q", "k", "v"].flatMap { ["--" + $0, "qkv.safetensors:layer7." + $0] }
    let one = try AttnbenchProcess.run(
      ["run"] + named + ["--strategy", "flash", "-o", "o.npy"], in: directory.root)
    #expect(one.code == 0 && one.errorLines.count == 1, "\(one.error)")
    try expect(directory) { _ in }

    let silent = try files([:])
    defer { silent.remove() }
    let two = try run(["--strategy", "flash"], silent)
    #expect(two.code == 0 && two.errorLines.count == 1, "\(two.error)")
    try expect(silent) { _ in }
  }

  @Test(
    "the file is named where it states what cannot be served or read",
    arguments: [
      (["layer7": layer], "linear", "states softcap = 3.0 in its metadata: linear has no logits"),
      (
        ["causal": "true", "window": "3"], "topblocks(2, 2)",
        "states windowLeft = 3 in its metadata: is not served by topblocks"
      ),
      (["causal": "true"], "nystrom(2)", "states causal = true in its metadata"),
      (["layer7": #"{"sinks": [1, 2, 3]}"#], "flash", "states sinkLogits = "),
      (["causal": "perhaps"], "flash", "has in its __metadata__ causal 'perhaps'"),
      (["sinks": "0.5"], "flash", "has in its __metadata__ sinks '0.5': must be a list"),
    ])
  func refused(_ metadata: [String: String], _ strategy: String, _ message: String) throws {
    let directory = try files(metadata)
    defer { directory.remove() }
    let result = try run(["--strategy", strategy], directory)
    #expect(result.code == 1, "\(result.error)")
    #expect(result.error.contains("error: --inputs qkv.safetensors \(message)"), "\(result.error)")
    #expect(try directory.contents == ["qkv.safetensors"])
  }

  @Test("verify holds strategies to it, and passes over those that do not serve it")
  func verified() throws {
    let directory = try files()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      [
        "verify", "--inputs", "qkv.safetensors:layer7", "--strategy",
        "flash,window(2),linear,topblocks(2, 2)", "--threads", "1",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.output)")
    #expect(result.outputLines.last == "PASS: 2 checks, 2 skipped")
    #expect(
      result.line(1).hasSuffix(
        "h2 n9 d5 causal window-left 3 window-right 3 softcap 3.0 sink logits"))
    #expect(result.error.contains("own window of 3 keys back (the file's metadata)"))
  }

  @Test("sweep times it and records it")
  func swept() throws {
    let directory = try files()
    defer { directory.remove() }
    let result = try SweepProcess.finish(
      [
        "sweep", "--inputs", "qkv.safetensors:layer7", "--n", "5,9", "--strategy",
        "flash,window(2)", "--threads", "1", "--rel-ci", "90%",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.error.contains("own window of 3 keys back (the file's metadata)"))
    let rows = try RunDirectory.readResults(in: directory.path("out")).rows
    #expect(rows.count == 4)
    for row in rows {
      #expect(row.shape.isCausal && row.status.isMeasured, "\(row.reason)")
      let error = row.accuracy.relativeL2 ?? 1
      #expect(row.strategy.name == "flash" ? error < 1e-5 : error > 1e-3)
    }
    let options = try RunDirectory.readMetadata(in: directory.path("out")).options
    #expect(options["--causal"] == "true" && options["--scale"] == "0.25")
    #expect(options["attention of --inputs"]?.contains("softcap 3.0") == true)
  }

  @Test("mask draws it")
  func drawn() throws {
    let directory = try files()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(
      ["mask", "--inputs", "qkv.safetensors:layer7", "--head", "1", "--strategy", "window(4)"],
      in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    // Its own window is all that the strategy keeps.
    #expect(result.output.contains("window(4): keeps 100% of the attention"))
    #expect(result.error.contains("own window of 3 keys back (the file's metadata)"))
  }

  @Test(
    "a sweep of tensors that names no sizes has those that they allow",
    arguments: [
      (20, [2, 4, 8, 16, 20]), (512, [64, 128, 256, 512]), (1000, [125, 250, 500, 1000]),
      (1500, [187, 374, 748, 1496, 1500]), (9000, [1000, 2000, 4000, 8000, 9000]), (1, [1]),
    ])
  func sizes(rows: Int, expected: [Int]) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 1, n: rows, dimension: 2).write(to: directory)
    for more in [[], ["--decode"]] {
      let result = try AttnbenchProcess.run(
        [
          "sweep", "--inputs", "qkv.safetensors", "--strategy", "flash", "--threads", "1",
          "--dry-run",
        ]
          + more, in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      let sizes = result.output.matches(of: /flash[^ ]*-n(\d+)/).compactMap { Int($0.1) }
      #expect(Set(sizes).sorted() == expected, "\(result.output)")
    }
    let typed = try AttnbenchProcess.run(
      [
        "sweep", "--inputs", "qkv.safetensors", "--strategy", "flash", "--n", "10k", "--dry-run",
      ], in: directory.root)
    #expect(typed.code == 64 && typed.error.contains("--n 10000: "), "\(typed.error)")
  }
}
