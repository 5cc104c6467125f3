import AttentionTestSupport
import CAttentionKernels
import RealModule
import Testing

/// Biases in lanes, in rows and in bits.
@Suite struct MaskKernelTests {
  /// log16(e).
  static let unit = 1.4426950408889634 / 4
  static let lowest = -Float.greatestFiniteMagnitude

  /// The bias in log16 units as its definition says.
  private static func truth(
    mask: UInt8?, bias: Float?, slope: Float, distance: Float
  ) -> Float {
    if mask == 0 || bias == -.infinity { return -.infinity }
    let sum = Double(bias ?? 0) * Self.unit - Double(slope) * Double(abs(distance))
    if bias?.isFinite ?? true {
      let limit = -Double(lowest) * Self.unit
      return Float(min(max(sum, -limit), limit))
    }
    return Float(sum)
  }

  private static func matches(_ a: Float, _ b: Float) -> Bool {
    a == b || a.isNaN && b.isNaN || abs(a - b) <= 4e-7 * (1 + abs(b))
  }

  /// All sources alone and together, short rows, any place and lanes.
  @Test(arguments: KernelFixture.all, 0..<8)
  func fillBiasIsItsDefinition(_ kernel: KernelFixture, _ sources: Int) {
    var generator = TestGenerator(seed: sources)
    let lanes = kernel.lanes
    let keys = 150
    let special: [Float] = [-.infinity, Self.lowest, -Self.lowest, .infinity, .nan, 0]
    let masks = (0..<lanes).map { _ in (0..<keys).map { _ in UInt8(generator.pick(0...2)) } }
    let biases = (0..<lanes).map { _ in
      (0..<keys).map { _ in
        generator.pick(0...3) == 0 ? generator.pick(special) : 3 * generator.normal()
      }
    }
    let slopes = (0..<lanes).map { _ in generator.normal() }
    let distances = (0..<lanes).map { Float($0 * 3 - 20) }
    let offsets = (0..<Int(ATTN_BLOCK_KEYS)).map { Float($0 * 2) }
    for (column, count) in [(0, 1), (0, 128), (5, 17), (16, 16), (100, 33), (120, 30)] {
      let columns = column + count - 2
      var out = [Float](repeating: 77, count: Int(ATTN_BLOCK_KEYS) * lanes)
      for (first, vectors) in kernel.vectorRanges {
        let first = Int32(first * kernel.vectorLanes)
        withRows(masks, biases, offsets) { mask, bias, offsets in
          let rows = (0..<lanes).map { lane in
            attn_row_bias(
              mask: sources & 1 != 0 ? mask + lane * keys : nil,
              bias: sources & 2 != 0 ? bias + lane * keys : nil,
              position: Int64(distances[lane]) + 1000, columns: Int32(columns),
              slope: slopes[lane])
          }
          rows.withUnsafeBufferPointer { rows in
            guard let rows = rows.baseAddress else { return }
            var block = attn_bias_block(
              rows: rows, column: Int64(column), key: 1000,
              offsets: sources & 4 != 0 ? offsets : nil, count: Int32(count), first_lane: first,
              lanes: Int32(vectors * kernel.vectorLanes))
            kernel.functions.fill_bias(&block, &out)
          }
        }
      }
      var wrong = 0
      for t in 0..<count {
        for lane in 0..<lanes {
          let expected = Self.truth(
            mask: sources & 1 == 0 ? nil : t < count - 2 ? masks[lane][column + t] : 0,
            bias: sources & 2 == 0
              ? nil : t < count - 2 ? biases[lane][column + t] : -.infinity,
            slope: sources & 4 == 0 ? 0 : slopes[lane], distance: distances[lane] - offsets[t])
          if !Self.matches(out[t * lanes + lane], expected) { wrong += 1 }
        }
      }
      #expect(wrong == 0, "column \(column), \(count) places")
      #expect(out[(count * lanes)...].allSatisfy { $0 == 77 }, "wrote beyond \(count) places")
    }
  }

  private func withRows(
    _ masks: [[UInt8]], _ biases: [[Float]], _ offsets: [Float],
    _ body: (UnsafePointer<UInt8>, UnsafePointer<Float>, UnsafePointer<Float>) -> Void
  ) {
    masks.flatMap { $0 }.withUnsafeBufferPointer { masks in
      biases.flatMap { $0 }.withUnsafeBufferPointer { biases in
        offsets.withUnsafeBufferPointer { offsets in
          guard let mask = masks.baseAddress, let bias = biases.baseAddress,
            let offsets = offsets.baseAddress
          else { return }
          body(mask, bias, offsets)
        }
      }
    }
  }

  /// Hidden scores are -inf whatever they were, the others scaled and biased.
  @Test(arguments: KernelFixture.all)
  func biasRowIsItsDefinition(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 3)
    for count in 1...70 {
      let columns = count - count % 3
      let row = (0..<count).map { $0 % 5 == 2 ? Float.nan : generator.normal() }
      let mask = (0..<count).map { $0 % 5 == 2 ? 0 : UInt8(generator.pick(0...3)) }
      let bias = (0..<count).map { $0 % 7 == 3 ? -Float.infinity : generator.normal() }
      var out = row
      mask.withUnsafeBufferPointer { mask in
        bias.withUnsafeBufferPointer { bias in
          var source = attn_row_bias(
            mask: mask.baseAddress, bias: bias.baseAddress, position: 10, columns: Int32(columns),
            slope: 0.25)
          kernel.functions.bias_row(&out, Int64(count), 0.5, Float(Self.unit), &source)
        }
      }
      let isRight = (0..<count).allSatisfy { key in
        let added = Self.truth(
          mask: key < columns ? mask[key] : 0, bias: bias[key], slope: 0.25,
          distance: 10 - Float(key))
        return added == -.infinity
          ? out[key] == added : Self.matches(out[key], row[key] * 0.5 + added)
      }
      #expect(isRight, "\(count) keys")
    }
  }

  /// Every combination of sources, at every length around words.
  @Test(arguments: KernelFixture.all, 0..<4)
  func keyBitsAreWhatIsVisible(_ kernel: KernelFixture, _ sources: Int) {
    let (masks, biases) = (sources & 1 != 0, sources & 2 != 0)
    var generator = TestGenerator(seed: 4)
    for count in 1...135 {
      let columns = masks || biases ? count - count % 4 : count
      let mask = (0..<count).map { _ in UInt8(generator.pick(0...1)) * 200 }
      let bias = (0..<count).map { _ in generator.pick([Float(0), -.infinity, -0.0, 2, .nan]) }
      var visible = [UInt64](repeating: ~0, count: 3)
      var plain = visible
      mask.withUnsafeBufferPointer { mask in
        bias.withUnsafeBufferPointer { bias in
          var source = attn_row_bias(
            mask: masks ? mask.baseAddress : nil, bias: biases ? bias.baseAddress : nil,
            position: 0, columns: Int32(columns), slope: 0)
          kernel.functions.key_bits(&source, Int64(count), &visible, &plain)
        }
      }
      let isRight = (0..<(count + 63) / 64 * 64).allSatisfy { key in
        let shows =
          key < columns && (!masks || mask[key] != 0) && (!biases || bias[key] != -.infinity)
        let isPlain = shows && (!biases || bias[key] == 0)
        return (visible[key / 64] >> UInt64(key % 64) & 1 == 1) == shows
          && (plain[key / 64] >> UInt64(key % 64) & 1 == 1) == isPlain
      }
      #expect(isRight, "\(count) keys")
    }
  }

  /// Pieces with and without bounds, under a bias of each lane, -inf among it, or of each key for all lanes.
  /// Keys that no lane sees are NaN, their values infinite.
  @Test(arguments: KernelFixture.exponentials, [ATTN_BY_BIAS, ATTN_BY_KEY_BIAS])
  func attendAddsTheBias(_ kernel: KernelFixture, _ rule: Int32) {
    var generator = TestGenerator(seed: Int(rule))
    let lanes = kernel.lanes
    let isOfLanes = rule == ATTN_BY_BIAS
    for count in kernel.counts {
      for vectors in kernel.vectorCounts {
        let softcap: Float = count % 2 == 0 ? 3 : 0
        let isBlind = { (key: Int) in isOfLanes && key % 3 == 1 }
        let keys = RowTable(count: count, columns: 5) { row, _ in
          isBlind(row) ? .nan : generator.normal()
        }
        let values = RowTable(count: count, columns: 7) { row, _ in
          isBlind(row) ? .infinity : generator.normal()
        }
        let ofKeys: [Float] = (0..<count).map { _ in 3 * generator.normal() }
        var added: [Float] = []
        for place in 0..<count * lanes {
          let isHidden = isBlind(place / lanes) || generator.pick(0...2) == 0
          let ofLane = isHidden ? -Float.infinity : generator.normal()
          added.append(isOfLanes ? ofLane : ofKeys[place / lanes])
        }
        let bounds = (0..<lanes).map { Int32($0 % 4)..<Int32(max($0 % 4, count - $0 % 3)) }
        let split = count / 2
        var panel = KernelPanel(lanes: lanes, headDim: 5, valueDim: 7, &generator, size: 1)
        panel.softcap = softcap
        if isOfLanes { panel.bias = added } else { panel.keyBias = ofKeys }
        let pieces = [(0, split, rule), (split, count - split, rule | ATTN_BY_BOUNDS)]
          .filter { $0.1 > 0 }.map {
            attn_piece(
              first: Int32($0.0), count: Int32($0.1), first_vector: 0, vectors: Int32(vectors),
              masked: $0.2)
          }
        panel.meet(
          kernel.attend, keys, values, pieces: pieces, vectors: vectors, bounds: bounds)
        panel.bias = added
        let isRight = (0..<vectors * kernel.vectorLanes).allSatisfy { lane in
          panel.holds(
            lane, keys, values,
            seen: (0..<count).filter {
              added[$0 * lanes + lane] > -.infinity
                && ($0 < split || bounds[lane].contains(Int32($0)))
            })
        }
        #expect(isRight, "\(count) keys, \(vectors) vectors, softcap \(softcap)")
      }
    }
  }
}
