import Attention
import AttentionTestSupport
import CAttentionKernels
import Testing

/// Online softmax with bf16 products over blocks, against a two-pass softmax in fp64.
@Suite struct BFloat16AttendTests {
  static let fixtures = KernelFixture.all.filter { $0.table.runs(.bfloat16) }
  static let sizes = [(1, 1), (2, 4), (5, 3), (8, 17), (33, 2), (32, 24)]

  /// Numbers that bf16 holds.
  private static func normal(_ generator: inout TestGenerator) -> Float {
    Float(bitPattern: UInt32(StoredTensor.brain(generator.normal())) << 16)
  }

  /// Masked, biased or plain pieces one after the other, lanes with their own bounds, scores that
  /// rise within the block; keys nobody sees are NaN, and their values infinite.
  @Test(arguments: fixtures, [Float(0), 0.5, 12])
  func piecesSeeOnlyTheirOwn(_ kernel: KernelFixture, _ rise: Float) throws {
    var generator = TestGenerator(seed: 5)
    let lanes = kernel.lanes
    for (headDim, valueDim) in Self.sizes {
      for count in stride(from: 2, through: 4 * kernel.table.tileKeys + 2, by: 2) {
        for vectors in kernel.vectorCounts {
          let firstKey = Int32(1000)
          let bounds = (0..<lanes).map { lane in
            let start = firstKey + Int32(generator.pick(-3...count))
            return start..<(lane % 7 == 3 ? start : start + Int32(generator.pick(0...count + 3)))
          }
          let pieces = Self.even(
            kernel.pieces(of: count / 2, vectors: vectors, &generator), &generator)
          let bias = Self.bias(pieces, count: count, lanes: lanes, &generator)
          let seen: [[Int]] = (0..<lanes).map { lane in
            let vector = Int32(lane / kernel.vectorLanes)
            var keys: [Int] = []
            for piece in pieces
            where (piece.first_vector..<piece.first_vector + piece.vectors).contains(vector) {
              let isBounded = piece.masked & ATTN_BY_BOUNDS != 0
              for place in piece.first..<piece.first + piece.count
              where !isBounded || bounds[lane].contains(firstKey + place) {
                if bias[Int(place) * lanes + lane] != -.infinity { keys.append(Int(place)) }
              }
            }
            return keys
          }
          let somebody = Set(seen.joined())
          let keys = RowTable(count: count, columns: headDim) { row, column in
            if !somebody.contains(row) { return .nan }
            // Queries are 1, in log2 units, in the first column.
            return column == 0 ? (rise * Float(row)).rounded() : Self.normal(&generator)
          }
          let values = RowTable(count: count, columns: valueDim) { row, _ in
            somebody.contains(row) ? Self.normal(&generator) : .infinity
          }
          var panel = KernelPanel(
            lanes: lanes, headDim: headDim, valueDim: valueDim, &generator, size: 1)
          for index in panel.queries.indices {
            panel.queries[index] = (index < lanes ? 1 : Self.normal(&generator)) / 4
          }
          panel.bias = bias
          try panel.meetBFloat16(
            kernel, keys, values, pieces: pieces, vectors: vectors, key: firstKey, bounds: bounds)
          let matches = (0..<lanes).allSatisfy {
            panel.holds($0, keys, values, seen: seen[$0], rounding: 1.01 * 0x1p-8)
          }
          #expect(matches, "\(count) keys, d \(headDim), e \(valueDim), pieces \(pieces)")
        }
      }
    }
  }

  /// The pieces of twice as many keys, every other one or so with a bias.
  private static func even(
    _ pieces: [attn_piece], _ generator: inout TestGenerator
  ) -> [attn_piece] {
    pieces.map {
      attn_piece(
        first: 2 * $0.first, count: 2 * $0.count, first_vector: $0.first_vector,
        vectors: $0.vectors, masked: $0.masked | generator.pick([0, ATTN_BY_BIAS]))
    }
  }

  /// `[count][lanes]`: something in biased pieces, -inf for a quarter of it.
  private static func bias(
    _ pieces: [attn_piece], count: Int, lanes: Int, _ generator: inout TestGenerator
  ) -> [Float] {
    var bias = [Float](repeating: 0, count: count * lanes)
    for piece in pieces where piece.masked & ATTN_BY_BIAS != 0 {
      for index in Int(piece.first) * lanes..<Int(piece.first + piece.count) * lanes {
        bias[index] = generator.pick(0...3) == 0 ? -.infinity : generator.normal()
      }
    }
    return bias
  }

  /// An infinite value reaches the lanes that see its key, and no other; it changes none of their
  /// bits.
  @Test(arguments: fixtures)
  func infiniteValuesStayWithThoseWhoSeeThem(_ kernel: KernelFixture) throws {
    let (lanes, count) = (kernel.lanes, 2 * kernel.table.tileKeys)
    let piece = attn_piece(
      first: 0, count: Int32(count), first_vector: 0,
      vectors: Int32(kernel.vectorCounts.upperBound), masked: 1)
    let bounds = (0..<lanes).map { lane in 0..<Int32(lane % (count + 1)) }
    func meet(infinite: Int?) throws -> KernelPanel {
      var generator = TestGenerator(seed: 6)
      let keys = RowTable(count: count, columns: 4) { _, _ in Self.normal(&generator) }
      let values = RowTable(count: count, columns: 9) { row, column in
        let value = Self.normal(&generator)
        return row == infinite && column == 8 ? .infinity : value
      }
      var panel = KernelPanel(lanes: lanes, headDim: 4, valueDim: 9, &generator, size: 1)
      try panel.meetBFloat16(
        kernel, keys, values, pieces: [piece], vectors: kernel.vectorCounts.upperBound,
        bounds: bounds)
      return panel
    }
    let clean = try meet(infinite: nil)
    for infinite in 0..<count {
      let panel = try meet(infinite: infinite)
      #expect(panel.sums == clean.sums)
      for index in panel.output.indices {
        let sees = index / lanes == 8 && infinite < index % lanes % (count + 1)
        let value = panel.output[index]
        #expect(
          sees ? !value.isFinite : value.bitPattern == clean.output[index].bitPattern,
          "row \(infinite), place \(index)")
      }
    }
  }

  /// Rows are rounded to nearest, ties to even, and end at a whole word.
  @Test(arguments: fixtures)
  func roundsRows(_ kernel: KernelFixture) throws {
    let functions = try #require(OperandFormat(.bfloat16, in: kernel.table).pairs).pointee
    var generator = TestGenerator(seed: 8)
    for columns in [1, 2, 15, 16, 17, 33] {
      let rows = RowTable(count: 3, columns: columns) { row, column in
        row == 0 ? 1 + Float(2 * column + 1) * 0x1p-8 : 100 * generator.normal()
      }
      let width = (columns + 1) / 2 * 2
      var rounded = [UInt16](repeating: 0xFFFF, count: 3 * width)
      rows.withReading { functions.round_rows($0, 3, Int32(columns), &rounded) }
      for row in 0..<3 {
        for column in 0..<width {
          let expected = column < columns ? StoredTensor.brain(rows[row, column]) : 0
          #expect(rounded[row * width + column] == expected, "\(columns): \(row), \(column)")
        }
      }
    }
  }
}

extension KernelPanel {
  /// Lets a fresh panel meet a block in bf16: numbers that bf16 holds.
  fileprivate mutating func meetBFloat16(
    _ kernel: KernelFixture, _ keys: RowTable, _ values: RowTable, pieces: [attn_piece],
    vectors: Int, key: Int32 = 0, bounds: [Range<Int32>]
  ) throws {
    let functions = try #require(OperandFormat(.bfloat16, in: kernel.table).pairs).pointee
    let (words, count) = ((headDim + 1) / 2, keys.pointers.count)
    let width = (valueDim + 3) / 4 * 4
    let queryRows = RowTable(count: lanes, columns: headDim) { queries[$1 * lanes + $0] }
    let roundedQueries = PairRows(queryRows, count: lanes, words: words, functions)
    let roundedKeys = PairRows(keys, count: count, words: words, functions)
    let roundedValues = PairRows(values, count: count, words: (valueDim + 1) / 2, functions)
    let paired = PairRows(count: count / 2, words: width)
    let (packed, scratch) = (
      PairRows(count: words, words: lanes), PairRows(count: Int(ATTN_BLOCK_KEYS) / 2, words: lanes)
    )
    roundedQueries.withRows { functions.pack($0, Int32(lanes), Int32(headDim), 1, packed.base) }
    roundedValues.withRows {
      functions.pair_values($0, Int32(count), Int32(valueDim), paired.base)
    }
    let bias = bias
    var wide = [Float](repeating: 0, count: width * lanes)
    roundedKeys.withRows { keyRows in
      paired.withRows { valueRows in
        pieces.withUnsafeBufferPointer { pieces in
          bounds.map(\.lowerBound).withUnsafeBufferPointer { lower in
            bounds.map(\.upperBound).withUnsafeBufferPointer { upper in
              bias.withUnsafeBufferPointer { bias in
                wide.withUnsafeMutableBufferPointer { wide in
                  maxima.withUnsafeMutableBufferPointer { maxima in
                    sums.withUnsafeMutableBufferPointer { sums in
                      guard let piece = pieces.baseAddress, let lower = lower.baseAddress,
                        let upper = upper.baseAddress, let wide = wide.baseAddress,
                        let maxima = maxima.baseAddress, let sums = sums.baseAddress
                      else { return }
                      var panel = attn_panel(
                        queries: packed.base, weights: scratch.base, output: wide,
                        maxima: maxima, sums: sums, head_words: Int32(words),
                        value_dim: Int32(valueDim), vectors: Int32(vectors), factor: 1,
                        softcap: 0, query_scales: nil)
                      var block = attn_block(
                        keys: keyRows, values: valueRows, pieces: piece,
                        piece_count: Int32(pieces.count), first_key: key, lower: lower,
                        upper: upper, prefetch: nil, bias: bias.baseAddress,
                        key_bias: nil, scales: nil)
                      attn_attend(kernel.table.functions, ATTN_BF16_PAIRS, &panel, &block)
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
    output = Array(wide.prefix(valueDim * lanes))
  }
}

/// Rows of words of bf16 pairs, all bits set where nothing was written.
private final class PairRows {
  private let words: UnsafeMutableBufferPointer<UInt32>
  private let count: Int
  private let width: Int

  init(count: Int, words width: Int) {
    words = .allocate(capacity: max(count * width, 1))
    words.initialize(repeating: .max)
    self.count = count
    self.width = width
  }

  /// Rounds rows of fp32 numbers.
  convenience init(_ rows: RowTable, count: Int, words: Int, _ functions: attn_pair_rows) {
    self.init(count: count, words: words)
    rows.withReading { functions.round_rows($0, Int32(count), Int32(rows.columns), base) }
  }

  deinit { words.deallocate() }

  var base: UnsafeMutableRawPointer {
    guard let base = words.baseAddress else { fatalError("no rows") }
    return UnsafeMutableRawPointer(base)
  }

  func withRows(_ body: (UnsafePointer<UnsafeRawPointer>) -> Void) {
    (0..<max(count, 1)).map { UnsafeRawPointer(base + 4 * $0 * width) }.withUnsafeBufferPointer {
      if let rows = $0.baseAddress { body(rows) }
    }
  }
}
