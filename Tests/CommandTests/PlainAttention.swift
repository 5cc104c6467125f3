import Foundation
import TensorFiles

/// Attention by its formula in fp64, written without the library: rank 4 sizes, row-major.
struct PlainAttention {
  /// `[b, h, nQ, d]` and `[b, hKV, nKV, dV]`.
  let query: [Int]
  let value: [Int]
  let tensors: TestTensors

  /// Which key positions the query at a position sees.
  var sees: (_ position: Int, _ key: Int) -> Bool = { _, _ in true }
  var offset = 0
  var scale: Double?
  /// The weight of a pair before normalisation, from its scaled score or its feature product.
  var isLinear = false
  /// Keys in use, a batch entry each.
  var keyLengths: [Int]?
  var softcap: Double?
  /// A query head each.
  var sinks: [Double]?
  /// Query rows in use, a batch entry each; the others give 0 and -inf.
  var queryLengths: [Int]?
  /// Instead of `offset`, a batch entry each.
  var offsets: [Int]?
  /// A query head each: what is taken off the score for each step between position and key.
  var slopes: [Double]?
  /// Added to the score of a batch entry, head, query and key; -inf hides.
  var bias: (_ batch: Int, _ head: Int, _ query: Int, _ key: Int) -> Double = { _, _, _, _ in 0 }

  init(_ tensors: TestTensors) {
    func four(_ shape: [Int]) -> [Int] { shape.count == 3 ? [1] + shape : shape }
    self.tensors = tensors
    query = four(tensors.query.shape)
    value = four(tensors.value.shape)
  }

  /// Output `[b, h, nQ, dV]` and log-sum-exp `[b, h, nQ]`, both flat.
  func compute() -> (output: [Double], logSumExp: [Double]) {
    let (b, h, n, d) = (query[0], query[1], query[2], query[3])
    let (hKV, nKV, dV) = (value[1], value[2], value[3])
    let (q, k, v) = (
      tensors.query.elements.map(Double.init), tensors.key.elements.map(Double.init),
      tensors.value.elements.map(Double.init)
    )
    var output: [Double] = []
    var logSumExp: [Double] = []
    for (batch, head) in (0..<b).flatMap({ batch in (0..<h).map { (batch, $0) } }) {
      let kvHead = batch * hKV + head / (h / hKV)
      for i in 0..<n {
        let qRow = ((batch * h + head) * n + i) * d
        var row = [Double](repeating: 0, count: dV)
        var sum = 0.0
        let position = i + (offsets?[batch] ?? offset)
        let isUsed = i < queryLengths?[batch] ?? n
        for j in 0..<(isUsed ? keyLengths?[batch] ?? nKV : 0) where sees(position, j) {
          let added = bias(batch, head, i, j)
          if added == -.infinity { continue }
          let kRow = (kvHead * nKV + j) * d
          var product = 0.0
          for t in 0..<d {
            product +=
              isLinear ? feature(q[qRow + t]) * feature(k[kRow + t]) : q[qRow + t] * k[kRow + t]
          }
          var score = product * (scale ?? 1 / Double(d).squareRoot())
          if let softcap { score = softcap * tanh(score / softcap) }
          score += added - (slopes?[head] ?? 0) * Double(abs(position - j))
          // Scores of these tensors are small: no maximum needs to be taken out.
          let weight = isLinear ? product : exp(score)
          sum += weight
          for c in 0..<dV { row[c] += weight * v[(kvHead * nKV + j) * dV + c] }
        }
        if let sinks, sum > 0 { sum += exp(sinks[head]) }
        let denominator = isLinear ? sum + 1e-6 : sum
        output += row.map { sum == 0 ? 0 : $0 / denominator }
        logSumExp.append(log(sum))
      }
    }
    return (output, logSumExp)
  }

  private func feature(_ x: Double) -> Double { x > 0 ? x + 1 : exp(x) }
}
