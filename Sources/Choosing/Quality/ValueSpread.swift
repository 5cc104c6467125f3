import Attention
import Measuring
import RealModule
import Records
import Statistics
import Units

/// What a bound needs to know of keys and values, a key/value head at a time.
struct ValueSpread {
  /// One head's point and directions, and its longest key and value.
  struct Head {
    /// c, the mean of the finite values.
    private let centre: [Double]
    /// The rows of P.
    private let directions: [[Double]]
    /// P c.
    private let centreAlong: [Double]
    /// The norm of the longest finite key.
    let longestKey: Double
    /// The norm of the longest finite value.
    let longestValue: Double

    /// How many directions there are.
    var directionCount: Int { directions.count }

    fileprivate init(keys: HeadRows, values: HeadRows, directions count: Int) {
      centre = values.finiteMean
      directions = LeadingDirections(of: values, count: count).vectors
      longestKey = keys.longestFinite
      longestValue = values.longestFinite
      let centre = centre
      centreAlong = directions.map { zip($0, centre).reduce(0) { $0 + $1.0 * $1.1 } }
    }

    /// Looks at one row of values or outputs.
    ///
    /// What is beside the directions comes from Pythagoras, |(I - P'P)x|^2 = |x|^2 - |P x|^2, where
    /// fp64 may cancel half of its digits: each square is a sum of dV products, off by dV 2^-53 of
    /// |x|^2, and the directions are orthonormal to a few 2^-53.
    ///
    /// - Parameter along: overwritten with P x, `directionCount` elements.
    func look(
      at row: UnsafePointer<Float>, along: UnsafeMutableBufferPointer<Double>
    ) -> RowSpread {
      var square = 0.0
      var centredSquare = 0.0
      for column in centre.indices {
        let value = Double(row[column])
        square += value * value
        centredSquare += (value - centre[column]) * (value - centre[column])
      }
      var squareAlong = 0.0
      var centredSquareAlong = 0.0
      for (index, direction) in directions.enumerated() {
        var product = 0.0
        for column in direction.indices { product += direction[column] * Double(row[column]) }
        along[index] = product
        squareAlong += product * product
        let centred = product - centreAlong[index]
        centredSquareAlong += centred * centred
      }
      let (norm, distance) = (square.squareRoot(), centredSquare.squareRoot())
      let cancelled =
        directions.isEmpty ? 0 : (Double(centre.count + 16) * Double.exp2(-51)).squareRoot()
      return RowSpread(
        norm: norm,
        fromCentre: Self.root(centredSquare - centredSquareAlong) + cancelled * (distance + norm),
        besideDirections: max(Self.root(square - squareAlong) - cancelled * norm, 0))
    }

    /// The root of what is not negative but for rounding; NaN of NaN.
    private static func root(_ square: Double) -> Double { square < 0 ? 0 : square.squareRoot() }
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
    let elements = columns.elements
    var heads: [Head] = []
    let scratch = DoubleScratch(count: width)
    for index in 0..<shape.batch * shape.kvHeads {
      let (batch, kvHead) = (index / shape.kvHeads, index % shape.kvHeads)
      // Padding is seen by nobody and must not stretch anything.
      let count = problem.geometry(batch: batch).keyLength
      let values = HeadRows(value, batch: batch, head: kvHead, count: count)
      let head = Head(
        keys: HeadRows(key, batch: batch, head: kvHead, count: count), values: values,
        directions: width - 1)
      for row in 0..<count {
        let out = (index * shape.keyLength + row) * width
        let spread = head.look(at: values.pointer(row), along: scratch.elements)
        for column in 0..<head.directionCount {
          elements[out + column] = Float(scratch.elements[column])
        }
        elements[out + width - 1] = Float(spread.fromCentre).nextUp
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
      all.base + directionCount, .float32,
      shape: try TensorShape(shape.batch, shape.heads, shape.rows, 1),
      strides: (all.batchStride, all.headStride, all.rowStride), owner: all.owner)
  }
}

/// A row x beside a head's point and directions.
struct RowSpread {
  /// |x|.
  let norm: Double
  /// At least |(I - P'P)(x - c)|.
  let fromCentre: Double
  /// At most |(I - P'P) x|.
  let besideDirections: Double
}

/// Room for a few numbers, used again for every row.
final class DoubleScratch {
  let elements: UnsafeMutableBufferPointer<Double>

  init(count: Int) {
    elements = .allocate(capacity: count)
    elements.initialize(repeating: 0)
  }

  deinit { elements.deallocate() }
}
