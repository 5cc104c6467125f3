import AttentionTestSupport
import CAttentionKernels
import Testing

/// Online softmax over blocks, against a two-pass softmax in fp64.
@Suite struct AttendTests {
  static let sizes = [(1, 1), (5, 3), (8, 17), (16, 40), (33, 2)]

  @Test(arguments: KernelFixture.exponentials, [Float(0.3), 6])
  func attendMatchesSoftmax(_ kernel: KernelFixture, _ size: Float) {
    var generator = TestGenerator(seed: 4)
    let (lanes, width) = (kernel.lanes, kernel.vectorLanes)
    for (headDim, valueDim) in Self.sizes {
      for count in kernel.counts {
        let keys = RowTable(count: count, columns: headDim) { row, _ in
          generator.normal() + Float(row) * size / 4
        }
        let values = RowTable(count: count, columns: valueDim) { _, _ in generator.normal() }
        for (first, vectors) in kernel.vectorRanges {
          var panel = KernelPanel(
            lanes: lanes, headDim: headDim, valueDim: valueDim, &generator, size: size)
          // In two calls, so that the second meets a state.
          let split = count / 3
          for part in [0..<split, split..<count] where !part.isEmpty {
            let piece = attn_piece(
              first: Int32(part.lowerBound), count: Int32(part.count), first_vector: Int32(first),
              vectors: Int32(vectors), masked: 0)
            panel.meet(
              kernel.attend, keys, values, pieces: [piece], vectors: first + vectors)
          }
          let used = first * width..<(first + vectors) * width
          let matches = (0..<lanes).allSatisfy {
            panel.holds($0, keys, values, seen: used.contains($0) ? Array(0..<count) : [])
          }
          #expect(
            matches, "\(count) keys, d \(headDim), e \(valueDim), vectors \(first) + \(vectors)")
        }
      }
    }
  }

  /// A masked or unmasked piece after the other, lanes with their own bounds; keys nobody sees are
  /// NaN, and their values infinite.
  @Test(arguments: KernelFixture.exponentials)
  func piecesSeeOnlyTheirOwn(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 5)
    let lanes = kernel.lanes
    for (headDim, valueDim) in Self.sizes {
      for count in kernel.counts {
        for vectors in kernel.vectorCounts {
          let firstKey = Int32(1000)
          // Below, inside, beyond the block; every seventh lane sees nothing of a masked piece.
          let bounds = (0..<lanes).map { lane in
            let start = firstKey + Int32(generator.pick(-3...count))
            return start..<(lane % 7 == 3 ? start : start + Int32(generator.pick(0...count + 3)))
          }
          let pieces = kernel.pieces(of: count, vectors: vectors, &generator)
          let seen = (0..<lanes).map { lane in
            let vector = Int32(lane / kernel.vectorLanes)
            var keys: [Int] = []
            for piece in pieces
            where (piece.first_vector..<piece.first_vector + piece.vectors).contains(vector) {
              for key in piece.first..<piece.first + piece.count
              where piece.masked == 0 || bounds[lane].contains(firstKey + key) {
                keys.append(Int(key))
              }
            }
            return keys
          }
          let somebody = Set(seen.joined())
          let keys = RowTable(count: count, columns: headDim) { row, _ in
            somebody.contains(row) ? generator.normal() : .nan
          }
          let values = RowTable(count: count, columns: valueDim) { row, _ in
            somebody.contains(row) ? generator.normal() : .infinity
          }
          var panel = KernelPanel(
            lanes: lanes, headDim: headDim, valueDim: valueDim, &generator, size: 2)
          panel.meet(
            kernel.attend, keys, values,
            pieces: pieces, vectors: vectors, key: firstKey, bounds: bounds)
          let matches = (0..<lanes).allSatisfy { lane in
            panel.holds(lane, keys, values, seen: seen[lane])
          }
          #expect(matches, "\(count) keys, d \(headDim), e \(valueDim), pieces \(pieces)")
        }
      }
    }
  }

  /// Scores far beyond the bound weigh as the bound itself.
  @Test(arguments: KernelFixture.exponentials)
  func softcapBoundsTheScores(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 7)
    let lanes = kernel.lanes
    for vectors in kernel.vectorCounts {
      for count in kernel.counts {
        let keys = RowTable(count: count, columns: 1) { row, _ in row % 2 == 0 ? 1000 : -1000 }
        let values = RowTable(count: count, columns: 1) { row, _ in row % 2 == 0 ? 1 : 0 }
        var panel = KernelPanel(lanes: lanes, headDim: 1, valueDim: 1, &generator, size: 0)
        panel.queries = .init(repeating: 1, count: lanes)
        panel.softcap = 1.5 / 4
        let piece = attn_piece(
          first: 0, count: Int32(count), first_vector: 0, vectors: Int32(vectors), masked: 0)
        panel.meet(kernel.attend, keys, values, pieces: [piece], vectors: vectors)
        let (high, low) = (Double((count + 1) / 2), Double(count / 2))
        let truth = high / (high + low / 8)
        for lane in 0..<vectors * kernel.vectorLanes {
          #expect(isClose(panel.output[lane] / panel.sums[lane], truth, within: 1e-6))
        }
      }
    }
  }

  /// An infinite value reaches the lanes that see its key, and no other.
  @Test(arguments: KernelFixture.exponentials)
  func infiniteValuesStayWithThoseWhoSeeThem(_ kernel: KernelFixture) {
    var generator = TestGenerator(seed: 6)
    let lanes = kernel.lanes
    let count = 2 * kernel.table.tileKeys
    let vectors = kernel.vectorCounts.upperBound
    for infinite in 0..<count {
      let bounds = (0..<lanes).map { lane in 0..<Int32(lane % (count + 1)) }
      let keys = RowTable(count: count, columns: 4) { _, _ in generator.normal() }
      let values = RowTable(count: count, columns: 9) { row, column in
        row == infinite && column == 8 ? .infinity : generator.normal()
      }
      var panel = KernelPanel(lanes: lanes, headDim: 4, valueDim: 9, &generator, size: 1)
      let piece = attn_piece(
        first: 0, count: Int32(count), first_vector: 0, vectors: Int32(vectors), masked: 1)
      panel.meet(
        kernel.attend, keys, values,
        pieces: [piece], vectors: vectors, bounds: bounds)
      for lane in 0..<lanes {
        let sees = infinite < lane % (count + 1)
        #expect(panel.output[8 * lanes + lane].isFinite != sees, "lane \(lane), row \(infinite)")
        #expect((0..<8).allSatisfy { panel.output[$0 * lanes + lane].isFinite })
      }
    }
  }
}
