import TensorFiles
import Testing

@Suite struct FileTensorTests {
  static let integers: [(Bool, Int)] = [true, false].flatMap { isSigned in
    [1, 2, 4, 8].map { (isSigned, $0) }
  }

  private static func bytes(_ value: Int, width: Int) -> [UInt8] {
    (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static func tensor(
    _ shape: [Int], _ type: FileElementType, _ bytes: [UInt8]
  ) throws -> FileTensor {
    try FileTensor(shape: shape, elementType: type) { $0.copyBytes(from: bytes) }
  }

  @Test(arguments: integers)
  func integersRoundTrip(isSigned: Bool, width: Int) throws {
    let directory = try TemporaryDirectory()
    let type = FileElementType.integer(isSigned: isSigned, byteWidth: width)
    let values = isSigned ? [-3, 0, 100] : [3, 0, 200]
    let tensor = try Self.tensor([3], type, values.flatMap { Self.bytes($0, width: width) })
    try NpyFile.write(tensor, to: directory.path("x.npy"))
    try SafetensorsFile.write([NamedTensor("x", tensor)], to: directory.path("x.safetensors"))
    for argument in ["x.npy", "x.safetensors:x"] {
      let read = try TensorFile.readStored(
        TensorReference(directory.path(argument)), as: [.integer])
      #expect(read.elementType == type && read.shape == [3])
      #expect(read.integers() == values)
      #expect(try read.floats() == nil)
    }
  }

  @Test func anIntegerBeyondIntIsNone() throws {
    let type = FileElementType.integer(isSigned: false, byteWidth: 8)
    let tensor = try Self.tensor([1], type, [UInt8](repeating: 0xFF, count: 8))
    #expect(tensor.integers() == nil)
  }

  @Test func truthValuesRoundTrip() throws {
    let directory = try TemporaryDirectory()
    let tensor = try Self.tensor([2, 2], .bool, [1, 0, 0, 1])
    try NpyFile.write(tensor, to: directory.path("x.npy"))
    let read = try NpyFile.readStored(directory.path("x.npy"), as: [.bool, .floating])
    #expect(read.elementType == .bool && read.withUnsafeBytes { Array($0) } == [1, 0, 0, 1])
    #expect(read.integers() == nil)
  }

  @Test(arguments: FileElementType.floatingPoint)
  func floatingPointKeepsItsBits(type: FileElementType) throws {
    let directory = try TemporaryDirectory()
    let bytes = (0..<3 * type.byteWidth).map { UInt8(truncatingIfNeeded: 37 * $0 + 1) }
    let tensor = try Self.tensor([3], type, bytes)
    let path = directory.path("x.safetensors")
    try SafetensorsFile.write([NamedTensor("x", tensor)], to: path)
    let file = try SafetensorsFile(path)
    let read = try file.readStored("x", as: [.floating])
    #expect(read.withUnsafeBytes { Array($0) } == bytes)
    #expect(read.elementType == type)
    // Widened, it is what reading as fp32 gives; of fp64 some of these bits are beyond that.
    guard type != .float64 else { return }
    #expect(
      try read.floats()?.values.map(\.bitPattern) == file.read("x").values.map(\.bitPattern))
  }

  @Test func fp32IsSharedAndNotCopied() throws {
    let tensor = try HostTensor([2], [1, 2])
    let stored = FileTensor(tensor)
    let address = tensor.withUnsafeElements { $0.baseAddress.map { Int(bitPattern: $0) } }
    #expect(stored.withUnsafeBytes { $0.baseAddress.map { Int(bitPattern: $0) } } == address)
    let again = try #require(try stored.floats())
    #expect(again.withUnsafeElements { $0.baseAddress.map { Int(bitPattern: $0) } } == address)
  }

  @Test(arguments: [
    ("'<i8'", "int64 (<i8)", FileElementType.Kind.bool), ("'|b1'", "bool (|b1)", .integer),
    ("'<f4'", "float32 (<f4)", .integer), ("'<i4'", "int32 (<i4)", .floating),
  ])
  func anotherKindIsRefusedWithAWay(
    descr: String, name: String, kind: FileElementType.Kind
  ) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.file("x.npy", npy(descr: descr, shape: "(1,)", data: 8))
    let refused = try #require(
      try reason { _ = try NpyFile.readStored(path, as: [kind]) })
    let message = TensorFileError(path: path, refused).description
    #expect(message.contains("holds \(name) elements; \(kind.rawValue) is needed here"))
    let type = [.floating: "np.float32", .bool: "bool", .integer: "np.int64"][kind] ?? ""
    #expect(message.hasSuffix("np.save(path, x.astype(\(type)))"))
  }

  @Test func bigEndianAndUnknownTypesAreNotRead() throws {
    let directory = try TemporaryDirectory()
    for descr in ["'>i4'", "'<c8'", "'<U3'"] {
      let path = try directory.file("x.npy", npy(descr: descr, shape: "(1,)", data: 8))
      let refused = try reason {
        _ = try NpyFile.readStored(path, as: FileElementType.Kind.allCases)
      }
      guard case .unexpectedElementType = refused else {
        Issue.record("\(descr): \(String(describing: refused))")
        continue
      }
    }
  }

  /// The advice leads to a type that is taken where the file is, for every type and every use.
  @Test(arguments: FileElementType.Kind.allCases)
  func adviceNamesATypeThatIsTaken(kind: FileElementType.Kind) throws {
    let directory = try TemporaryDirectory()
    let converted = ["np.float32": "<f4", "bool": "|b1", "np.int64": "<i8"]
    for descr in [
      ">i8", ">i4", ">u2", ">f4", ">f8", ">f2", "<c8", ">c16", "<U3", "|V2", "<i8", "|b1",
    ] {
      let path = try directory.file("x.npy", npy(descr: "'\(descr)'", shape: "(0,)", data: 0))
      guard let refused = try reason({ _ = try NpyFile.readStored(path, as: [kind]) }) else {
        #expect((descr, kind) == ("<i8", .integer) || (descr, kind) == ("|b1", .bool))
        continue
      }
      let message = TensorFileError(path: path, refused).description
      let advised: String
      if message.hasSuffix("np.save(path, x.astype(x.dtype.newbyteorder('<')))") {
        advised = "<" + descr.dropFirst()
      } else {
        let type = message.components(separatedBy: "x.astype(").last?.dropLast(2) ?? ""
        advised = converted[String(type)] ?? ""
      }
      let fixed = try directory.file("y.npy", npy(descr: "'\(advised)'", shape: "(0,)", data: 0))
      #expect(try NpyFile.readStored(fixed, as: [kind]).shape == [0], "\(descr): \(message)")
    }
  }

  @Test func adviceOnSafetensorsSaysHowToConvertToWhatIsNeeded() {
    for (kind, way) in [
      (FileElementType.Kind.integer, "x.long() (torch) or x.astype(np.int64)"),
      (.floating, "x.float() (torch) or x.astype(np.float32)"),
      (.bool, "x.bool() (torch) or x.astype(bool)"),
    ] {
      let error = TensorFileError(
        path: "x", .unexpectedElementType(tensor: "n", found: "C64", accepted: [kind]))
      #expect("\(error)".contains("tensor 'n' is C64; \(kind.rawValue) is needed here"))
      #expect("\(error)".hasSuffix(way))
    }
  }

  @Test func aMaskCutShortIsRefused() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.file("x.npy", npy(descr: "'|b1'", shape: "(9,)", data: 8))
    guard
      case .wrongByteCount = try reason({ _ = try NpyFile.readStored(path, as: [.bool]) })
    else {
      Issue.record("9 truth values in 8 bytes were read")
      return
    }
  }
}
