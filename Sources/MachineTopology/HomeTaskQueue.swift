/// Deals the numbers 0..<count so that each worker gets its own share first, the same one in every run of as
/// many tasks, and then what others have left: for tasks that find in a worker's caches what they left there.
public final class HomeTaskQueue: Sendable {
  private let shares: [TaskQueue]

  /// An empty queue.
  ///
  /// - Precondition: `workers >= 1`.
  public init(workers: Int) {
    precondition(workers >= 1, "HomeTaskQueue: \(workers) workers; one at least is needed")
    shares = (0..<workers).map { _ in TaskQueue() }
  }

  /// Starts again with `count` tasks. Call it before the run, never while workers ask.
  ///
  /// - Precondition: `count >= 0`.
  public func reset(count: Int) {
    precondition(count >= 0, "HomeTaskQueue: a count of \(count) tasks; it cannot be negative")
    for (worker, share) in shares.enumerated() {
      share.reset(count * worker / shares.count..<count * (worker + 1) / shares.count)
    }
  }

  /// The next task for a worker; nil when all have been dealt. Each is dealt exactly once.
  ///
  /// - Precondition: `worker` is less than the number of workers.
  public func next(for worker: Int) -> Int? {
    for distance in shares.indices {
      if let task = shares[(worker + distance) % shares.count].next() { return task }
    }
    return nil
  }
}
