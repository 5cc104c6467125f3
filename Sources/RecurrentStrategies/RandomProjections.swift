import RealModule

/// Positive random features of the softmax kernel (FAVOR+):
/// phi(x)_i = exp(w_i . x' - |x'|^2 / 2) / sqrt(m), x' = sqrt(scale) x, so that the mean of phi(q) . phi(k) over
/// the w is exp(scale q . k). The w are rows of random orthogonal matrices with the lengths of normal vectors,
/// which makes the variance less than that of independent ones.
///
/// Choromanski 2020, arXiv 2009.14794.
final class RandomProjections: Sendable {
  private let headDim: Int
  /// `[m][d]`, and the same in fp32.
  private let rows: [[Double]]
  private let floats: [Float]
  private let scale: Double

  init(count: Int, headDim: Int, scale: Double, seed: UInt64) {
    self.headDim = headDim
    self.scale = scale
    var source = NormalSource(seed: seed)
    var rows: [[Double]] = []
    while rows.count < count {
      // A block of orthogonal directions, by Gram and Schmidt.
      var block: [[Double]] = []
      while block.count < min(headDim, count - rows.count) {
        var row = (0..<headDim).map { _ in source.next() }
        // Twice, since once leaves what rounding brought in.
        for _ in 0..<2 {
          for other in block {
            let along = zip(row, other).reduce(0) { $0 + $1.0 * $1.1 }
            for i in row.indices { row[i] -= along * other[i] }
          }
        }
        let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if length > 1e-6 { block.append(row.map { $0 / length }) }
      }
      for direction in block {
        let length = (0..<headDim).reduce(0) { sum, _ in
          let x = source.next()
          return sum + x * x
        }.squareRoot()
        rows.append(direction.map { $0 * length })
      }
    }
    self.rows = rows
    floats = rows.flatMap { $0.map(Float.init) }
  }

  func features(of row: [Double]) -> [Double] {
    let x = row.map { $0 * scale.squareRoot() }
    let half = x.reduce(0) { $0 + $1 * $1 } / 2
    let factor = 1 / Double(rows.count).squareRoot()
    return rows.map { w in factor * Double.exp(zip(w, x).reduce(-half) { $0 + $1.0 * $1.1 }) }
  }

  /// `[d]` to `[m]`, in place.
  func map(_ row: UnsafeMutablePointer<Float>) {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: headDim) { x in
      let (root, factor) = (Float(scale.squareRoot()), 1 / Float(rows.count).squareRoot())
      var half: Float = 0
      for column in 0..<headDim {
        x[column] = root * row[column]
        half += x[column] * x[column] / 2
      }
      floats.withUnsafeBufferPointer { floats in
        for index in 0..<rows.count {
          var sum = -half
          for column in 0..<headDim { sum += floats[index * headDim + column] * x[column] }
          row[index] = factor * Float.exp(sum)
        }
      }
    }
  }
}

/// Normal numbers, the same for the same seed everywhere.
private struct NormalSource {
  private var state: UInt64
  private var spare: Double?

  init(seed: UInt64) { state = seed }

  /// SplitMix64 (Steele 2014), in (0, 1].
  private mutating func uniform() -> Double {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return (Double((z ^ (z >> 31)) >> 11) + 1) * 0x1p-53
  }

  /// Box and Muller 1958.
  mutating func next() -> Double {
    if let value = spare {
      spare = nil
      return value
    }
    let (radius, angle) = ((-2 * Double.log(uniform())).squareRoot(), 2 * Double.pi * uniform())
    spare = radius * Double.sin(angle)
    return radius * Double.cos(angle)
  }
}
