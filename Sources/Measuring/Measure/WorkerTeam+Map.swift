import MachineTopology
import Records
import Statistics
import Synchronization
import Units

extension WorkerTeam {
  /// The results of `body` for 0..<count, computed by all workers, in the order of the indices.
  ///
  /// - Parameter body: called from all workers at once: it reads, and writes nothing shared.
  /// - Throws: the error of the first index that has one.
  func map<Value: Sendable, Failure: Error>(
    _ count: Int, _ body: @escaping (Int) throws(Failure) -> Value
  ) throws(Failure) -> [Value] {
    let job = MapJob(count, body)
    run(job)
    var values: [Value] = []
    values.reserveCapacity(count)
    for result in job.results.withLock({ $0 }) {
      if let result { values.append(try result.get()) }
    }
    return values
  }
}

/// One index a task.
private final class MapJob<Value: Sendable, Failure: Error>: TeamJob, @unchecked Sendable {
  let results: Mutex<[Result<Value, Failure>?]>
  private let body: (Int) throws(Failure) -> Value
  private let queue: TaskQueue

  init(_ count: Int, _ body: @escaping (Int) throws(Failure) -> Value) {
    self.body = body
    queue = TaskQueue(count: count)
    results = Mutex(Array(repeating: nil, count: count))
  }

  func work(worker: Int) {
    while let index = queue.next() {
      let result = Result { () throws(Failure) in try body(index) }
      results.withLock { $0[index] = result }
    }
  }
}
