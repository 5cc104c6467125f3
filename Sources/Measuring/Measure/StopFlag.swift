import Records
import Statistics
import Synchronization
import Units

/// Asks a sweep to end after the run that is under way; may be raised from any thread.
public final class StopFlag: Sendable {
  private let raised = Atomic<Bool>(false)

  /// Not raised.
  public init() {}

  /// Whether the sweep shall end.
  public var isRaised: Bool { raised.load(ordering: .relaxed) }

  /// Asks the sweep to end.
  ///
  /// - Returns: whether it had been asked before.
  @discardableResult
  public func raise() -> Bool { raised.exchange(true, ordering: .relaxed) }
}
