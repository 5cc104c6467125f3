import Tensors

/// The mean that rows of a head are taken less, so that their largest elements are smaller and so are the steps
/// that these are rounded in. No result depends on it but for roundings.
///
/// Of rows at equal distances, at most 1,024, those that are finite. In fp32 and in order, so that whoever
/// works it out has the same bits.
package struct SampledMean {
  /// Rows that are looked at, most at a time.
  package static let mostRows = 1024

  /// The rows of `count` that are looked at.
  package static func rows(of count: Int) -> StrideTo<Int> {
    stride(from: 0, to: count, by: max(1, (count + mostRows - 1) / mostRows))
  }

  private let columns: Int
  private let sums: UnsafeMutablePointer<Float>
  private var count: Float = 0

  /// - Parameter sums: `[columns]`, where the mean will be.
  package init(into sums: UnsafeMutablePointer<Float>, columns: Int) {
    (self.sums, self.columns) = (sums, columns)
    sums.update(repeating: 0, count: columns)
  }

  /// Enters a row.
  package mutating func add(_ row: UnsafePointer<Float>) {
    for column in 0..<columns where !row[column].isFinite { return }
    for column in 0..<columns { sums[column] += row[column] }
    count += 1
  }

  /// Divides. A sum beyond the largest number makes the mean 0.
  package func finish() {
    for column in 0..<columns {
      let mean = count == 0 ? 0 : sums[column] / count
      sums[column] = mean.isFinite ? mean : 0
    }
  }
}
