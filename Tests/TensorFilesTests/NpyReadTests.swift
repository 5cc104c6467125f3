import TensorFiles
import Testing

/// `.npy` files that NumPy wrote, and damaged ones.
@Suite struct NpyReadTests {
  /// What the three `float*` fixtures hold, in fp64.
  static let golden: [Double] = [
    0, -0.0, 1, -1.5, 65504, 1e-7, .infinity, -.infinity, 3.14159265, 0x1p-24, .nan, 6e-8,
  ]

  @Test(arguments: [
    ("float32", FileElementType.float32), ("float64", .float64), ("float16", .float16),
  ])
  func readsWhatNumpyWrote(name: String, type: FileElementType) throws {
    let tensor = try NpyFile.read(Fixtures.npy(name))
    #expect(tensor.shape == [3, 4])
    #expect(tensor.sourceType == type)
    for (value, golden) in zip(tensor.values, Self.golden) {
      let expected = type == .float16 ? Float(Float16(golden)) : Float(golden)
      #expect(value.isNaN ? expected.isNaN : value.bitPattern == expected.bitPattern)
    }
  }

  @Test(arguments: [
    ("one-axis", [5]), ("four-axes", [2, 3, 4, 5]), ("empty", [2, 0, 3]), ("version2", [2, 3]),
    ("version3", [2, 3]),
  ])
  func readsShapesAndVersions(name: String, shape: [Int]) throws {
    let tensor = try NpyFile.read(Fixtures.npy(name))
    #expect(tensor.shape == shape)
    #expect(tensor.values == (0..<shape.reduce(1, *)).map(Float.init))
  }

  @Test func elementsAreAlignedToCacheLines() throws {
    try NpyFile.read(Fixtures.npy("one-axis")).withUnsafeElements { elements in
      #expect(UInt(bitPattern: elements.baseAddress) % 64 == 0)
    }
  }

  @Test(arguments: [
    ("fortran-order", "column-major", "np.ascontiguousarray"),
    ("big-endian", "big-endian float32 (>f4)", "x.astype(x.dtype.newbyteorder('<'))"),
    ("int32", "int32 (<i4)", "x.astype(np.float32)"),
    ("bool", "bool (|b1)", "x.astype(np.float32)"),
    ("complex64", "complex64 (<c8)", "little-endian float32 (<f4)"),
    ("structured", "structured ([('a', '<f4'), ('b', '<i4', (2,))])", "x['field']"),
    ("object", "Python object (|O)", "dtype=np.float32"),
    ("zero-dimensional", "0-dimensional", "at least 1 dimension"),
  ])
  func refusesWithTheFileTheFindingAndTheFix(name: String, finding: String, fix: String) throws {
    let path = Fixtures.npy(name)
    let error = try #require(throws: TensorFileError.self) { try NpyFile.read(path) }
    #expect(error.path == path)
    #expect("\(error)".hasPrefix(path + ": "))
    #expect("\(error)".contains(finding))
    #expect("\(error)".contains(fix))
  }

  @Test(arguments: [
    "{'shape':(2,3),'fortran_order':False,'descr':'<f4'}",
    "  { \"descr\" : \"=f4\" ,\n 'fortran_order' : False , 'shape' : ( 2 , 3 , ) , }  \n",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 3L)}",
  ])
  func readsAnyOrderSpacingAndQuotes(header: String) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.file("x.npy", npy(header: header, data: 24))
    #expect(try NpyFile.read(path).shape == [2, 3])
  }

  static let damaged: [(name: String, bytes: [UInt8], expected: TensorFileError.Reason)] = [
    (
      "empty file", [],
      .notThisFormat("is not a .npy file: it does not begin with \\x93NUMPY")
    ),
    (
      "another format", Array("PK\u{3}\u{4} a zip archive".utf8),
      .notThisFormat("is not a .npy file: it does not begin with \\x93NUMPY")
    ),
    (
      "version 4", npy(header: "{}", version: (4, 0)), .unsupportedVersion(major: 4, minor: 0)
    ),
    (
      "header past the end", npy(header: "{}", length: 60_000),
      .headerPastEnd(length: 60_000, available: 2)
    ),
    (
      "version 2 header past the end", npy(header: "{}", version: (2, 0), length: 0xFFFF_FFFF),
      .headerPastEnd(length: 0xFFFF_FFFF, available: 2)
    ),
    (
      "header of megabytes",
      npy(header: String(repeating: " ", count: 2_000_000), version: (2, 0)),
      .headerTooLong(length: 2_000_000, limit: 1 << 20)
    ),
    (
      "truncated data", npy(shape: "(2, 3)", data: 23),
      .wrongByteCount(tensor: nil, shape: [2, 3], type: "float32", expected: 24, found: 23)
    ),
    (
      "no data", npy(shape: "(2, 3)"),
      .wrongByteCount(tensor: nil, shape: [2, 3], type: "float32", expected: 24, found: 0)
    ),
    (
      "trailing bytes", npy(shape: "(2, 3)", data: 25),
      .wrongByteCount(tensor: nil, shape: [2, 3], type: "float32", expected: 24, found: 25)
    ),
    (
      "2^60 elements", npy(shape: "(1152921504606846976, 8)"),
      .badShape(tensor: nil, .overflow([1 << 60, 8]))
    ),
    (
      "2^120 elements", npy(shape: "(1152921504606846976, 1152921504606846976)"),
      .badShape(tensor: nil, .overflow([1 << 60, 1 << 60]))
    ),
    (
      "2^60 elements hidden behind a 0", npy(shape: "(0, 1152921504606846976, 64)"),
      .badShape(tensor: nil, .overflow([0, 1 << 60, 64]))
    ),
    (
      "2^59 elements and no data", npy(shape: "(576460752303423488,)"),
      .wrongByteCount(
        tensor: nil, shape: [1 << 59], type: "float32", expected: 1 << 61, found: 0)
    ),
    (
      "negative dimension", npy(shape: "(2, -3)"),
      .badShape(tensor: nil, .negativeDimension([2, -3]))
    ),
    (
      "65 dimensions", npy(shape: "(\(String(repeating: "1, ", count: 65)))", data: 4),
      .badShape(tensor: nil, .tooManyDimensions(Array(repeating: 1, count: 65)))
    ),
    (
      "nothing but a length", Array(npy(header: "").prefix(9)),
      .notThisFormat("is not a .npy file: it does not begin with \\x93NUMPY")
    ),
    (
      "half a length", Array(npy(header: "", version: (2, 0)).prefix(10)),
      .headerPastEnd(length: 4, available: 2)
    ),
  ]

  @Test(arguments: damaged.indices)
  func refusesDamagedFiles(index: Int) throws {
    let (name, bytes, expected) = Self.damaged[index]
    let directory = try TemporaryDirectory()
    let path = try directory.file("x.npy", bytes)
    #expect(try reason { _ = try NpyFile.read(path) } == expected, "\(name)")
  }

  @Test(arguments: [
    "", "[]", "{", "{'descr': '<f4'", "{'descr': '<f4', 'fortran_order': False}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
    "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 6}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (6)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': [2, 3]}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, '3')}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999999999999)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
    "{'descr': '<f4' 'fortran_order': False, 'shape': (2, 3)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} + {}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
    "{'descr': '<f4, 'fortran_order': False, 'shape': (2, 3)}",
    "{'descr\\': '<f4', 'fortran_order': False, 'shape': (2, 3)}\\",
    "__import__('os').system('true')", String(repeating: "[", count: 10_000), "\0",
  ])
  func refusesMalformedHeaders(header: String) throws {
    let directory = try TemporaryDirectory()
    let path = try directory.file("x.npy", npy(header: header, data: 24))
    let reason = try reason { _ = try NpyFile.read(path) }
    guard case .malformedHeader = reason else {
      Issue.record("\(header.prefix(80)) gave \(String(describing: reason))")
      return
    }
  }
}
