import Foundation
import SystemPackage
import TensorFiles
import Testing

/// Writing: round trips, layout, and what is left when it fails.
@Suite struct WriteTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  /// Integers below 256: exact in every type.
  private func tensor(_ shape: [Int]) throws -> HostTensor {
    try HostTensor(shape, (0..<shape.reduce(1, *)).map { Float($0 % 256) - 128 })
  }

  /// The long one is not a multiple of the conversion chunk.
  static let shapes = [[1], [2, 3], [2, 0, 3], [4, 1, 7, 5], [300_001]]

  @Test(arguments: [FileElementType.float32, .float64, .float16], shapes)
  func npyRoundTrips(type: FileElementType, shape: [Int]) throws {
    let path = directory.path("x.npy")
    let tensor = try tensor(shape)
    try NpyFile.write(tensor, as: type, to: path)
    let read = try NpyFile.read(path)
    #expect(read.shape == shape)
    #expect(read.sourceType == type)
    #expect(read.values == tensor.values)
    let size = try bytes(of: path).count
    #expect((size - tensor.count * type.byteWidth) % 64 == 0, "data on a 64-byte boundary")
  }

  @Test(arguments: FileElementType.floatingPoint, shapes)
  func safetensorsRoundTrips(type: FileElementType, shape: [Int]) throws {
    let path = directory.path("x.safetensors")
    let tensor = try tensor(shape)
    try SafetensorsFile.write([NamedTensor("x", tensor, as: type)], to: path)
    let read = try SafetensorsFile(path).read("x")
    #expect(read.shape == shape)
    #expect(read.sourceType == type)
    #expect(read.values == tensor.values)
  }

  /// Those of the fixtures that lose nothing in fp32.
  @Test(arguments: ["float32", "float16", "one-axis", "four-axes", "empty"])
  func writesTheVeryBytesNumpyWrites(name: String) throws {
    let tensor = try NpyFile.read(Fixtures.npy(name))
    let path = directory.path("x.npy")
    try NpyFile.write(tensor, as: tensor.sourceType, to: path)
    #expect(try bytes(of: path) == bytes(of: Fixtures.npy(name)))
  }

  @Test func severalTensorsOfMixedTypesStayAligned() throws {
    let path = directory.path("x.safetensors")
    let names = ["quote\"d", "q", "é.k", "layer0.v/\\"]
    let types: [FileElementType] = [.bfloat16, .float32, .float16, .float64]
    let tensors = try zip(names, types).enumerated().map { index, pair in
      NamedTensor(pair.0, try tensor([3, index + 1]), as: pair.1)
    }
    try SafetensorsFile.write(tensors, metadata: ["scale": "1/8"], to: path)
    let file = try SafetensorsFile(path)
    #expect(file.metadata == ["scale": "1/8"])
    #expect(file.tensorNames == names.sorted())
    for (index, (name, type)) in zip(names, types).enumerated() {
      let entry = try #require(file[name])
      #expect(entry.byteRange.lowerBound % type.byteWidth == 0)
      #expect(try file.read(name).values == tensor([3, index + 1]).values)
    }
  }

  @Test func refusesNamesThatCollideAndTypesThatCannotBe() throws {
    let tensor = try tensor([2])
    let path = directory.path("x.safetensors")
    for names in [["q", "q"], ["__metadata__"]] {
      let tensors = names.map { NamedTensor($0, tensor) }
      let duplicate = TensorFileError.Reason.duplicateName(names[0])
      #expect(try reason { try SafetensorsFile.write(tensors, to: path) } == duplicate)
    }
    #expect(
      try reason { try NpyFile.write(tensor, as: .bfloat16, to: directory.path("x.npy")) }
        == .unwritableElementType(.bfloat16))
    #expect(
      try reason { try TensorFile.write(tensor, named: "o", to: directory.path("x.txt")) }
        == .unknownExtension)
    #expect(try directory.contents() == [])
  }

  @Test func theExtensionChoosesTheFormat() throws {
    let tensor = try tensor([2, 2])
    for name in ["o.npy", "o.safetensors"] {
      let path = directory.path(name)
      try TensorFile.write(tensor, named: "o", to: path)
      #expect(try TensorFile.read(TensorReference(path)).values == tensor.values)
    }
    #expect(try SafetensorsFile(directory.path("o.safetensors")).tensorNames == ["o"])
  }

  @Test func placesThatCannotBeWritten() throws {
    let tensor = try tensor([2])
    func failure(_ path: String) throws -> OutputError.Reason? {
      guard case .output(let error) = try reason({ try NpyFile.write(tensor, to: path) }) else {
        return nil
      }
      #expect(error.path == path)
      return error.reason
    }
    #expect(try failure("/dev/full") == .system(.noSpace))
    #expect(try failure(directory.path("")) == .directory)
    #expect(try failure(directory.path("no/such/x.npy")) == .system(.noSuchFileOrDirectory))
    let file = try directory.file("file", [])
    #expect(try failure(file + "/x.npy") == .system(.notDirectory))
  }

  @Test func keepsLinksAndPermissionsOfTheFileItReplaces() throws {
    let real = try directory.file("real.npy", [1, 2, 3])
    let link = directory.path("link.npy")
    let manager = FileManager.default
    try manager.setAttributes([.posixPermissions: 0o600], ofItemAtPath: real)
    try manager.createSymbolicLink(atPath: link, withDestinationPath: real)
    try NpyFile.write(tensor([2]), to: link)
    #expect(try manager.destinationOfSymbolicLink(atPath: link) == real)
    #expect(try NpyFile.read(real).shape == [2])
    let mode = try manager.attributesOfItem(atPath: real)[.posixPermissions] as? NSNumber
    #expect(mode?.intValue == 0o600)
    #expect(try directory.contents() == ["link.npy", "real.npy"])
  }

  @Test(arguments: FileElementType.floatingPoint)
  func aFullDiskIsATypedError(type: FileElementType) throws {
    let full = directory.path("full.safetensors")
    try FileManager.default.createSymbolicLink(atPath: full, withDestinationPath: "/dev/full")
    let error = try #require(throws: TensorFileError.self) {
      try TensorFile.write(tensor([1000]), as: type, named: "o", to: full)
    }
    #expect(
      "\(error)"
        == "\(full): cannot write: No space left on device; make room or write to another disk; "
        + "nothing was changed")
  }

  /// A limit on the size of files stops a write in the middle, as a full disk would. It holds for
  /// a whole process, hence the child.
  @Test func aWriteThatFailsMidwayLeavesTheOldFileAndNoOther() async throws {
    await #expect(processExitsWith: .success) {
      let directory = try TemporaryDirectory()
      let (a, b) = (directory.path("a.npy"), directory.path("b.safetensors"))
      let small = try HostTensor([1], [1])
      try NpyFile.write(small, to: a)
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 64 * 1024, rlim_max: 64 * 1024)
      try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
      let large = try HostTensor([100_000], [Float](repeating: 2, count: 100_000))
      for path in [a, b] {
        let error = try #require(throws: TensorFileError.self) {
          try TensorFile.write(large, as: .float16, named: "o", to: path)
        }
        try #require(
          "\(error)"
            == "\(path): cannot write: File too large; raise the file size limit (ulimit -f); "
            + "nothing was changed")
      }
      try #require(try directory.contents() == ["a.npy"])
      try #require(try NpyFile.read(a).values == [1])
    }
  }
}
