import Synchronization

/// Deals the numbers 0..<count to whoever asks first: dynamic scheduling inside a ``TeamJob``.
///
/// Sort tasks by descending cost before the run, so that the last ones dealt are the smallest and
/// the workers finish together.
public final class TaskQueue: Sendable {
  private struct Counters: ~Copyable, Sendable {
    let next = Atomic<Int>(0)
    let end = Atomic<Int>(0)
  }

  private let counters: CacheLine<Counters>

  /// A queue of `count` tasks.
  ///
  /// - Precondition: `count >= 0`.
  public init(count: Int = 0) {
    counters = CacheLine(Counters())
    reset(count: count)
  }

  /// Starts again with `count` tasks. Call it before the run, never while workers ask.
  ///
  /// - Precondition: `count >= 0`.
  public func reset(count: Int) {
    precondition(count >= 0, "TaskQueue: a count of \(count) tasks; it cannot be negative")
    reset(0..<count)
  }

  /// Starts again with the tasks of a range, as `reset(count:)` does.
  func reset(_ tasks: Range<Int>) {
    // Relaxed: the start of a team's run orders these before every worker's first `next()`.
    counters.pointer.pointee.end.store(tasks.upperBound, ordering: .relaxed)
    counters.pointer.pointee.next.store(tasks.lowerBound, ordering: .relaxed)
  }

  /// The next task; nil when all have been dealt. Each is dealt exactly once.
  public func next() -> Int? {
    let end = counters.pointer.pointee.end.load(ordering: .relaxed)
    let task = counters.pointer.pointee.next.wrappingAdd(1, ordering: .relaxed).oldValue
    return task < end ? task : nil
  }
}
