import Tensors

/// The mean that rows of a head are taken less, so that their largest elements are smaller and so are the steps
/// that these are rounded in. No result depends on it but for roundings.
///
/// Of rows at equal distances, at most 1,024, those that are finite and whose largest element is not far above
/// that of most: a mean of a few rows that are thousands of times as large, of which a mask may hide all,
/// would make the others large. In fp32 and in order, so that whoever works it out has the same bits.
package enum SampledMean {
  /// Rows that are looked at, most at a time.
  package static let mostRows = 1024
  /// Of the scratch memory that it takes.
  package static let scratchCount = 256
  /// Rows count up to this many times, about, the size that half of them are below: 2 to the power of it.
  private static let mostDoublings = 2

  /// The rows of `count` that are looked at.
  package static func rows(of count: Int) -> StrideTo<Int> {
    stride(from: 0, to: count, by: max(1, (count + mostRows - 1) / mostRows))
  }

  /// Works out the mean of rows.
  ///
  /// - Parameters:
  ///   - sums: `[columns]`, where the mean will be.
  ///   - scratch: `[scratchCount]`.
  ///   - visit: calls what it is handed with each row, twice the same ones.
  package static func take(
    into sums: UnsafeMutablePointer<Float>, columns: Int, scratch: UnsafeMutablePointer<Int32>,
    _ visit: ((UnsafePointer<Float>) -> Void) -> Void
  ) {
    sums.update(repeating: 0, count: columns)
    // How many rows have which exponent.
    scratch.update(repeating: 0, count: scratchCount)
    visit { row in scratch[exponent(row, columns)] += 1 }
    let limit = limit(scratch)
    var count: Float = 0
    visit { row in
      if exponent(row, columns) > limit { return }
      for column in 0..<columns { sums[column] += row[column] }
      count += 1
    }
    for column in 0..<columns {
      let mean = count == 0 ? 0 : sums[column] / count
      // A sum beyond the largest number.
      sums[column] = mean.isFinite ? mean : 0
    }
  }

  /// The exponent of a row's largest element; that of what is not finite is the largest of all.
  private static func exponent(_ row: UnsafePointer<Float>, _ columns: Int) -> Int {
    var largest: UInt32 = 0
    for column in 0..<columns { largest = max(largest, row[column].bitPattern & 0x7FFF_FFFF) }
    return Int(largest >> 23)
  }

  /// The largest exponent that counts. Rows of zeros say nothing of the size of others.
  private static func limit(_ counts: UnsafeMutablePointer<Int32>) -> Int {
    let infinite = scratchCount - 1
    var rows = 0
    for exponent in 1..<infinite { rows += Int(counts[exponent]) }
    var below = 0
    for exponent in 1..<infinite {
      below += Int(counts[exponent])
      if 2 * below >= rows { return min(exponent + mostDoublings, infinite - 1) }
    }
    return infinite - 1
  }
}
