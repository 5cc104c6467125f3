import Foundation
import TensorFiles
import Testing

/// A finite number that fp32 has no room for, wherever a command takes numbers: in what is added to scores
/// it is fp32's largest, and everywhere else an error. It is never an infinity, which hides or spoils.
@Suite("Numbers beyond fp32")
struct LargeNumberTests {
  private static let limit = Double(Float.greatestFiniteMagnitude)
  private static let huge = [-1e300, -1.797e308, 1e300, 1e39, -1e39, (0x1p128 - 0x1p103)]

  /// Some keys are very far down, one row has nothing else, and one key is hidden indeed.
  private static func biases(_ shape: [Int], _ down: [Double]) -> [Double] {
    (0..<shape.reduce(1, *)).map { index in
      if index % 9 == 7 { return -.infinity }
      return index % 4 == 1 || index / 9 == 2 ? down[index % down.count] : Double(index % 5) / 4
    }
  }

  @Test(
    "added to scores it is the largest number of fp32",
    arguments: ["--bias", "--mask", "--key-bias"], ["full", "flash", "window(8)"])
  func biases(_ option: String, _ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let shape = option == "--key-bias" ? [2, 4, 9] : [4, 5, 9]
    let far = Self.biases(shape, [-1e300, -1.797e308, -1e39])
    try process.write("b", shape, as: .float64, far)
    try process.write(
      "f", shape, as: .float32, far.map { Float($0.isFinite ? max($0, -Self.limit) : $0) })
    func results(_ file: String) throws -> [[UInt32]] {
      let result = try process.run(["--strategy", strategy, option, file])
      try #require(result.code == 0, "\(result.error)")
      return try ["o", "lse"].map { try process.output($0).map(\.bitPattern) }
    }
    let wide = try results("b.npy")
    #expect(try wide == results("f.npy"))
    // A row that sees a key has a sum; had they been hidden, some would have none.
    if option != "--key-bias", strategy != "window(8)" {
      #expect(wide[1].allSatisfy { Float(bitPattern: $0).isFinite })
    }
  }

  @Test("a bias that leaves nothing else to see is a number all the same")
  func nothingElse() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write("b", [9], as: .float64, [Double](repeating: -1.797e308, count: 9))
    for option in ["--bias", "--mask"] {
      let result = try process.run(["--strategy", "flash", option, "b.npy"])
      #expect(result.code == 0, "\(result.error)")
      #expect(try process.output("lse").allSatisfy { $0.isFinite && $0 < -3e38 })
      #expect(try process.output("o").contains { $0 != 0 })
    }
  }

  @Test(
    "query, key, value and what comes before them refuse it by name, place and value",
    arguments: huge)
  func tensors(_ value: Double) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let before = process.tensors
    for (option, name, tensor) in [
      ("--q", "q", before.query), ("--k", "k", before.key), ("--v", "v", before.value),
    ] {
      var elements = tensor.elements.map(Double.init)
      try process.write(name, tensor.shape, as: .float64, elements)
      let fine = try process.run(["--strategy", "flash"])
      #expect(fine.code == 0, "\(fine.error)")
      elements[elements.count - 2] = value
      try process.write(name, tensor.shape, as: .float64, elements)
      let place = tensor.shape.enumerated().map { $1 - ($0 == 3 ? 2 : 1) }
      for strategy in ["flash", "full", "linear"] {
        try process.refuse(
          ["--strategy", strategy], "\(option) \(name).npy holds \(value) at \(place); computed is",
          code: 1)
      }
      try NpyFile.write(tensor, to: process.directory.path(name + ".npy"))
    }
    var past = [Double](repeating: 1, count: 2 * 2 * 3 * 6)
    past[0] = value
    try process.write("k", before.key.shape, as: .float64, before.key.elements.map(Double.init))
    try process.write("pk", [2, 2, 3, 6], as: .float64, past)
    try process.write("pv", [2, 2, 3, 3], as: .float32, [Float](repeating: 1, count: 36))
    try process.refuse(
      ["--strategy", "flash", "--past-k", "pk.npy", "--past-v", "pv.npy"],
      "--past-k pk.npy holds \(value) at [0, 0, 0, 0]", code: 1)
  }

  @Test("operands and the tensors of --inputs refuse it, whichever command reads them")
  func inputs() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let tensors = try TestTensors()
    try tensors.write(to: directory)
    func wide(_ tensor: HostTensor, last: Double?) throws -> FileTensor {
      try FileTensor(shape: tensor.shape, elementType: .float64) { bytes in
        var elements = tensor.elements.map(Double.init)
        if let last { elements[elements.count - 1] = last }
        elements.withUnsafeBytes { bytes.copyMemory(from: $0) }
      }
    }
    let decay = try HostTensor(shape: [2, 9]) { $0.update(repeating: -0.5) }
    try SafetensorsFile.write(
      [
        NamedTensor("a.q", tensors.query), NamedTensor("a.k", tensors.key),
        NamedTensor("a.v", try wide(tensors.value, last: -1e39)),
        NamedTensor("b.q", tensors.query), NamedTensor("b.k", tensors.key),
        NamedTensor("b.v", tensors.value), NamedTensor("b.decay", try wide(decay, last: -1e300)),
      ], to: directory.path("t.safetensors"))
    try NpyFile.write(try wide(decay, last: -1e300), to: directory.path("decay.npy"))
    let run = ["run", "-o", "o.npy", "--strategy"]
    for (arguments, message) in [
      (run + ["flash", "--inputs", "t.safetensors:a"], "(a.v) holds -1e+39 at [1, 8, 4]"),
      (
        ["mask", "--strategy", "flash", "--inputs", "t.safetensors:a"],
        "tensor 'a.v' holds -1e+39 at [1, 8, 4]"
      ),
      (
        ["verify", "--strategy", "flash", "--inputs", "t.safetensors:a"],
        "tensor 'a.v' holds -1e+39 at [1, 8, 4]"
      ),
      (
        ["sweep", "--strategy", "flash", "--inputs", "t.safetensors:a", "--n", "4"],
        "tensor 'a.v' holds -1e+39 at [1, 8, 4]"
      ),
      (run + ["gated", "--inputs", "t.safetensors:b"], "(b.decay) holds -1e+300 at [1, 8]"),
      (
        run + [
          "gated", "--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--decay", "decay.npy",
        ], "--decay decay.npy holds -1e+300 at [1, 8]"
      ),
    ] {
      let result = try AttnbenchProcess.run(arguments, in: directory.root)
      #expect(result.code == 1, "\(result.error)")
      #expect(result.error.contains(message), "\(result.error)")
      #expect(result.error.contains("3.4028235e+38"), "\(result.error)")
      #expect(result.error.contains("scale it down"), "\(result.error)")
    }
  }

  @Test("options refuse it as it was typed, with the rule")
  func options() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write("s", [4], as: .float64, [0.5, 0.25, 1e300, 0])
    for (arguments, texts) in [
      (["--scale", "1e39"], ["--scale", "'1e39'", "those end at 3.4028235e+38"]),
      (["--scale=-1e300"], ["--scale", "'-1e300'", "those end at 3.4028235e+38"]),
      (["--scale", "1e-60"], ["--scale", "'1e-60'", "before 0"]),
      (["--scale", "much"], ["--scale", "'much'", "this is no number"]),
      (["--softcap", "1e39"], ["--softcap", "'1e39'", "those end at 3.4028235e+38"]),
      (["--softcap", "1e-60"], ["--softcap", "'1e-60'", "before 0"]),
      (["--alibi", "0.5,1e300,0,0"], ["--alibi 0.5,1e300,0,0: '1e300'", "those end at"]),
      (["--scale", "inf"], ["--scale inf: must be a finite number"]),
      (["--alibi", "1,2,3,-inf"], ["--alibi -inf"]),
    ] {
      for text in texts { try process.refuse(["--strategy", "flash"] + arguments, text) }
    }
    for text in ["--alibi s.npy holds 1e+300 at [2]", "3.4028235e+38"] {
      try process.refuse(["--strategy", "flash", "--alibi", "s.npy"], text, code: 1)
    }
  }

  @Test("a finite sink logit stays one; -inf that is typed is none")
  func sinks() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    func outputs(_ sinks: String) throws -> [[UInt32]] {
      let result = try process.run(["--strategy", "flash", "--sink-logits=\(sinks)"])
      #expect(result.code == 0, "\(sinks): \(result.error)")
      return try ["o", "lse"].map { try process.output($0).map(\.bitPattern) }
    }
    try process.write("s", [4], as: .float64, [-1e300, 0.5, 1e39, 0])
    let typed = try outputs("-1e300,0.5,1e39,0")
    #expect(try typed == outputs("-3.4028235e38,0.5,3.4028235e38,0"))
    #expect(try typed == outputs("s.npy"))
    let isFinite = typed[1].map { Float(bitPattern: $0).isFinite }
    #expect(isFinite.allSatisfy { $0 })
    _ = try outputs("-inf,0.5,0,0")
    try process.refuse(["--strategy", "flash", "--sink-logits=inf,0,0,0"], "--sink-logits inf")
  }
}
