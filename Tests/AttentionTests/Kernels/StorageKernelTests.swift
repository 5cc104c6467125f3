import Attention
import AttentionTestSupport
import CAttentionKernels
import Testing

/// The conversions between stored elements and fp32, in every instruction set.
@Suite struct StorageKernelTests {
  /// Widens `elements` as rows of `columns`, the last one shorter.
  private func widen<T: BitwiseCopyable>(
    _ kernel: KernelFixture, _ elements: [T], _ type: ElementType, columns: Int,
    channelScales: [Float]? = nil
  ) -> [Float] {
    var out = [Float](repeating: .nan, count: elements.count)
    elements.withUnsafeBytes { bytes in
      out.withUnsafeMutableBufferPointer { out in
        guard let base = bytes.baseAddress, let target = out.baseAddress else { return }
        for first in stride(from: 0, to: elements.count, by: columns) {
          var row = base + first * MemoryLayout<T>.stride
          kernel.functions.widen(
            &row, 1, Int32(min(columns, elements.count - first)), type.storage, channelScales,
            target + first)
        }
      }
    }
    return out
  }

  private func narrow(
    _ kernel: KernelFixture, _ values: [Float], _ type: ElementType, columns: Int
  ) -> [UInt16] {
    // One element off, so that nothing is aligned, and a guard behind.
    var out = [UInt16](repeating: 0xABCD, count: values.count + 2)
    values.withUnsafeBufferPointer { values in
      out.withUnsafeMutableBufferPointer { out in
        guard let base = values.baseAddress, let target = out.baseAddress else { return }
        for first in stride(from: 0, to: values.count, by: columns) {
          var row = base + first
          var stored = UnsafeMutableRawPointer(target + 1 + first)
          kernel.functions.narrow(
            &row, 1, Int32(min(columns, values.count - first)), type.storage, &stored)
        }
      }
    }
    #expect(out.first == 0xABCD && out.last == 0xABCD, "wrote outside its rows")
    return Array(out.dropFirst().dropLast())
  }

  private let patterns = (0...UInt16.max).map { $0 }

  @Test(arguments: KernelFixture.all, [1 << 16, 1, 7, 37])
  func everyFloat16WidensExactly(_ kernel: KernelFixture, _ columns: Int) {
    let wide = widen(kernel, patterns, .float16, columns: columns)
    let wrong = zip(patterns, wide).filter { pattern, value in
      let half = Float16(bitPattern: pattern)
      // A NaN is quiet and keeps sign and payload.
      let nan = UInt32(pattern & 0x8000) << 16 | 0x7FC0_0000 | UInt32(pattern & 0x3FF) << 13
      return value.bitPattern != (half.isNaN ? nan : Float(half).bitPattern)
    }
    #expect(wrong.isEmpty, "\(wrong.count) patterns, the first \(wrong.prefix(3))")
  }

  @Test(arguments: KernelFixture.all, [1 << 16, 1, 7, 37])
  func everyBFloat16WidensExactly(_ kernel: KernelFixture, _ columns: Int) {
    let wide = widen(kernel, patterns, .bfloat16, columns: columns)
    let wrong = zip(patterns, wide).filter { $1.bitPattern != UInt32($0) << 16 }
    #expect(wrong.isEmpty, "\(wrong.count) patterns, the first \(wrong.prefix(3))")
  }

  @Test(arguments: KernelFixture.all, [ElementType.float16, .bfloat16])
  func everyPatternSurvivesTheWayBack(_ kernel: KernelFixture, _ type: ElementType) {
    let wide = widen(kernel, patterns, type, columns: 1 << 16)
    let back = narrow(kernel, wide, type, columns: 1 << 16)
    let quiet: UInt16 = type == .float16 ? 0x0200 : 0x0040
    let wrong = patterns.indices.filter {
      back[$0] != (wide[$0].isNaN ? patterns[$0] | quiet : patterns[$0])
    }
    #expect(wrong.isEmpty, "\(wrong.count) patterns, the first \(wrong.prefix(3))")
  }

  /// Every number of the type, the middle between it and the next, the fp32 numbers around both,
  /// and random ones of all magnitudes.
  private func hardCases(_ wide: (UInt16) -> Float) -> [Float] {
    var cases: [Float] = []
    for pattern in patterns {
      let value = wide(pattern)
      let next = wide(pattern &+ 1)
      let middle = Float((Double(value) + Double(next)) / 2)
      for number in [value, middle] { cases += [number, number.nextUp, number.nextDown] }
    }
    var generator = TestGenerator(seed: 5)
    for _ in 0..<200_000 {
      cases.append(Float(bitPattern: UInt32(truncatingIfNeeded: generator.next())))
    }
    return cases + [
      65_504, 65_519.996, 65_520, 65_536, .greatestFiniteMagnitude, 0x1p-25, 0x1p-149,
    ]
  }

  @Test(arguments: KernelFixture.all, [1 << 20, 7])
  func float16RoundsToNearestEven(_ kernel: KernelFixture, _ columns: Int) {
    let values = hardCases { Float(Float16(bitPattern: $0)) }
    let wrong = zip(values, narrow(kernel, values, .float16, columns: columns)).filter {
      $0.isNaN ? !Float16(bitPattern: $1).isNaN : $1 != StoredTensor.half($0)
    }
    #expect(wrong.isEmpty, "\(wrong.count) values, the first \(wrong.prefix(3))")
  }

  @Test(arguments: KernelFixture.all, [1 << 20, 7])
  func bfloat16RoundsToNearestEven(_ kernel: KernelFixture, _ columns: Int) {
    let values = hardCases { Float(bitPattern: UInt32($0) << 16) }
    let wrong = zip(values, narrow(kernel, values, .bfloat16, columns: columns)).filter {
      $1 != StoredTensor.brain($0)
    }
    #expect(wrong.isEmpty, "\(wrong.count) values, the first \(wrong.prefix(3))")
  }

  /// Whatever an instruction set has of its own, NaNs included.
  @Test(arguments: [ElementType.float16, .bfloat16])
  func instructionSetsAgree(_ type: ElementType) throws {
    var generator = TestGenerator(seed: 6)
    let values = (0..<300_000).map { _ in
      Float(bitPattern: UInt32(truncatingIfNeeded: generator.next()))
    }
    let narrowed = KernelFixture.all.map { narrow($0, values, type, columns: 1000) }
    #expect(narrowed.allSatisfy { $0 == narrowed[0] })
  }

  @Test(arguments: KernelFixture.all)
  func integersTakeTheirScales(_ kernel: KernelFixture) {
    for columns in 1...40 {
      let offset = ElementType.int8PerToken.scaleOffset(columns: columns)
      let integers = (0..<columns).map { Int8(truncatingIfNeeded: $0 * 41 - 128) }
      let scale: Float = 0.0371
      let row =
        integers.map { UInt8(bitPattern: $0) } + [UInt8](repeating: 0xFF, count: offset - columns)
        + withUnsafeBytes(of: scale) { Array($0) }
      var token = [Float](repeating: .nan, count: columns + 1)
      row.withUnsafeBytes {
        guard var address = $0.baseAddress else { return }
        kernel.functions.widen(
          &address, 1, Int32(columns), ElementType.int8PerToken.storage, nil, &token)
      }
      #expect(token.dropLast() == ArraySlice(integers.map { Float($0) * scale }))
      #expect(token[columns].isNaN, "wrote behind \(columns) columns")
      let scales = (0..<columns).map { 0.01 * Float($0 + 1) }
      let channel = widen(
        kernel, integers, .int8PerChannel, columns: columns, channelScales: scales)
      #expect(channel == zip(integers, scales).map { Float($0) * $1 })
    }
  }

  @Test(arguments: KernelFixture.all, ElementType.allCases)
  func rowsAreCopiedTogether(_ kernel: KernelFixture, _ type: ElementType) throws {
    for (count, columns) in [(1, 1), (2, 64), (19, 33), (128, 5)] {
      let values = TestTensor(try TensorShape(1, 1, count, columns))
      values.fill { Float($2 * 7 % 13) - 0.37 * Float($3) + Float($0 + $1) }
      let stored = StoredTensor(values, type, placement: .paged(rows: 3, usedRows: [count]))
      let rows = (0..<count).map { stored.view.rowAddress(0, 0, $0) }
      var copies = [Float](repeating: .nan, count: count * columns + 1)
      kernel.functions.widen(
        rows, Int32(count), Int32(columns), type.storage, stored.view.channelScales(0, 0),
        &copies)
      let expected = stored.widened()
      #expect(copies.dropLast().map(\.bitPattern) == expected.bits, "\(count) of \(columns)")
      #expect(copies[count * columns].isNaN, "wrote behind \(count) rows of \(columns)")
    }
  }
}
