import Suggestions
import TensorFiles
import Testing

/// `.safetensors` files, whole and damaged.
@Suite struct SafetensorsReadTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Sums of the values and of their squares, and some values, all by NumPy in fp64.
  @Test(arguments: [
    (
      "layer0.q", 2353.7097428441048, 329769.22410413413, [-0.77929688, -1.24511719], -1.6630859375
    ),
    ("layer0.k", -6211.283489406109, 440200.81102932565, [-0.81884766, -1.00976562], 1.076171875),
    (
      "layer3.v", 1286.279048383236, 120211.76094384919, [0.01122284, -0.01210785], 0.1319580078125
    ),
  ])
  func readsRealTensors(
    name: String, sum: Double, squares: Double, first: [Double], last: Double
  ) throws {
    let file = try SafetensorsFile(Fixtures.realTensors)
    let tensor = try file.read(name)
    #expect(tensor.shape == [12, 512, 32])
    #expect(tensor.sourceType == .float16)
    let values = tensor.values.map(Double.init)
    #expect(abs(values.reduce(0, +) - sum) < 1e-6)
    #expect(abs(values.reduce(0) { $0 + $1 * $1 } - squares) < 1e-5)
    #expect(zip(values, first).allSatisfy { abs($0 - $1) < 1e-8 })
    #expect(values.last == last)
  }

  @Test func listsNamesPrefixesAndMetadata() throws {
    let file = try SafetensorsFile(Fixtures.realTensors)
    #expect(
      file.tensorNames
        == ["layer0.k", "layer0.q", "layer0.v", "layer3.k", "layer3.q", "layer3.v"])
    #expect(file.prefixes(having: ["q", "k", "v"]) == ["layer0", "layer3"])
    #expect(file.prefixes(having: ["q", "bias"]) == [])
    #expect(file.metadata["layout"] == "heads,n,head_dim")
    #expect(file["layer3.q"]?.elementType == .float16)
  }

  @Test func listsTypesItDoesNotReadAndRefusesThemWhenAsked() throws {
    let header =
      "{\(entry("ids", [2], 0, 16, as: "I64")),\(entry("x", [2], 16, 24)),"
      + "\(entry("odd", [3], 24, 27, as: "F8_E9M9")),\(entry("scalar", [], 27, 31))}"
    let path = try directory.file("x.safetensors", safetensors(header: header, data: 31))
    let file = try SafetensorsFile(path)
    #expect(file.tensorNames == ["ids", "odd", "scalar", "x"])
    #expect(try file.read("x").values == [0, 0])
    #expect(
      try reason { _ = try file.read("ids") }
        == .unexpectedElementType(tensor: "ids", found: "I64", accepted: [.floating]))
    #expect(
      try reason { _ = try file.read("odd") }
        == .unexpectedElementType(tensor: "odd", found: "F8_E9M9", accepted: [.floating]))
    #expect(
      try reason { _ = try file.read("scalar") }
        == .badShape(tensor: "scalar", .zeroDimensional))
  }

  @Test func suggestsTheNearestNames() throws {
    let file = try SafetensorsFile(Fixtures.realTensors)
    let error = try #require(throws: TensorFileError.self) { try file.read("layer0.w") }
    #expect(
      error.reason
        == .noSuchTensor(
          "layer0.w", nearest: ["layer0.k", "layer0.q", "layer0.v"],
          prefixes: ["layer0", "layer3"]))
    #expect("\(error)".contains("did you mean 'layer0.k'"))
    #expect("\(error)".contains("(prefixes: layer0, layer3)"))
  }

  @Test func readsAnEmptyFileOfTensorsAndEmptyTensors() throws {
    let empty = try directory.file("a.safetensors", safetensors(header: "{}   "))
    #expect(try SafetensorsFile(empty).tensorNames == [])
    let header = "{\(entry("x", [0, 4], 0, 0)),\(entry("y", [2], 0, 8)),\(entry("z", [0], 8, 8))}"
    let file = try SafetensorsFile(
      try directory.file("b.safetensors", safetensors(header: header, data: 8)))
    #expect(try file.read("x").shape == [0, 4])
    #expect(try file.read("z").values == [])
  }

  static let damaged: [(name: String, bytes: [UInt8], expected: TensorFileError.Reason)] = [
    (
      "short file", [1, 2, 3],
      .notThisFormat("is not a .safetensors file: it is 3 bytes long, at least 8 are needed")
    ),
    (
      "header past the end", safetensors(header: "{}", length: 1000),
      .headerPastEnd(length: 1000, available: 2)
    ),
    (
      "header of exabytes", safetensors(header: "{}", length: .max),
      .headerTooLong(length: .max, limit: 100_000_000)
    ),
    (
      "not JSON", safetensors(header: "hello, world"),
      .notThisFormat("is not a .safetensors file: its header does not begin with '{'")
    ),
    (
      "no header", safetensors(header: ""),
      .notThisFormat("is not a .safetensors file: its header does not begin with '{'")
    ),
    (
      "offsets past the end", safetensors(header: "{\(entry("q", [4], 0, 16))}", data: 15),
      .offsetsPastEnd(tensor: "q", end: 16, available: 15)
    ),
    (
      "offsets reversed", safetensors(header: "{\(entry("q", [4], 16, 0))}", data: 16),
      .badOffsets(tensor: "q", begin: 16, end: 0)
    ),
    (
      "negative offset", safetensors(header: "{\(entry("q", [4], -16, 0))}", data: 16),
      .badOffsets(tensor: "q", begin: -16, end: 0)
    ),
    (
      "overlap",
      safetensors(header: "{\(entry("q", [4], 0, 16)),\(entry("k", [4], 8, 24))}", data: 24),
      .overlap(first: "q", second: "k")
    ),
    (
      "the same bytes twice",
      safetensors(header: "{\(entry("q", [4], 0, 16)),\(entry("k", [4], 0, 16))}", data: 16),
      .overlap(first: "k", second: "q")
    ),
    (
      "hole between",
      safetensors(header: "{\(entry("q", [1], 0, 4)),\(entry("k", [1], 8, 12))}", data: 12),
      .hole(begin: 4, end: 8)
    ),
    (
      "hole at the start", safetensors(header: "{\(entry("q", [1], 4, 8))}", data: 8),
      .hole(begin: 0, end: 4)
    ),
    (
      "bytes at the end", safetensors(header: "{\(entry("q", [1], 0, 4))}", data: 9),
      .hole(begin: 4, end: 9)
    ),
    (
      "fewer bytes than the shape", safetensors(header: "{\(entry("q", [5], 0, 16))}", data: 16),
      .wrongByteCount(tensor: "q", shape: [5], type: "F32", expected: 20, found: 16)
    ),
    (
      "2^60 elements", safetensors(header: "{\(entry("q", [1 << 60, 8], 0, 0))}"),
      .badShape(tensor: "q", .overflow([1 << 60, 8]))
    ),
    (
      "product that wraps to the byte count",
      safetensors(header: "{\(entry("q", [1 << 32, 1 << 32], 0, 0))}"),
      .badShape(tensor: "q", .overflow([1 << 32, 1 << 32]))
    ),
    (
      "negative dimensions", safetensors(header: "{\(entry("q", [-2, -2], 0, 16))}", data: 16),
      .badShape(tensor: "q", .negativeDimension([-2, -2]))
    ),
    (
      "the same name twice",
      safetensors(header: "{\(entry("q", [1], 0, 4)),\(entry("q", [1], 4, 8))}", data: 8),
      .duplicateName("q")
    ),
    (
      "the same name twice, once escaped",
      safetensors(header: "{\(entry("q", [1], 0, 4)),\(entry("\\u0071", [1], 4, 8))}", data: 8),
      .duplicateName("q")
    ),
    (
      "a field twice",
      safetensors(
        header: #"{"q":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}"#, data: 4),
      .duplicateName("dtype")
    ),
    (
      "three offsets",
      safetensors(header: #"{"q":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, data: 4),
      .malformedHeader("tensor 'q' has 3 data_offsets, 2 are needed")
    ),
    (
      "no dtype", safetensors(header: #"{"q":{"shape":[1],"data_offsets":[0,4]}}"#, data: 4),
      .malformedHeader("at 'q': 'dtype' is missing")
    ),
  ]

  @Test(arguments: damaged.indices)
  func refusesDamagedFiles(index: Int) throws {
    let (name, bytes, expected) = Self.damaged[index]
    let path = try directory.file("x.safetensors", bytes)
    #expect(try reason { _ = try SafetensorsFile(path) } == expected, "\(name)")
  }

  @Test(arguments: [
    "{", "{]", "{\"q\":1}", "{\"q\":{}}", "{\"__metadata__\":{\"n\":1}}", "{} {}",
    #"{"q":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}"#,
    #"{"q":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}"#,
    #"{"q":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}"#,
    #"{"q":{"dtype":"F32","shape":null,"data_offsets":[0,4]}}"#,
    "{\"q\":" + String(repeating: "[", count: 10_000),
  ])
  func refusesMalformedHeaders(header: String) throws {
    let path = try directory.file("x.safetensors", safetensors(header: header, data: 4))
    let reason = try reason { _ = try SafetensorsFile(path) }
    guard case .malformedHeader = reason else {
      Issue.record("\(header.prefix(80)) gave \(String(describing: reason))")
      return
    }
  }
}
