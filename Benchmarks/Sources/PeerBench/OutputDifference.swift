import Attention

/// How far two outputs lie apart, element by element.
struct OutputDifference: CustomStringConvertible {
  let maximum: Double
  let relativeL2: Double

  /// The errors of checked rows.
  init(maximum: Double, relativeL2: Double) {
    self.maximum = maximum
    self.relativeL2 = relativeL2
  }

  /// All elements of two tensors of one shape; not a number where one of them is not.
  init(_ found: Tensor, _ expected: Tensor) {
    var (largest, squares, reference) = (0.0, 0.0, 0.0)
    for (a, b) in zip(found.elements, expected.elements) {
      let gap = Double(a) - Double(b)
      squares += gap * gap
      reference += Double(b) * Double(b)
      // Not `max`, which may drop a NaN.
      if !(abs(gap) <= largest) { largest = abs(gap) }
    }
    maximum = squares.isNaN ? .nan : largest
    relativeL2 = squares == 0 ? 0 : (squares / reference).squareRoot()
  }

  var description: String {
    "max \(CompactNumber.text(maximum)), relative l2 \(CompactNumber.text(relativeL2))"
  }
}

/// The largest differences of a correct result.
///
/// In fp32, rounding to bf16 or tf32 anywhere gives more, and so does one key too many in a window.
/// In bf16, for averages of a thousand values and more: each rounding of output, weights, logits or
/// scaled queries gives a relative l2 of about 0.002, and all four together about 0.005; that of a
/// large logit moves an output by a hundredth of itself. One key in a thousand left out, a scale
/// that is 1% off, or 8-bit keys and values give more.
struct OutputBounds: CustomStringConvertible {
  let maximum: Double
  let relativeL2: Double

  init(_ elements: Storage) {
    (maximum, relativeL2) = elements.isFloat32 ? (5e-5, 2e-4) : (5e-3, 7e-3)
  }

  /// False also where a figure is no number.
  func allow(_ difference: OutputDifference) -> Bool {
    difference.maximum <= maximum && difference.relativeL2 <= relativeL2
  }

  var description: String {
    "bounds \(CompactNumber.text(maximum)) and \(CompactNumber.text(relativeL2))"
  }
}
