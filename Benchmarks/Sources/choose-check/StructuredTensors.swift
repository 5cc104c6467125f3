import Attention
import AttentionBench
import Foundation
import TensorFiles

/// Made-up tensors whose heads differ as a model's do: some look at neighbours, near or far, some at
/// the first keys too.
///
/// Independent normal tensors would make every choice the same, since no key matters more than
/// another. Here query and key i of a head hold the features cos(w_p i), sin(w_p i) with normal
/// frequencies w_p / L: their product is about exp(-(i - j)^2 / 2 L^2) (Rahimi and Recht, "Random
/// features for large-scale kernel machines", NIPS 2007), so that the head looks at keys within
/// about its length L. L halves from one key/value head to the next; every second head also looks
/// at the first two keys. Some normal noise is added; values are unit normal.
enum StructuredTensors {
  /// The logit of a query and the key at its own position.
  private static let peak = 9.0
  /// The standard deviation of the noise in queries and keys.
  private static let noise = 0.2

  static func make(_ shape: AttentionShape, seed: UInt64) throws -> FileProblem {
    let group = shape.groupSize
    let (d, n) = (shape.headDim, shape.queryLength)
    // sqrt(d) is what the scale takes out; half of the pairs' squares sum to d / 2.
    let amplitude = (peak * Double(d).squareRoot() / Double(d / 2)).squareRoot()
    let length = { (kvHead: Int) in max(4, Double(n) / 8 / Double(1 << (kvHead % 6))) }
    func frequencies(_ kvHead: Int) -> [Double] {
      var generator = SeededGenerator(seed: seed &* 977 &+ UInt64(kvHead))
      return (0..<d / 2).map { _ in normal(&generator) / length(kvHead) }
    }
    func features(_ role: Int, heads: Int, kvHead: @escaping (Int) -> Int) throws -> HostTensor {
      var generator = SeededGenerator(seed: seed &* 31 &+ UInt64(role))
      return try HostTensor(shape: [heads, n, d]) { elements in
        for head in 0..<heads {
          let own = frequencies(kvHead(head))
          let sinks = kvHead(head) % 2 == 1
          for row in 0..<n {
            let base = (head * n + row) * d
            for pair in 0..<d / 2 {
              let angle = own[pair] * Double(row)
              let isSink = sinks && role == 1 && row < 2
              // A sink key points where the queries of its head point on average: their first
              // features, which all of them get a constant share of.
              let bias = sinks && pair < 2 ? (role == 0 ? 1.0 : isSink ? 4.0 : 0) : 0
              elements[base + 2 * pair] = Float(
                amplitude * (cos(angle) + bias) + noise * normal(&generator))
              elements[base + 2 * pair + 1] = Float(
                amplitude * sin(angle) + noise * normal(&generator))
            }
            for column in (d / 2 * 2)..<d { elements[base + column] = 0 }
          }
        }
      }
    }
    var generator = SeededGenerator(seed: seed &* 131)
    let value = try HostTensor(shape: [shape.kvHeads, n, shape.valueDim]) { elements in
      for index in elements.indices { elements[index] = Float(normal(&generator)) }
    }
    let query = try features(0, heads: shape.heads) { $0 / group }
    let key = try features(1, heads: shape.kvHeads) { $0 }
    return try FileProblem(
      query: FileProblem.Source(query, name: "made-up q"),
      key: FileProblem.Source(key, name: "made-up k"),
      value: FileProblem.Source(value, name: "made-up v"))
  }

  private static func normal(_ generator: inout SeededGenerator) -> Double {
    let radius = Double.random(in: Double.leastNonzeroMagnitude..<1, using: &generator)
    let angle = Double.random(in: 0..<2 * .pi, using: &generator)
    return (-2 * log(radius)).squareRoot() * cos(angle)
  }
}
