import Tensors

// The units that the engines compute scores in, log16: a weight is 16^score. A natural unit is 0.36
// of them, so that every finite score and bias is finite there too, and so is the sum of any two.
extension Float {
  /// log16(e): turns natural units into log16 units.
  package static let log16e: Float = 1.442_695_04 / 4
  /// ln(16): and back.
  package static let ln16: Float = 4 * 0.693_147_18
  /// The largest natural number in log16 units, where scores saturate.
  package static let largestLog16Score = Float.greatestFiniteMagnitude * log16e
}
