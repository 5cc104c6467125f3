import TensorFiles
import Testing

@Suite("attnbench run: masks, biases and lengths")
struct RunMaskTests {
  /// A mask file's shape, and which of its elements a pair has.
  struct Broadcast: Sendable, CustomTestStringConvertible {
    let shape: [Int]
    let index: @Sendable (_ batch: Int, _ head: Int, _ query: Int, _ key: Int) -> Int?

    var testDescription: String { "\(shape)" }
    var count: Int { shape.reduce(1, *) }
    /// About a third hidden, and all of the first row.
    func sees(_ element: Int) -> Bool { element >= 9 && element % 3 != 1 }
    func number(_ element: Int) -> Double {
      element % 7 == 3 ? -.infinity : Double(element % 5) / 4
    }
  }

  /// Of [2, 4, 5, 9].
  static let shapes = [
    Broadcast(shape: [9]) { _, _, _, j in j },
    Broadcast(shape: [5, 9]) { _, _, i, j in i * 9 + j },
    Broadcast(shape: [1, 9]) { _, _, _, j in j },
    Broadcast(shape: [4, 5, 9]) { _, h, i, j in (h * 5 + i) * 9 + j },
    Broadcast(shape: [1, 5, 9]) { _, _, i, j in i * 9 + j },
    Broadcast(shape: [2, 1, 1, 9]) { b, _, _, j in b * 9 + j },
    Broadcast(shape: [2, 4, 5, 9]) { b, h, i, j in ((b * 4 + h) * 5 + i) * 9 + j },
    Broadcast(shape: [1, 4, 1, 1]) { _, h, _, _ in h },
    Broadcast(shape: [4, 5, 1]) { _, h, i, _ in h * 5 + i },
    Broadcast(shape: [5, 6]) { _, _, i, j in j < 6 ? i * 6 + j : nil },
    Broadcast(shape: [2, 1, 5, 2]) { b, _, i, j in j < 2 ? (b * 5 + i) * 2 + j : nil },
  ]

  static let strategies = ["full", "flash"]

  @Test(
    "one number a key is added to all of its scores",
    arguments: [[9], [1, 9], [2, 9], [4, 9], [1, 2, 9], [2, 2, 9], [2, 4, 9]], strategies)
  func keyBias(_ shape: [Int], _ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let numbers = (0..<shape.reduce(1, *)).map {
      $0 % 9 == 4 ? -Float.infinity : Float($0 % 11) / 3
    }
    try process.write("b", shape, as: .float32, numbers)
    let sizes = Array(repeating: 1, count: 3 - shape.count) + shape
    try process.expect(["--strategy", strategy, "--key-bias", "b.npy", "--causal"]) {
      $0.bias = { b, h, _, j in
        let head = sizes[1] == 1 ? 0 : sizes[1] == 2 ? h / 2 : h
        return Double(numbers[((sizes[0] == 1 ? 0 : b) * sizes[1] + head) * 9 + j])
      }
      $0.sees = { position, key in key <= position }
      $0.offset = 4
    }
  }

  @Test(
    "biases of keys that do not fit are refused by name",
    arguments: [
      ([8], Float(0), "it must be [b, hKV or h, nKV] = [2, 2 or 4, 9]"),
      ([3, 9], 0, "it must be [b, hKV or h, nKV]"),
      ([2, 4, 1, 9], 0, "it must be [b, hKV or h, nKV]"),
      ([2, 9], .nan, "at [0, 1, 8]; it must be finite, or -inf to hide a key"),
      ([2, 9], .infinity, "at [0, 1, 8]; it must be finite, or -inf"),
    ])
  func unfitKeyBias(_ shape: [Int], _ last: Float, _ message: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let count = shape.reduce(1, *)
    try process.write("b", shape, as: .float32, (0..<count).map { $0 == count - 1 ? last : 0 })
    let result = try process.run(["--strategy", "flash", "--key-bias", "b.npy"])
    #expect(result.code != 0)
    #expect(result.error.contains("--key-bias b.npy"), "\(result.error)")
    #expect(result.error.contains(message), "\(result.error)")
  }

  @Test("truth values say what is seen", arguments: shapes, strategies)
  func boolean(_ mask: Broadcast, _ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write(
      "m", mask.shape, as: .bool, (0..<mask.count).map { UInt8(mask.sees($0) ? 1 : 0) })
    try process.expect(["--strategy", strategy, "--mask", "m.npy"]) {
      $0.bias = { b, h, i, j in
        mask.index(b, h, i, j).map { mask.sees($0) ? 0 : -.infinity } ?? -.infinity
      }
    }
  }

  @Test("numbers are added", arguments: shapes, ["--mask", "--bias"])
  func additive(_ mask: Broadcast, _ option: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write(
      "m", mask.shape, as: .float32, (0..<mask.count).map { Float(mask.number($0)) })
    try process.expect(["--strategy", "flash", option, "m.npy", "--causal"]) {
      $0.bias = { b, h, i, j in mask.index(b, h, i, j).map { mask.number($0) } ?? -.infinity }
      $0.sees = { position, key in key <= position }
      $0.offset = 4
    }
  }

  @Test("a mask of truth values, one of numbers and a bias go together")
  func together() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let (wide, short) = (Self.shapes[3], Self.shapes[9])
    try process.write(
      "wide", wide.shape, as: .float32,
      (0..<wide.count).map { Float(wide.number($0)) })
    try process.write(
      "short", short.shape, as: .float32,
      (0..<short.count).map { Float(short.number($0)) })
    try process.write("m", [9], as: .bool, (0..<9).map { UInt8($0 == 2 ? 0 : 1) })
    func sum(_ b: Int, _ h: Int, _ i: Int, _ j: Int) -> Double {
      guard let other = short.index(b, h, i, j), let one = wide.index(b, h, i, j) else {
        return -.infinity
      }
      return wide.number(one) + short.number(other)
    }
    try process.expect(["--strategy", "full", "--mask", "wide.npy", "--bias", "short.npy"]) {
      $0.bias = sum
    }
    try process.expect(["--strategy", "full", "--mask", "m.npy", "--bias", "short.npy"]) {
      $0.bias = { b, h, i, j in
        j == 2 ? -.infinity : short.index(b, h, i, j).map { short.number($0) } ?? -.infinity
      }
    }
  }

  @Test("a safetensors file gives a mask by its key")
  func key() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let mask = try FileTensor(shape: [9], elementType: .bool) { bytes in
      for index in bytes.indices { bytes[index] = index == 4 ? 0 : 1 }
    }
    try SafetensorsFile.write(
      [NamedTensor("a.mask", mask), NamedTensor("q", process.tensors.query)],
      to: process.directory.path("m.safetensors"))
    try process.expect(["--strategy", "flash", "--mask", "m.safetensors:a.mask"]) {
      $0.sees = { _, key in key != 4 }
    }
  }

  @Test("slopes take off what the distance says", arguments: strategies)
  func alibi(_ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    let slopes = [0.5, 0.25, 0, -0.125]
    try process.write("s", [4], as: .float32, slopes.map(Float.init))
    for given in ["0.5,0.25,0,-0.125", "s.npy"] {
      try process.expect(["--strategy", strategy, "--alibi", given, "--align", "top-left"]) {
        $0.slopes = slopes
      }
    }
  }

  @Test("a prefix is seen in spite of causality")
  func prefix() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    for strategy in Self.strategies {
      try process.expect(
        ["--strategy", strategy, "--causal", "--align", "top-left", "--prefix-lengths", "3,3"]
      ) {
        $0.sees = { position, key in key <= position || key < 3 }
      }
    }
  }

  @Test(
    "lengths come as numbers and as files of integers",
    arguments: [true, false], [1, 2, 4, 8])
  func lengthFiles(isSigned: Bool, byteWidth: Int) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    // Little-endian: the low byte comes first.
    let bytes = [7, 3].flatMap { [UInt8($0)] + [UInt8](repeating: 0, count: byteWidth - 1) }
    try process.write(
      "n", [2], as: .integer(isSigned: isSigned, byteWidth: byteWidth), bytes)
    try process.expect(["--strategy", "flash", "--kv-lengths", "n.npy", "--causal"]) {
      $0.keyLengths = [7, 3]
      $0.offsets = [2, -2]
      $0.sees = { position, key in key <= position }
    }
  }

  @Test("rows beyond the query lengths come out as 0", arguments: strategies)
  func queryLengths(_ strategy: String) throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.expect(["--strategy", strategy, "--query-lengths", "2,5"]) {
      $0.queryLengths = [2, 5]
    }
  }

  @Test("an offset for each sequence")
  func offsets() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write("p", [2], as: .integer(isSigned: true, byteWidth: 4), [Int32(-2), 3])
    for given in ["-2,3", "p.npy"] {
      try process.expect(["--strategy", "flash", "--causal", "--query-offset", given]) {
        $0.offsets = [-2, 3]
        $0.sees = { position, key in key <= position }
      }
    }
  }

  @Test("what fits nothing is refused by name")
  func refusals() throws {
    let process = try RunProcess()
    defer { process.directory.remove() }
    try process.write("m", [5, 8], as: .bool, [UInt8](repeating: 1, count: 40))
    try process.write("i", [5, 9], as: .integer(isSigned: true, byteWidth: 8), [Int](0..<45))
    try process.write("five", [1, 2, 4, 5, 9], as: .bool, [UInt8](repeating: 1, count: 360))
    try process.write("rows", [4, 9], as: .bool, [UInt8](repeating: 1, count: 36))
    try process.write("n", [1, 2], as: .integer(isSigned: true, byteWidth: 8), [3, 4])
    try process.write("f", [2], as: .float32, [Float(3), 4])
    let flash = ["--strategy", "flash"]
    for (arguments, named) in [
      (["--mask", "i.npy"], "i.npy: holds int64 (<i8) elements; bool or floating-point"),
      (["--bias", "m.npy"], "m.npy: holds bool (|b1) elements; floating-point"),
      (["--mask", "five.npy"], "--mask five.npy has shape [1, 2, 4, 5, 9]; it must broadcast"),
      (["--mask", "rows.npy"], "--mask rows.npy has shape [4, 9]"),
      (["--kv-lengths", "f.npy"], "integer is needed"),
      (["--kv-lengths", "n.npy"], "--kv-lengths n.npy has shape [1, 2]; one dimension is needed"),
    ] {
      try process.refuse(flash + arguments, named, code: 1)
    }
    for (arguments, named) in [
      (["--kv-lengths", "10,1"], "--kv-lengths 10"), (["--kv-lengths", "1"], "--kv-lengths"),
      (["--query-lengths", "1,6"], "--query-lengths 6"),
      (["--prefix-lengths", "1,10"], "--prefix-lengths 10"),
      (["--alibi", "1,2"], "--alibi"), (["--alibi", "1,2,3,x"], "'x' is no number"),
      (["--alibi", "1,2,3,inf"], "--alibi inf"),
      (["--query-offset", "1,2,3"], "--query-offset"),
      (["--query-offset", "1.5"], "'1.5' is no whole number"),
    ] {
      try process.refuse(flash + arguments, named)
    }
  }
}
