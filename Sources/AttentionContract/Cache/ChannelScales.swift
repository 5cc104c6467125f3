import AttentionKernels
import Tensors

/// Factors for the columns of 8-bit integer keys and values, a number a column of each head.
///
/// What a column will hold has to be known beforehand: magnitudes beyond 127 scales are clamped.
public struct ChannelScales: Sendable, Hashable {
  /// `[hKV][d]`.
  public let key: [Float]
  /// `[hKV][dV]`.
  public let value: [Float]

  public init(key: [Float], value: [Float]) {
    self.key = key
    self.value = value
  }

  /// Refuses scales that do not fit a cache or could not serve.
  func check(against shape: CacheShape) throws(AttentionError) {
    for (name, scales, columns) in [
      ("channelScales.key", key, shape.headDim), ("channelScales.value", value, shape.valueDim),
    ] {
      if scales.count != shape.kvHeads * columns {
        throw AttentionError(
          .shapeMismatch, argument: name, value: "\(scales.count) values",
          advice: "one a column of each head is needed: \(shape.kvHeads) x \(columns)")
      }
      if let bad = scales.first(where: { !($0 >= 0 && $0.isFinite) }) {
        throw AttentionError(
          .invalidArgument, argument: name, value: bad,
          advice: "must be a finite number of at least 0: the column's largest magnitude / 127")
      }
    }
  }
}

/// `[b, heads, columns]` scales of a tensor that are measured when its first rows arrive.
package struct CalibratedScales: ~Copyable {
  private let memory: AlignedFloats
  private let heads: Int
  private let columns: Int

  package init(batch: Int, heads: Int, columns: Int) throws(AttentionError) {
    self.heads = heads
    self.columns = columns
    memory = try AlignedFloats(count: batch * heads * columns, for: "channel scales")
  }

  /// `[b, heads, columns]`.
  package var base: UnsafePointer<Float> { UnsafePointer(memory.base) }

  /// Bytes held.
  var bytes: Int { memory.count * MemoryLayout<Float>.size }

  /// The scales of a head.
  @inline(__always)
  func head(_ batch: Int, _ head: Int) -> UnsafeMutablePointer<Float> {
    memory.base + (batch * heads + head) * columns
  }

  /// Sets the scales of a batch entry to given ones, `[heads][columns]`.
  func set(_ scales: [Float], batch: Int) {
    for (index, scale) in scales.enumerated() { head(batch, 0)[index] = scale }
  }

  /// Forgets a head's magnitudes, before `include`.
  package func begin(_ batch: Int, _ head: Int) {
    self.head(batch, head).update(repeating: 0, count: columns)
  }

  /// Takes a row into a head's magnitudes.
  package func include(_ row: UnsafePointer<Float>, _ batch: Int, _ head: Int) {
    let magnitudes = self.head(batch, head)
    for column in 0..<columns { magnitudes[column] = max(magnitudes[column], abs(row[column])) }
  }

  /// Turns a head's magnitudes into scales. A column that held zeros only takes the largest scale
  /// of its head: it may hold something else later.
  package func finish(_ batch: Int, _ head: Int) {
    let scales = self.head(batch, head)
    var largest: Float = 0
    for column in 0..<columns {
      scales[column] = Int8Quantisation.scale(for: scales[column])
      largest = max(largest, scales[column])
    }
    for column in 0..<columns where scales[column] == 0 { scales[column] = largest }
  }
}
