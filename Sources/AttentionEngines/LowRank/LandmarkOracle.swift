import AttentionContract
import RealModule
import Tensors

/// Attention through landmarks by its definition in fp64.
struct LandmarkOracle: AttentionOracle {
  private let problem: AttentionProblem
  private let landmarks: LandmarkShape

  init(_ problem: AttentionProblem, _ landmarks: LandmarkShape) {
    (self.problem, self.landmarks) = (problem, landmarks)
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    prepared(inputs, batch: batch, head: head).row(inputs, batch: batch, head: head, row: row)
  }

  /// Landmarks and the inverse are the same for all rows of a head.
  func prepared(_ inputs: InputViews, batch: Int, head: Int) -> any AttentionOracle {
    let geometry = problem.geometry(batch: batch)
    let count = landmarks.count(in: geometry)
    let kvHead = head / problem.shape.groupSize
    if count == 0 { return LandmarkHead(problem, keys: [], values: []) }
    let queries = means(inputs.query, batch, head, rows: geometry.queryLength, count: count)
    let keys = means(inputs.key, batch, kvHead, rows: geometry.keyLength, count: count)
    let scale = Double(problem.scale)
    let between = queries.map { query in
      Self.softmax(keys.map { scale * Self.dot(query, $0) })
    }
    let gathered = queries.map { query in
      gather(query, inputs, batch, kvHead, keys: geometry.keyLength)
    }
    return LandmarkHead(
      problem, keys: keys, values: Self.product(inverse(of: between), gathered))
  }

  private func means(
    _ tensor: TensorView, _ batch: Int, _ head: Int, rows: Int, count: Int
  ) -> [[Double]] {
    (0..<count).map { index in
      let segment = LandmarkShape.segment(index, of: count, rows: rows)
      var sums = [Double](repeating: 0, count: tensor.shape.columns)
      for row in segment {
        let elements = tensor.row(batch, head, row)
        for column in sums.indices { sums[column] += Double(elements[column]) }
      }
      return sums.map { $0 / Double(segment.count) }
    }
  }

  /// What a landmark of queries gets from all keys.
  private func gather(
    _ query: [Double], _ inputs: InputViews, _ batch: Int, _ kvHead: Int, keys: Int
  ) -> [Double] {
    let scale = Double(problem.scale)
    let weights = Self.softmax(
      (0..<keys).map { key in
        let row = inputs.key.row(batch, kvHead, key)
        var sum = 0.0
        for column in query.indices { sum += query[column] * Double(row[column]) }
        return scale * sum
      })
    var output = [Double](repeating: 0, count: problem.shape.valueDim)
    for (key, weight) in weights.enumerated() {
      let row = inputs.value.row(batch, kvHead, key)
      for column in output.indices { output[column] += weight * Double(row[column]) }
    }
    return output
  }

  private func inverse(of matrix: [[Double]]) -> [[Double]] {
    let places = matrix.indices
    let transposed = places.map { i in places.map { matrix[$0][i] } }
    let rows = matrix.map { $0.reduce(0, +) }.max() ?? 1
    let columns = transposed.map { $0.reduce(0, +) }.max() ?? 1
    var inverse = transposed.map { $0.map { $0 / (rows * columns) } }
    func less(_ x: [[Double]], than diagonal: Double) -> [[Double]] {
      places.map { i in places.map { (i == $0 ? diagonal : 0) - x[i][$0] } }
    }
    for _ in 0..<landmarks.iterations {
      let product = Self.product(matrix, inverse)
      let seven = Self.product(product, less(product, than: 7))
      let fifteen = Self.product(product, less(seven, than: 15))
      inverse = Self.product(inverse, less(fifteen, than: 13)).map { $0.map { $0 / 4 } }
    }
    return inverse
  }

  fileprivate static func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for index in a.indices { sum += a[index] * b[index] }
    return sum
  }

  private static func product(_ a: [[Double]], _ b: [[Double]]) -> [[Double]] {
    let columns = b.first?.count ?? 0
    return a.map { row in
      var out = [Double](repeating: 0, count: columns)
      for (factor, other) in zip(row, b) {
        for column in 0..<columns { out[column] += factor * other[column] }
      }
      return out
    }
  }

  fileprivate static func softmax(_ scores: [Double]) -> [Double] {
    let largest = scores.reduce(-Double.infinity) { max($0, $1) }
    let weights = scores.map { Double.exp($0 - largest) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }
}

/// What all rows of a head read: landmarks of keys, and values for them.
private struct LandmarkHead: AttentionOracle {
  private let problem: AttentionProblem
  private let keys: [[Double]]
  private let values: [[Double]]

  init(_ problem: AttentionProblem, keys: [[Double]], values: [[Double]]) {
    (self.problem, self.keys, self.values) = (problem, keys, values)
  }

  func row(_ inputs: InputViews, batch: Int, head: Int, row: Int) -> OracleRow {
    var output = [Double](repeating: 0, count: problem.shape.valueDim)
    if keys.isEmpty { return OracleRow(output: output, logSumExp: -.infinity) }
    let elements = inputs.query.row(batch, head, row)
    let query = (0..<problem.shape.headDim).map { Double(elements[$0]) }
    let weights = LandmarkOracle.softmax(
      keys.map { Double(problem.scale) * LandmarkOracle.dot(query, $0) })
    for (weight, value) in zip(weights, values) {
      for column in output.indices { output[column] += weight * value[column] }
    }
    return OracleRow(output: output, logSumExp: 0)
  }
}
