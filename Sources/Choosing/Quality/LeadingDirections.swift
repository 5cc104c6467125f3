import Measuring
import Records
import Statistics
import Units

/// The orthonormal directions along which rows are longest: the leading eigenvectors of their
/// second moment, nearly.
///
/// By orthogonal iteration (Golub & Van Loan, "Matrix Computations", 2013, section 8.2.4) on up to
/// 2048 rows: what uses them needs orthonormal directions, and better ones only make it sharper.
struct LeadingDirections {
  /// Unit vectors; fewer than asked for where the rows span no more.
  private(set) var vectors: [[Double]] = []

  private static let rowLimit = 2048
  private static let iterations = 20

  /// - Parameter count: how many directions; no more than there are columns are taken.
  init(of rows: HeadRows, count: Int) {
    let columns = rows.columns
    let moment = rows.secondMoment(limit: Self.rowLimit)
    var generator = SeededGenerator(seed: 1)
    vectors = (0..<min(count, columns)).map { _ in
      (0..<columns).map { _ in Double.random(in: -1...1, using: &generator) }
    }
    for _ in 0..<Self.iterations {
      let products = vectors.map { vector in
        (0..<columns).map { row in
          (0..<columns).reduce(0) { $0 + moment[row * columns + $1] * vector[$1] }
        }
      }
      vectors = Self.orthonormal(products)
    }
  }

  /// Gram and Schmidt, twice ("twice is enough": Giraud, Langou & Rozloznik 2005); vectors that
  /// depend on earlier ones are dropped.
  private static func orthonormal(_ vectors: [[Double]]) -> [[Double]] {
    vectors.reduce(into: []) { basis, vector in
      let length = norm(vector)
      var rest = vector
      for _ in 0..<2 {
        for unit in basis {
          let product = zip(unit, rest).reduce(0) { $0 + $1.0 * $1.1 }
          rest = zip(rest, unit).map { $0 - product * $1 }
        }
      }
      let left = norm(rest)
      if left.isFinite, left > 1e-9 * length { basis.append(rest.map { $0 / left }) }
    }
  }

  private static func norm(_ vector: [Double]) -> Double {
    vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }
}
