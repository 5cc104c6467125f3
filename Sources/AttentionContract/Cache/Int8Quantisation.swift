import AttentionKernels
import Tensors

/// Symmetric 8-bit quantisation: element = integer x scale, integers in -127...127.
///
/// With m the largest magnitude the scale serves, scale = m / 127, but at least the smallest normal
/// number, and integer = x / scale rounded to nearest, ties to even. An element within +-m then is
/// off by at most (1/2 + 2^-15) scale: half a step, the roundings of the division and of the
/// product. What lies outside is clamped to +-127 steps. A scale of 0 stands for zeros only.
package enum Int8Quantisation {
  /// The largest integer in use; -128 is not, so that the range is symmetric.
  static let steps: Float = 127

  /// The largest magnitude of `count` elements: infinite if one is, NaN if one is.
  @inline(__always)
  package static func magnitude(_ row: UnsafePointer<Float>, count: Int) -> Float {
    // As bits, magnitudes are ordered like integers with the NaNs on top.
    var largest: UInt32 = 0
    for i in 0..<count { largest = max(largest, row[i].bitPattern & 0x7FFF_FFFF) }
    return Float(bitPattern: largest)
  }

  /// The scale for elements of at most a magnitude; NaN where that is not finite.
  @inline(__always)
  static func scale(for magnitude: Float) -> Float {
    if magnitude == 0 { return 0 }
    return magnitude.isFinite ? max(magnitude / steps, Float.leastNormalMagnitude) : .nan
  }

  /// Quantises `count` elements with one scale.
  @inline(__always)
  static func quantise(
    _ row: UnsafePointer<Float>, count: Int, scale: Float, into integers: UnsafeMutablePointer<Int8>
  ) {
    for i in 0..<count { integers[i] = integer(row[i], scale: scale) }
  }

  /// Quantises `count` elements, each with the scale of its column.
  @inline(__always)
  static func quantise(
    _ row: UnsafePointer<Float>, count: Int, scales: UnsafePointer<Float>,
    into integers: UnsafeMutablePointer<Int8>
  ) {
    for i in 0..<count { integers[i] = integer(row[i], scale: scales[i]) }
  }

  @inline(__always)
  private static func integer(_ x: Float, scale: Float) -> Int8 {
    // With a scale of 0 the quotient means nothing, but the product with it will be 0.
    let clamped = min(max(x / scale, -steps), steps)
    // Added to 1.5 x 2^23 a number is rounded to an integer by the adder, ties to even, and its
    // last bits are that integer.
    return Int8(truncatingIfNeeded: (clamped + 0x1.8p23).bitPattern)
  }
}
