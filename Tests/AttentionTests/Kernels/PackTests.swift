import AttentionTestSupport
import Testing

@Suite struct PackTests {
  @Test(arguments: KernelFixture.all)
  func packTransposesAndScales(_ kernel: KernelFixture) {
    let lanes = kernel.lanes
    for columns in 1...40 {
      for count in 1...lanes {
        let rows = RowTable(count: count, columns: columns) { Float($0 * 100 + $1) + 0.25 }
        var packed = [Float](repeating: .nan, count: columns * lanes)
        rows.withReading {
          kernel.functions.pack($0, Int32(count), Int32(columns), 0.5, &packed)
        }
        let matches = packed.indices.allSatisfy {
          let (column, lane) = ($0 / lanes, $0 % lanes)
          return packed[$0] == (lane < count ? rows[lane, column] * 0.5 : 0)
        }
        #expect(matches, "\(count) rows of \(columns)")
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func unpackInvertsPackWithAFactorPerRow(_ kernel: KernelFixture) {
    let lanes = kernel.lanes
    for columns in 1...40 {
      let packed = (0..<columns * lanes).map { Float($0) }
      let factors = (0..<lanes).map { Float($0 % 4) * 0.5 }
      for count in 1...lanes {
        let rows = RowTable(count: count, columns: columns) { _, _ in .nan }
        let nans = rows.nanCount - count * columns
        rows.pointers.withMemoryRebound(to: UnsafeMutablePointer<Float>.self) {
          if let base = $0.baseAddress {
            kernel.functions.unpack(packed, factors, nil, Int32(count), Int32(columns), base)
          }
        }
        let matches = (0..<count).allSatisfy { row in
          (0..<columns).allSatisfy {
            rows[row, $0] == packed[$0 * lanes + row] * factors[row]
          }
        }
        #expect(matches, "\(count) rows of \(columns)")
        #expect(rows.nanCount == nans, "wrote outside \(count) rows of \(columns)")
      }
    }
  }

  @Test(arguments: KernelFixture.all)
  func unpackKeepsAShareOfTheRows(_ kernel: KernelFixture) {
    let lanes = kernel.lanes
    for columns in [1, 4, 15, 16, 33] {
      let packed = (0..<columns * lanes).map { Float($0) }
      let factors = (0..<lanes).map { Float($0 % 4) * 0.5 }
      let kept = (0..<lanes).map { Float($0 % 3) * 2 }
      for count in 1...lanes {
        let rows = RowTable(count: count, columns: columns) { Float($0 + 2 * $1) }
        rows.pointers.withMemoryRebound(to: UnsafeMutablePointer<Float>.self) {
          if let base = $0.baseAddress {
            kernel.functions.unpack(packed, factors, kept, Int32(count), Int32(columns), base)
          }
        }
        let matches = (0..<count).allSatisfy { row in
          (0..<columns).allSatisfy {
            let sum = packed[$0 * lanes + row] * factors[row] + Float(row + 2 * $0) * kept[row]
            return rows[row, $0] == sum
          }
        }
        #expect(matches, "\(count) rows of \(columns)")
      }
    }
  }
}
