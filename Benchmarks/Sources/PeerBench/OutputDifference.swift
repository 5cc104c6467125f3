import Attention

/// How far two outputs lie apart, element by element.
struct OutputDifference: CustomStringConvertible {
  let maximum: Double
  let relativeL2: Double
  /// Rows that were left out.
  private(set) var excused = 0

  /// The errors of checked rows.
  init(maximum: Double, relativeL2: Double) {
    self.maximum = maximum
    self.relativeL2 = relativeL2
  }

  /// All elements of two tensors of one shape; not a number where one of them is not.
  ///
  /// - Parameter bounds: what says how many rows may be left out because they are beyond it.
  init(_ found: Tensor, _ expected: Tensor, within bounds: OutputBounds? = nil) {
    let (these, those) = (found.elements, expected.elements)
    let columns = expected.shape.columns
    let count = those.count / max(columns, 1)
    var (sum, beyond) = (RowGap(), RowGap())
    for row in 0..<count {
      let elements = row * columns..<(row + 1) * columns
      let gap = RowGap(these[elements], those[elements])
      // One with a NaN is never left out.
      if let bounds, gap.largest > bounds.maximum, gap.largest.isFinite {
        excused += 1
        beyond.add(gap)
      } else {
        sum.add(gap)
      }
    }
    if excused > bounds?.excusedRows(of: count) ?? 0 {
      excused = 0
      sum.add(beyond)
    }
    maximum = sum.squares.isNaN ? .nan : sum.largest
    relativeL2 = sum.squares == 0 ? 0 : (sum.squares / sum.reference).squareRoot()
  }

  var description: String {
    "max \(CompactNumber.text(maximum)), relative l2 \(CompactNumber.text(relativeL2))"
      + (excused == 0 ? "" : ", \(excused) rows left out")
  }
}

/// How far some elements lie apart.
private struct RowGap {
  var (largest, squares, reference) = (0.0, 0.0, 0.0)

  init() {}

  init(_ found: some Sequence<Float>, _ expected: some Sequence<Float>) {
    for (a, b) in zip(found, expected) {
      let gap = Double(a) - Double(b)
      squares += gap * gap
      reference += Double(b) * Double(b)
      // Not `max`, which may drop a NaN.
      if !(abs(gap) <= largest) { largest = abs(gap) }
    }
  }

  mutating func add(_ other: RowGap) {
    squares += other.squares
    reference += other.reference
    if !(other.largest <= largest) { largest = other.largest }
  }
}

/// The largest differences of a correct result.
///
/// In fp32, rounding to bf16 or tf32 anywhere gives more, and so does one key too many in a window.
/// In bf16, for averages of a thousand values and more: each rounding of output, weights, logits or
/// scaled queries gives a relative l2 of about 0.002, and all four together about 0.005; that of a
/// large logit moves an output by a hundredth of itself. One key in a thousand left out, a scale
/// that is 1% off, or 8-bit keys and values give more.
///
/// Where keys are selected from the data, two that are nearly alike may change places by roundings: one
/// row in a hundred may then differ from attnbench's. The rows that are held against the definition in
/// fp64 may keep either there.
struct OutputBounds: CustomStringConvertible {
  let maximum: Double
  let relativeL2: Double
  private let selectsKeys: Bool

  init(_ elements: Storage, selectsKeys: Bool = false) {
    (maximum, relativeL2) = elements.isFloat32 ? (5e-5, 2e-4) : (5e-3, 7e-3)
    self.selectsKeys = selectsKeys
  }

  /// How many rows of an output may lie beyond the bounds.
  func excusedRows(of count: Int) -> Int { selectsKeys ? count / 100 : 0 }

  /// False also where a figure is no number.
  func allow(_ difference: OutputDifference) -> Bool {
    difference.maximum <= maximum && difference.relativeL2 <= relativeL2
  }

  var description: String {
    "bounds \(CompactNumber.text(maximum)) and \(CompactNumber.text(relativeL2))"
  }
}
