import Attention
import RealModule

/// What a bound needs to know of keys and values, a key/value head at a time.
struct ValueSpread {
  /// One head's point and directions, and its longest key and value.
  struct Head {
    /// c, the mean of the finite values.
    let centre: [Double]
    /// The rows of P.
    let directions: LeadingDirections
    /// The norm of the longest finite key.
    let longestKey: Double
    /// The norm of the longest finite value.
    let longestValue: Double

    /// |(I - P'P)(row - c)|.
    func spread(of row: [Double]) -> Double {
      let rest = directions.beside(zip(row, centre).map { $0 - $1 })
      return rest.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
  }

  /// `[b, hKV, nKV, k + 1]`: P v_j, zeros where a head has fewer than k directions, and then
  /// r_j = |(I - P'P)(v_j - c)|, rounded up; NaN where a value is not finite.
  let columns: Tensor
  private let heads: [Head]
  private let kvHeads: Int

  /// How many directions there are columns for.
  var directionCount: Int { columns.shape.columns - 1 }

  /// Looks at every key and value once.
  ///
  /// Keys and values that are not finite are left to the bound: a query that sees one has no
  /// finite LSE or spread, one that does not must not be disturbed by it.
  ///
  /// - Parameter directions: k, as far as values have that many dimensions.
  /// - Throws: `AttentionError` when the system refuses the memory of the columns.
  init(
    _ problem: AttentionProblem, key: TensorView, value: TensorView, directions: Int
  ) throws(AttentionError) {
    let shape = problem.shape
    let width = min(max(directions, 0), shape.valueDim) + 1
    columns = try Tensor(
      try TensorShape(shape.batch, shape.kvHeads, shape.keyLength, width))
    kvHeads = shape.kvHeads
    var heads: [Head] = []
    for index in 0..<shape.batch * shape.kvHeads {
      let (batch, kvHead) = (index / shape.kvHeads, index % shape.kvHeads)
      // Padding is seen by nobody and must not stretch anything.
      let count = problem.geometry(batch: batch).keyLength
      let keys = HeadRows(key, batch: batch, head: kvHead, count: count)
      let values = HeadRows(value, batch: batch, head: kvHead, count: count)
      let head = Head(
        centre: values.finiteMean,
        directions: LeadingDirections(of: values, columns: shape.valueDim, count: width - 1),
        longestKey: keys.longestFinite,
        longestValue: values.longestFinite)
      for row in 0..<count {
        let out = (index * shape.keyLength + row) * width
        let value = values[row]
        for (column, coordinate) in head.directions.coordinates(of: value).enumerated() {
          columns.elements[out + column] = Float(coordinate)
        }
        columns.elements[out + width - 1] = Float(head.spread(of: value)).nextUp
      }
      heads.append(head)
    }
    self.heads = heads
  }

  func head(batch: Int, kvHead: Int) -> Head { heads[batch * kvHeads + kvHead] }

  /// `[b, hKV, nKV, 1]`: r_j alone.
  func distances() throws(AttentionError) -> TensorView {
    let all = columns.view
    let shape = all.shape
    return try TensorView(
      all.base + directionCount,
      shape: try TensorShape(shape.batch, shape.heads, shape.rows, 1),
      strides: (all.batchStride, all.headStride, all.rowStride))
  }
}
