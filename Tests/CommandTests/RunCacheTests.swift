import Foundation
import TensorFiles
import Testing

@Suite("attnbench run: past and present")
struct RunCacheTests {
  /// Rows `range` of each head of a tensor [b, h, n, d].
  static func rows(_ tensor: HostTensor, _ range: Range<Int>) throws -> HostTensor {
    let (shape, elements) = (tensor.shape, tensor.elements)
    return try HostTensor(shape: [shape[0], shape[1], range.count, shape[3]]) { target in
      let (n, d) = (shape[2], shape[3])
      for head in 0..<shape[0] * shape[1] {
        for (row, source) in range.enumerated() {
          for c in 0..<d {
            target[(head * range.count + row) * d + c] = elements[(head * n + source) * d + c]
          }
        }
      }
    }
  }

  /// [b, h, n, d] as [b, n, h, d].
  static func swapped(_ tensor: HostTensor, folded: Bool = false) throws -> HostTensor {
    let (shape, elements) = (tensor.shape, tensor.elements)
    let (b, h, n, d) = (shape[0], shape[1], shape[2], shape[3])
    return try HostTensor(shape: folded ? [b, n, h * d] : [b, n, h, d]) { target in
      for (batch, head, row, c) in Self.indices(b, h, n, d) {
        target[((batch * n + row) * h + head) * d + c] =
          elements[((batch * h + head) * n + row) * d + c]
      }
    }
  }

  private static func indices(_ b: Int, _ h: Int, _ n: Int, _ d: Int) -> [(Int, Int, Int, Int)] {
    (0..<b * h * n * d).map { ($0 / d / n / h, $0 / d / n % h, $0 / d % n, $0 % d) }
  }

  /// The whole cache [2, 2, 9, ...] of the process, cut behind `past` rows: k.npy and v.npy get the
  /// rest.
  private func split(
    _ process: RunProcess, past: Int, _ arrange: (String, HostTensor) throws -> HostTensor
  ) throws {
    for (name, tensor) in [("k", process.tensors.key), ("v", process.tensors.value)] {
      for (file, range) in [("p" + name, 0..<past), (name, past..<9)] {
        try NpyFile.write(
          arrange(file, try Self.rows(tensor, range)), to: process.directory.path(file + ".npy"))
      }
    }
  }

  static let flags = ["--past-k", "pk.npy", "--past-v", "pv.npy", "--causal"]
  static let present = ["--present-k", "ok.npy", "--present-v", "ov.npy"]

  @Test("queries stand behind the past, and present is past and new", arguments: [0, 4, 8])
  func causal(past: Int) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try split(process, past: past) { _, tensor in tensor }
    try process.expect(["--strategy", "flash"] + Self.flags + Self.present) {
      $0.offset = past
      $0.sees = { position, key in key <= position }
    }
    #expect(try process.output("ok") == process.tensors.key.elements)
    #expect(try process.output("ov") == process.tensors.value.elements)
    // As one cache with that offset: the same bits.
    let (output, lse) = (try process.output("o"), try process.output("lse"))
    try process.tensors.write(to: process.directory)
    let whole = try process.run(["--strategy", "flash", "--causal", "--query-offset", "\(past)"])
    #expect(whole.code == 0)
    #expect(try process.output("o") == output && process.output("lse") == lse)
  }

  @Test("the layouts bnhd and bnd hold for caches", arguments: ["bnhd", "bnd"])
  func layouts(_ layout: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let isFolded = layout == "bnd"
    // Caches of tensors with folded heads are [b, h, n, d], as in ONNX.
    try split(process, past: 4) { file, tensor in
      isFolded && file.hasPrefix("p") ? tensor : try Self.swapped(tensor, folded: isFolded)
    }
    try NpyFile.write(
      Self.swapped(process.tensors.query, folded: isFolded), to: process.directory.path("q.npy"))
    let heads = isFolded ? ["--heads", "4", "--kv-heads", "2"] : []
    let result = try process.run(
      ["--strategy", "flash", "--layout", layout] + heads + Self.flags + Self.present)
    #expect(result.code == 0, "\(result.error)")
    let keys = try NpyFile.read(process.directory.path("ok.npy"))
    let expected = isFolded ? process.tensors.key : try Self.swapped(process.tensors.key)
    #expect(keys.shape == expected.shape && keys.elements == expected.elements)

    var formula = PlainAttention(process.tensors)
    formula.offset = 4
    formula.sees = { position, key in key <= position }
    let plain = formula.compute()
    let output = try NpyFile.read(process.directory.path("o.npy"))
    #expect(output.shape == (isFolded ? [2, 5, 12] : [2, 5, 4, 3]))
    let reference = try Self.swapped(
      HostTensor(shape: [2, 4, 5, 3]) { target in
        for index in target.indices { target[index] = Float(plain.output[index]) }
      })
    expectClose(output.elements, reference.elements.map(Double.init))
    let lse = try NpyFile.read(process.directory.path("lse.npy"))
    #expect(lse.shape == [2, 5, 4])
  }

  @Test("a cache keeps its bits and its type", arguments: ["F16", "BF16"])
  func storage(_ dtype: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let type = dtype == "F16" ? FileElementType.float16 : .bfloat16
    let (query, key, value) = (process.tensors.query, process.tensors.key, process.tensors.value)
    let path = process.directory.path("in.safetensors")
    try SafetensorsFile.write(
      [
        NamedTensor("q", query, as: type), NamedTensor("k", try Self.rows(key, 4..<9), as: type),
        NamedTensor("v", try Self.rows(value, 4..<9), as: type),
        NamedTensor("pk", try Self.rows(key, 0..<4), as: type),
        NamedTensor("pv", try Self.rows(value, 0..<4), as: type),
        NamedTensor("whole", key, as: type),
      ], to: path)
    let result = try AttnbenchProcess.run(
      [
        "run", "--inputs", "in.safetensors", "--past-k", "in.safetensors:pk", "--past-v",
        "in.safetensors:pv", "--strategy", "flash", "--causal", "-o", "o.safetensors",
        "--present-k", "o.safetensors", "--present-v", "o.safetensors",
      ], in: process.directory.root)
    #expect(result.code == 0, "\(result.error)")
    let output = try SafetensorsFile(process.directory.path("o.safetensors"))
    #expect(output.tensorNames == ["o", "present_k", "present_v"])
    #expect(output["o"]?.dtype == dtype && output["present_k"]?.dtype == dtype)
    #expect(
      try output.read("present_k").elements == SafetensorsFile(path).read("whole").elements)
    // .npy has no bfloat16: the output becomes fp32, a cache must not.
    let numpy = [
      "run", "--inputs", "in.safetensors", "--strategy", "flash", "-o", "o.npy",
    ]
    let plain = try AttnbenchProcess.run(numpy, in: process.directory.root)
    #expect(plain.code == 0, "\(plain.error)")
    #expect(
      try NpyFile.read(process.directory.path("o.npy")).sourceType
        == (type == .float16 ? .float16 : .float32))
    if type == .bfloat16 {
      let refused = try AttnbenchProcess.run(
        numpy + ["--present-k", "k2.npy"], in: process.directory.root)
      #expect(refused.code == 64 && refused.error.contains("k2.npy: cannot be written"))
    }
  }

  @Test("what does not fit is refused by name")
  func refusals() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try split(process, past: 4) { _, tensor in tensor }
    let flash = ["--strategy", "flash"]
    try process.refuse(flash + ["--past-k", "pk.npy"], "--past-k pk.npy: give --past-v, too")
    try process.refuse(flash + ["--past-v", "pv.npy"], "--past-v pv.npy: give --past-k, too")
    try process.refuse(flash + Self.flags + ["--kv-lengths", "9,9"], "--kv-lengths 9,9")
    try process.refuse(flash + ["--cu-seqlens", "0,5"] + Self.flags, "--past-k pk.npy")
    try process.refuse(
      flash + ["--past-k", "q.npy", "--past-v", "pv.npy"], "key/value heads must agree", code: 1)
    try process.refuse(
      flash + ["--past-k", "pv.npy", "--past-v", "pv.npy"], "columns must agree", code: 1)
    try process.refuse(
      flash + ["--past-k", "pk.npy", "--past-v", "v.npy"], "the key length must agree", code: 1)
    try NpyFile.write(
      Self.rows(process.tensors.key, 0..<4), as: .float16, to: process.directory.path("half.npy"))
    try process.refuse(
      flash + ["--past-k", "half.npy", "--past-v", "pv.npy"], "holds F16 elements and", code: 1)
    try process.refuse(
      flash + Self.flags + ["--present-k", "o.npy"], "--present-k o.npy: is the output too")
  }
}
