import Foundation
import TensorFiles
import Testing

@Suite("attnbench run")
struct RunCommandTests {
  /// Tensors, options and the formula they stand for.
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    var query = [2, 9, 5]
    var key = [2, 9, 5]
    var value = [2, 9, 5]
    var arguments: [String]
    var offset = 0
    var scale: Double?
    var isLinear = false
    var keyLengths: [Int]?
    var softcap: Double?
    var sinks: [Double]?
    var sees: @Sendable (Int, Int) -> Bool = { _, _ in true }

    var testDescription: String { name }
  }

  static let causal: @Sendable (Int, Int) -> Bool = { position, key in key <= position }

  static let cases = [
    Case(name: "flash", arguments: ["--strategy", "flash"]),
    Case(name: "full", arguments: ["--strategy", "full"]),
    Case(name: "causal", arguments: ["--strategy", "flash", "--causal"], sees: causal),
    Case(
      name: "grouped heads, own value dimension", query: [6, 4, 3], key: [2, 11, 3],
      value: [2, 11, 7], arguments: ["--strategy", "flash"]),
    Case(
      name: "bottom right by default", query: [2, 4, 5], key: [2, 9, 5], value: [2, 9, 5],
      arguments: ["--strategy", "flash", "--causal"], offset: 5, sees: causal),
    Case(
      name: "top left", query: [2, 4, 5], key: [2, 9, 5], value: [2, 9, 5],
      arguments: ["--strategy", "full", "--causal", "--align", "top-left"], sees: causal),
    Case(
      name: "rows without keys",
      arguments: ["--strategy", "flash", "--causal", "--query-offset", "-3"], offset: -3,
      sees: causal),
    Case(
      name: "scale", arguments: ["--strategy", "flash", "--scale", "0.25"], scale: 0.25),
    Case(
      name: "negative scale", arguments: ["--strategy", "full", "--scale", "-0.5"], scale: -0.5),
    Case(
      name: "window", arguments: ["--strategy", "window(3, sinks: 1)", "--causal"],
      sees: { position, key in key <= position && (key > position - 3 || key < 1) }),
    Case(
      name: "strided", arguments: ["--strategy", "strided(4)", "--causal"],
      sees: { position, key in
        key <= position && (key >= position - 4 || (position - key) % 4 == 0)
      }),
    Case(
      name: "linear", arguments: ["--strategy", "linear", "--causal"], isLinear: true, sees: causal),
    Case(
      name: "batch of two", query: [2, 3, 7, 4], key: [2, 3, 7, 4], value: [2, 3, 7, 2],
      arguments: ["--strategy", "flash"]),
    Case(
      name: "padded keys", query: [2, 2, 7, 4], key: [2, 2, 9, 4], value: [2, 2, 9, 3],
      arguments: ["--strategy", "flash", "--kv-lengths", "9,4"], keyLengths: [9, 4]),
    Case(
      name: "softcap", arguments: ["--strategy", "full", "--softcap", "0.7"], softcap: 0.7),
    Case(
      name: "sink logits",
      arguments: ["--strategy", "window(3)", "--causal", "--sink-logits", "-1,2"],
      sinks: [-1, 2], sees: { position, key in key <= position && key > position - 3 }),
    Case(
      name: "one of everything", query: [1, 1, 1], key: [1, 1, 1], value: [1, 1, 1],
      arguments: ["--strategy", "flash"]),
  ]

  @Test("agrees with the formula in fp64", arguments: cases)
  func formula(_ problem: Case) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors(query: problem.query, key: problem.key, value: problem.value)
    try tensors.write(to: directory)
    let result = try AttnbenchProcess.run(
      ["run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "-o", "o.npy", "--lse", "lse.npy"]
        + problem.arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.isEmpty)
    #expect(result.errorLines.count == 1)

    var formula = PlainAttention(tensors)
    formula.sees = problem.sees
    formula.offset = problem.offset
    formula.scale = problem.scale
    formula.isLinear = problem.isLinear
    formula.keyLengths = problem.keyLengths
    formula.softcap = problem.softcap
    formula.sinks = problem.sinks
    let expected = formula.compute()
    let output = try NpyFile.read(directory.path("o.npy"))
    let lse = try NpyFile.read(directory.path("lse.npy"))
    #expect(output.shape == problem.query.dropLast() + [problem.value.last ?? 0])
    #expect(lse.shape == Array(problem.query.dropLast()))
    expectClose(output.elements, expected.output)
    expectClose(lse.elements, expected.logSumExp)
  }

  @Test("reads one safetensors file, with and without a prefix, and writes safetensors")
  func safetensors() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors()
    try tensors.write(to: directory)
    let expected = PlainAttention(tensors).compute()
    for (inputs, output) in [
      ("qkv.safetensors", "a.safetensors"), ("qkv.safetensors:layer7", "b.safetensors"),
    ] {
      let result = try AttnbenchProcess.run(
        [
          "run", "--inputs", inputs, "--strategy", "flash", "-o", output, "--lse", output,
          "--threads", "1",
        ], in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      let file = try SafetensorsFile(directory.path(output))
      #expect(file.tensorNames == ["lse", "o"])
      expectClose(try file.read("o").elements, expected.output)
      expectClose(try file.read("lse").elements, expected.logSumExp)
    }
  }

  @Test("tensors of one safetensors file can be named one by one")
  func namedTensors() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors()
    try tensors.write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "run", "--q", "qkv.safetensors:layer7.q", "--k", "k.npy", "--v", "qkv.safetensors:v",
        "--strategy", "flash", "-o", "o.npy",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    expectClose(
      try NpyFile.read(directory.path("o.npy")).elements, PlainAttention(tensors).compute().output)
  }

  @Test("the layout bnhd holds for inputs and output")
  func layout() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let (heads, n, dimension) = (3, 4, 2)
    let tensors = try TestTensors(heads: heads, n: n, dimension: dimension)
    func swapped(_ tensor: HostTensor) throws -> HostTensor {
      try HostTensor(shape: [n, heads, dimension]) { elements in
        let source = tensor.elements
        for h in 0..<heads {
          for i in 0..<n {
            for c in 0..<dimension {
              elements[(i * heads + h) * dimension + c] = source[(h * n + i) * dimension + c]
            }
          }
        }
      }
    }
    for (name, tensor) in [("q", tensors.query), ("k", tensors.key), ("v", tensors.value)] {
      try NpyFile.write(swapped(tensor), to: directory.path(name + ".npy"))
    }
    let result = try AttnbenchProcess.run(
      [
        "run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--layout", "bnhd", "--strategy",
        "flash", "-o", "o.npy", "--lse", "lse.npy",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    let output = try NpyFile.read(directory.path("o.npy"))
    let lse = try NpyFile.read(directory.path("lse.npy"))
    #expect(output.shape == [n, heads, dimension])
    #expect(lse.shape == [n, heads])
    let expected = PlainAttention(tensors).compute()
    for h in 0..<heads {
      for i in 0..<n {
        expectClose([lse.elements[i * heads + h]], [expected.logSumExp[h * n + i]])
        for c in 0..<dimension {
          expectClose(
            [output.elements[(i * heads + h) * dimension + c]],
            [expected.output[(h * n + i) * dimension + c]])
        }
      }
    }
  }

  @Test("twice the same command gives the same bytes")
  func repeatable() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 3, n: 70, dimension: 17).write(to: directory)
    for strategy in ["full", "flash", "window(9)", "strided", "linear"] {
      for output in ["a.npy", "b.npy"] {
        let result = try AttnbenchProcess.run(
          ["run", "--inputs", "qkv.safetensors", "--strategy", strategy, "--causal", "-o", output],
          in: directory.root)
        #expect(result.code == 0, "\(result.error)")
      }
      let files = ["a.npy", "b.npy"].map {
        FileManager.default.contents(atPath: directory.path($0))
      }
      #expect(files[0] != nil && files[0] == files[1], "\(strategy)")
    }
  }

  @Test("rounds the output to the element type asked for", arguments: ["f16", "bf16"])
  func elementType(_ type: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors()
    try tensors.write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "run", "--inputs", "qkv.safetensors", "--strategy", "flash", "--dtype", type, "-o",
        "o.safetensors",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    let file = try SafetensorsFile(directory.path("o.safetensors"))
    #expect(file["o"]?.dtype == type.uppercased())
    let tolerance = type == "f16" ? 0x1p-11 : 0x1p-8
    for (value, reference) in zip(
      try file.read("o").elements, PlainAttention(tensors).compute().output)
    {
      #expect(abs(Double(value) - reference) <= 2 * tolerance * max(abs(reference), 0.01))
    }
  }

  @Test(
    "options that fit no tensor are refused by name",
    arguments: [
      (["--kv-lengths", "9"], "--kv-lengths"), (["--kv-lengths", "10,1"], "--kv-lengths 10"),
      (["--kv-lengths", "3,x"], "'x'"), (["--softcap", "0"], "--softcap 0"),
      (["--sink-logits", "1"], "--sink-logits"),
      (["--sink-logits", "1,nan"], "--sink-logits nan"),
    ])
  func badOptions(_ arguments: [String], _ named: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(query: [2, 2, 7, 4], key: [2, 2, 9, 4], value: [2, 2, 9, 4])
      .write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "run", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "-o", "o.npy", "--strategy",
        "flash",
      ] + arguments, in: directory.root)
    #expect(result.code == 64)
    #expect(result.error.contains(named), "\(result.error)")
  }

  /// Whatever the inputs are stored as: values of f16 and bf16 are values of f32.
  @Test(
    "--dtype f32 holds the fp32 sums, unrounded",
    arguments: [FileElementType.float16, .bfloat16],
    ["full", "flash", "window(4)", "linear", "topblocks(4, 1)", "retention"])
  func unrounded(_ type: FileElementType, _ strategy: String) throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors(heads: 2, n: 40, dimension: 8)
    let all = [("q", tensors.query), ("k", tensors.key), ("v", tensors.value)]
    try SafetensorsFile.write(
      all.map { NamedTensor($0, $1, as: type) }, to: directory.path("narrow.safetensors"))
    let narrow = try SafetensorsFile(directory.path("narrow.safetensors"))
    try SafetensorsFile.write(
      try ["q", "k", "v"].map { NamedTensor($0, try narrow.read($0)) },
      to: directory.path("wide.safetensors"))
    func output(_ inputs: String, _ more: [String]) throws -> [Float] {
      let result = try AttnbenchProcess.run(
        ["run", "--inputs", inputs, "--strategy", strategy, "-o", "o.npy"] + more,
        in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      return try NpyFile.read(directory.path("o.npy")).elements
    }
    let expected = try output("wide.safetensors", []).map(Double.init)
    expectClose(try output("narrow.safetensors", ["--dtype", "f32"]), expected)
    // What .npy has no bf16 for comes out as fp32, of the same sums.
    if type == .bfloat16 { expectClose(try output("narrow.safetensors", []), expected) }
  }
}
