import TensorFiles
import Testing

/// The conversions, seen through files, against the compiler's own.
@Suite struct ElementConversionTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  @Test func everyFloat16ReadsExactly() throws {
    let read = try decoded("F16", (0...UInt16.max).map { $0 })
    for (pattern, value) in zip(0...UInt16.max, read) {
      expectSame(value, Float(Float16(bitPattern: pattern)), "0x\(String(pattern, radix: 16))")
    }
  }

  @Test func everyBFloat16ReadsExactly() throws {
    let read = try decoded("BF16", (0...UInt16.max).map { $0 })
    for (pattern, value) in zip(0...UInt16.max, read) {
      expectSame(value, Float(bitPattern: UInt32(pattern) << 16), "0x\(String(pattern, radix: 16))")
    }
  }

  @Test func float64RoundsToNearest() throws {
    var random = SplitMix64(state: 1)
    let doubles =
      (0..<20_000).map { _ in Double(bitPattern: random.next()) }
      + (0..<20_000).map { _ in
        Double(
          sign: .plus, exponent: .random(in: -160...130, using: &random),
          significand: .random(in: 1..<2, using: &random))
      }
      + [.nan, .infinity, -.infinity, 0, -0.0, 1e300, -1e300, 0x1p-149, 0x1p-150, 0x1.8p-149]
    let file = try file("F64", doubles.map(\.bitPattern))
    let read = try #require(try file.readStored("x", as: [.floating]).floats(.saturated)).values
    for (double, value) in zip(doubles, read) {
      // Where rounding leaves fp32, a finite number stops at its end.
      let limit = Float.greatestFiniteMagnitude
      let rounded = Float(double)
      let expected = double.isFinite ? max(-limit, min(limit, rounded)) : rounded
      expectSame(value, expected, "\(double)")
    }
    let within = doubles.filter { !$0.isFinite || Float($0).isFinite }
    for (double, value) in zip(within, try decoded("F64", within.map(\.bitPattern))) {
      expectSame(value, Float(double), "\(double)")
    }
  }

  /// The last number that rounds to a finite one and the first that does not, by the rule of fp32: halfway
  /// to 2^128.
  @Test(arguments: [1.0, -1.0])
  func aFiniteFloat64BeyondFloat32IsRefusedWithItsPlace(sign: Double) throws {
    let end = (0x1p128 - 0x1p103) * sign
    let last = end.magnitude.nextDown * sign
    expectSame(
      try decoded("F64", [last.bitPattern])[0], Float(sign) * .greatestFiniteMagnitude, "\(last)")
    for value in [end, 1e39 * sign, .greatestFiniteMagnitude * sign] {
      let bits = [0.0, .infinity, .nan, 1, 2, value].map(\.bitPattern)
      let data = bits.withUnsafeBytes { Array($0) }
      let header = "{\(entry("x", [1, 2, 3], 0, data.count, as: "F64"))}"
      let path = try directory.file("x.safetensors", safetensors(header: header, data: data))
      let file = try SafetensorsFile(path)
      let error = try #require(throws: TensorFileError.self) { try file.read("x") }
      #expect(error.description.contains("tensor 'x' holds \(value) at [0, 1, 2]"), "\(error)")
      #expect(error.description.contains("3.4028235e+38"), "\(error)")
      let stored = try file.readStored("x", as: [.floating])
      let refused = try #require(throws: Float32RangeError.self) { try stored.floats() }
      #expect(refused.place == [0, 1, 2] && refused.value == value)
      let saturated = try #require(try stored.floats(.saturated)).values
      #expect(saturated[5] == Float(sign) * .greatestFiniteMagnitude)
      #expect(saturated[1] == .infinity && saturated[2].isNaN)
    }
  }

  @Test func theFirstNumberTooLargeOfALongTensorIsNamed() throws {
    let count = 70_000
    var values = [Double](repeating: 1, count: count)
    values[69_999] = -1e300
    let data = values.withUnsafeBytes { Array($0) }
    let header = "{\(entry("x", [7, 10_000], 0, data.count, as: "F64"))}"
    let path = try directory.file("x.safetensors", safetensors(header: header, data: data))
    let error = try #require(throws: TensorFileError.self) { try SafetensorsFile(path).read("x") }
    #expect(error.description.contains("holds -1e+300 at [6, 9999]"), "\(error)")
  }

  @Test func float16WritesToNearestEven() throws {
    let values = hardCases { Float(Float16(bitPattern: $0)) }
    let written = try encoded(values, .float16)
    for (value, pattern) in zip(values, written) {
      let expected = Float16(value)
      if value.isNaN {
        #expect(Float16(bitPattern: pattern).isNaN)
      } else if pattern != expected.bitPattern {
        Issue.record("\(value) gave \(Float16(bitPattern: pattern)), not \(expected)")
      }
    }
  }

  @Test func bfloat16WritesToNearestEven() throws {
    let values = hardCases { Float(bitPattern: UInt32($0) << 16) }
    let written = try encoded(values, .bfloat16)
    for (value, pattern) in zip(values, written) {
      if value.isNaN {
        #expect(Float(bitPattern: UInt32(pattern) << 16).isNaN)
      } else if pattern != nearestBFloat16(value) {
        Issue.record("\(value) gave 0x\(String(pattern, radix: 16))")
      }
    }
  }

  /// Every value of a 16-bit format, every midpoint of two neighbours, and the fp32 values beside
  /// both; random patterns; the extremes.
  private func hardCases(_ value: (UInt16) -> Float) -> [Float] {
    var values: [Float] = [.greatestFiniteMagnitude, .leastNonzeroMagnitude, .infinity, .nan, 0]
    values += [Float(bitPattern: 0x7F80_0001), Float(bitPattern: 0xFFFF_FFFF), 65519.996, 65520]
    for pattern in 0..<UInt16(0x7FFF) {
      let (a, b) = (value(pattern), value(pattern + 1))
      guard a.isFinite else { continue }
      let middle = b.isFinite ? a + (b - a) / 2 : a
      values += [a, a.nextUp, middle, middle.nextUp, middle.nextDown]
    }
    var random = SplitMix64(state: 2)
    values += (0..<50_000).map { _ in Float(bitPattern: UInt32(truncatingIfNeeded: random.next())) }
    return values + values.map { -$0 }
  }

  /// By comparing distances in fp64. Above the largest finite value the next step, 2^128, stands
  /// for infinity, as IEEE 754 rounds.
  private func nearestBFloat16(_ value: Float) -> UInt16 {
    let below = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
    func magnitude(_ pattern: UInt16) -> Double {
      let float = Float(bitPattern: UInt32(pattern & 0x7FFF) << 16)
      return float.isInfinite ? 0x1p128 : Double(float)
    }
    guard value.isFinite else { return below }
    let down = Double(value.magnitude) - magnitude(below)
    let up = magnitude(below + 1) - Double(value.magnitude)
    if down == up { return below.isMultiple(of: 2) ? below : below + 1 }
    return down < up ? below : below + 1
  }

  private func decoded<Pattern: FixedWidthInteger>(
    _ dtype: String, _ patterns: [Pattern]
  ) throws -> [Float] {
    try file(dtype, patterns).read("x").values
  }

  private func file<Pattern: FixedWidthInteger>(
    _ dtype: String, _ patterns: [Pattern]
  ) throws -> SafetensorsFile {
    let data = patterns.withUnsafeBytes { Array($0) }
    let header = "{\(entry("x", [patterns.count], 0, data.count, as: dtype))}"
    let path = try directory.file("x.safetensors", safetensors(header: header, data: data))
    return try SafetensorsFile(path)
  }

  private func encoded(_ values: [Float], _ type: FileElementType) throws -> [UInt16] {
    let path = directory.path("y.safetensors")
    let tensor = try HostTensor([values.count], values)
    try SafetensorsFile.write([NamedTensor("y", tensor, as: type)], to: path)
    let data = try bytes(of: path).suffix(values.count * 2)
    return stride(from: data.startIndex, to: data.endIndex, by: 2).map {
      UInt16(data[$0]) | UInt16(data[$0 + 1]) << 8
    }
  }

  private func expectSame(_ a: Float, _ b: Float, _ what: String) {
    if a.bitPattern != b.bitPattern, !(a.isNaN && b.isNaN) {
      Issue.record("\(what) gave \(a), not \(b)")
    }
  }
}
