import TensorFiles
import Testing

/// Command line tensor arguments and what they find.
@Suite struct TensorReferenceTests {
  @Test(
    arguments: [
      ("q.npy", "q.npy", TensorReference.Format.npy, nil),
      ("a:b/q.npy", "a:b/q.npy", .npy, nil),
      ("f.safetensors", "f.safetensors", .safetensors, nil),
      ("f.safetensors:layer0", "f.safetensors", .safetensors, "layer0"),
      ("d/f.safetensors:layer0.q", "d/f.safetensors", .safetensors, "layer0.q"),
      ("c:/f.safetensors:a:b", "c:/f.safetensors", .safetensors, "a:b"),
      ("f.safetensors:x.npy", "f.safetensors", .safetensors, "x.npy"),
    ] as [(String, String, TensorReference.Format, String?)])
  func parses(
    argument: String, path: String, format: TensorReference.Format, selector: String?
  ) throws {
    let reference = try TensorReference(argument)
    #expect(reference.path == path)
    #expect(reference.format == format)
    #expect(reference.selector == selector)
    #expect(reference.description == argument)
  }

  @Test(arguments: [
    ("", TensorFileError.Reason.unknownExtension), ("q", .unknownExtension),
    ("q.pt", .unknownExtension), ("npy", .unknownExtension),
    ("f.safetensors:", .emptySelector), ("q.npy:layer0", .selectorNotAllowed("layer0")),
  ])
  func refuses(argument: String, expected: TensorFileError.Reason) throws {
    #expect(try reason { _ = try TensorReference(argument) } == expected)
  }

  @Test func readsQueryKeyAndValueBehindAPrefix() throws {
    let reference = try TensorReference(Fixtures.realTensors + ":layer3")
    let inputs = try AttentionInputs(reference)
    let file = try SafetensorsFile(Fixtures.realTensors)
    #expect(try inputs.query.values == file.read("layer3.q").values)
    #expect(try inputs.key.values == file.read("layer3.k").values)
    #expect(try inputs.value.values == file.read("layer3.v").values)
  }

  @Test func readsQueryKeyAndValueWithoutAPrefix() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path("x.safetensors")
    let tensors = try ["v", "k", "q"].enumerated().map { index, name in
      NamedTensor(name, try HostTensor([1], [Float(index)]))
    }
    try SafetensorsFile.write(tensors, to: path)
    let inputs = try AttentionInputs(TensorReference(path))
    #expect(inputs.query.values + inputs.key.values + inputs.value.values == [2, 1, 0])
  }

  @Test(arguments: [
    ("", "holds no 'q', 'k', 'v' without a prefix; name one as FILE:PREFIX"),
    (":layer1", "holds no 'layer1.q', 'layer1.k', 'layer1.v'; did you mean 'layer0' or 'layer3'?"),
    (":vision", "holds no 'vision.q', 'vision.k', 'vision.v' (prefixes: layer0, layer3)"),
  ])
  func aMissingGroupListsThePrefixes(selector: String, message: String) throws {
    let reference = try TensorReference(Fixtures.realTensors + selector)
    let error = try #require(throws: TensorFileError.self) { try AttentionInputs(reference) }
    #expect("\(error)".contains(message))
    #expect("\(error)".contains("(prefixes: layer0, layer3)"))
  }

  @Test func aGroupThatLacksOneNamesIt() throws {
    let directory = try TemporaryDirectory()
    let path = directory.path("x.safetensors")
    let tensor = try HostTensor([1], [0])
    try SafetensorsFile.write([NamedTensor("q", tensor), NamedTensor("k", tensor)], to: path)
    #expect(
      try reason { _ = try AttentionInputs(TensorReference(path)) }
        == .noSuchGroup(prefix: nil, missing: ["v"], nearest: [], prefixes: []))
  }

  @Test func aGroupNeedsSafetensors() throws {
    let reference = try TensorReference(Fixtures.npy("float32"))
    #expect(try reason { _ = try AttentionInputs(reference) } == .notAGroup)
  }

  @Test func aSingleTensorIsReadByNameOrAlone() throws {
    #expect(
      try TensorFile.read(TensorReference(Fixtures.realTensors + ":layer0.q")).shape
        == [12, 512, 32])
    let unnamed = try TensorReference(Fixtures.realTensors)
    let error = try #require(throws: TensorFileError.self) { try TensorFile.read(unnamed) }
    #expect("\(error)".contains("holds 6 tensors; name one as FILE:NAME (names: layer0.k, "))
  }

  @Test(arguments: ["x.npy", "x.safetensors"])
  func whatCannotBeOpenedIsATypedError(name: String) throws {
    let directory = try TemporaryDirectory()
    let missing = try TensorReference(directory.path(name))
    #expect(
      try reason { _ = try TensorFile.read(missing) }
        == .system(operation: "open", errno: .noSuchFileOrDirectory))
    #expect(try reason { _ = try NpyFile.read(directory.path("")) } == .notARegularFile)
    #expect(try reason { _ = try SafetensorsFile("/dev/null") } == .notARegularFile)
  }
}
