import Attention
import Measuring
import Records
import Statistics
import Units

/// The rows of one head of a tensor, in fp64.
struct HeadRows {
  private let base: UnsafePointer<Float>
  /// Keeps the memory alive.
  private let owner: AnyObject?
  private let stride: Int
  /// How many elements a row has.
  let columns: Int
  /// How many rows.
  let count: Int

  /// - Parameter count: the first rows; nil takes all.
  init(_ view: TensorView, batch: Int, head: Int, count: Int? = nil) {
    base = view.base + (batch * view.batchStride + head * view.headStride)
    owner = view.owner
    stride = view.rowStride
    self.count = count ?? view.shape.rows
    columns = view.shape.columns
  }

  /// The first element of a row.
  func pointer(_ row: Int) -> UnsafePointer<Float> { base + row * stride }

  /// The Euclidean norm of a row.
  func norm(_ row: Int) -> Double {
    let row = pointer(row)
    var sum = 0.0
    for column in 0..<columns { sum += Double(row[column]) * Double(row[column]) }
    return sum.squareRoot()
  }

  /// The norm of the longest row without the ones that are not finite.
  var longestFinite: Double {
    (0..<count).reduce(0) { longest, row in
      let norm = norm(row)
      return norm.isFinite ? max(longest, norm) : longest
    }
  }

  /// The mean of the rows without the ones that are not finite.
  var finiteMean: [Double] {
    var sum = [Double](repeating: 0, count: columns)
    var finite = 0
    for row in 0..<count where norm(row).isFinite {
      for column in 0..<columns { sum[column] += Double(pointer(row)[column]) }
      finite += 1
    }
    return sum.map { $0 / Double(max(finite, 1)) }
  }

  /// The sum of the outer products of up to `limit` rows, evenly spread, with themselves,
  /// `[columns][columns]`; without the rows that are not finite.
  func secondMoment(limit: Int) -> [Double] {
    var moment = [Double](repeating: 0, count: columns * columns)
    for row in Swift.stride(from: 0, to: count, by: max(1, count / limit)) {
      let values = UnsafeBufferPointer(start: pointer(row), count: columns).map(Double.init)
      guard values.allSatisfy(\.isFinite) else { continue }
      for i in 0..<columns {
        for j in 0..<columns { moment[i * columns + j] += values[i] * values[j] }
      }
    }
    return moment
  }
}
