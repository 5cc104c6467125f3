import CHwloc
import Synchronization

/// Where one worker shall run. The worker itself applies it, on its own thread.
struct WorkerPlacement: Sendable {
  let worker: Int
  /// Nil leaves the worker unbound.
  let place: CPUSet?
  let hwloc: HwlocTopology
  let bestEffort: Bool

  /// Binds the calling thread and reads the binding back.
  ///
  /// - Returns: what was read back; nil if unbound, or unreadable with best effort.
  func apply() throws(TopologyError) -> CPUSet? {
    guard let place else { return nil }
    if bestEffort {
      try? hwloc.bindCurrentThread(to: place)
      return try? hwloc.currentThreadBinding()
    }
    try hwloc.bindCurrentThread(to: place)
    let actual = try hwloc.currentThreadBinding()
    guard actual == place else {
      throw .bindingNotHonoured(worker: worker, asked: place, actual: actual)
    }
    return actual
  }
}

/// Collects, while a team starts, what came of each worker's placement.
final class RollCall: Sendable {
  private let answers: Mutex<[Result<CPUSet?, TopologyError>]>

  init(threadCount: Int) {
    answers = Mutex(Array(repeating: .success(nil), count: threadCount))
  }

  /// Applies a placement to the calling thread and notes the outcome.
  func answer(_ placement: WorkerPlacement) {
    let answer = Result { () throws(TopologyError) in try placement.apply() }
    answers.withLock { $0[placement.worker] = answer }
  }

  /// The binding of each worker. Throws the error of the lowest worker that has one.
  func bindings() throws(TopologyError) -> [CPUSet?] {
    var bindings: [CPUSet?] = []
    for answer in answers.withLock({ $0 }) { bindings.append(try answer.get()) }
    return bindings
  }
}

/// A thread's binding from before a team bound it.
struct SavedBinding: Sendable {
  private let hwloc: HwlocTopology
  private let thread: pid_t
  private let binding: CPUSet

  /// Notes the calling thread's binding.
  init(hwloc: HwlocTopology) throws(TopologyError) {
    self.hwloc = hwloc
    thread = attn_gettid()
    binding = try hwloc.currentThreadBinding()
  }

  /// Binds the thread as it was, from whichever thread this is called.
  ///
  /// It fails only where the cpuset has been changed meanwhile from outside. The thread is then
  /// left where it is: a team that goes away has nobody to tell.
  func restore() {
    try? hwloc.bindThread(thread, to: binding)
  }
}
