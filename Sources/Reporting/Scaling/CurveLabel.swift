import Choosing
import Measuring
import Records
import Statistics
import Units

/// Which curve of a sweep: what was run, and in which setting.
public struct CurveLabel: Hashable, Sendable {
  /// The strategy: with its parameters where they are the same at every size, `window(512)`, and
  /// without where they follow from n, `strided`.
  public let strategy: String
  /// Its class: exact, restricted or different.
  public let classification: String
  /// The rest of the problem and where it ran.
  public let setting: CurveSetting
  /// What tells this setting from the others of the sweep, `2 threads`; empty when there is one.
  public let variation: String

  /// The name of the curve among those of its sweep: `window(512), 2 threads`.
  public var text: String { [strategy, variation].filter { !$0.isEmpty }.joined(separator: ", ") }
}

/// What two curves must share to be compared: everything but the strategy and the lengths.
public struct CurveSetting: Hashable, Sendable {
  /// The problem, with lengths of 0: they vary along the curve.
  public let shape: ResultRow.Shape
  /// Threads and binding.
  public let placement: ResultRow.Placement

  init(_ row: ResultRow) {
    var shape = row.shape
    (shape.queryLength, shape.keyLength) = (0, 0)
    self.shape = shape
    placement = row.placement
  }
}
