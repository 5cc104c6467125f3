import Attention
import Records
import Statistics
import Units

/// What an attention problem is beyond its sizes, gathered before the sizes are known.
public struct ProblemSettings: Sendable {
  /// How scores become weights.
  public var scoring = Scoring()
  /// Which keys a query sees.
  public var visibility = Visibility()
  /// How the tensors are stored.
  public var storage = Storage()

  /// The default of every setting.
  public init() {}

  /// The problem of these settings on a shape.
  ///
  /// - Throws: `AttentionError` naming the setting that does not fit.
  public func problem(on shape: AttentionShape) throws(AttentionError) -> AttentionProblem {
    try AttentionProblem(shape, scoring: scoring, visibility: visibility, storage: storage)
  }
}
