import CHwloc
import Glibc
import Synchronization

/// Work that all members of a ``WorkerTeam`` do together.
public protocol TeamJob: AnyObject, Sendable {
  /// The share of one worker. Called once for every worker in 0..<threadCount, at the same time.
  ///
  /// It must not call ``WorkerTeam/run(_:)`` on the team that is running it.
  func work(worker: Int)
}

/// A fixed set of threads, each bound to its place, that runs one ``TeamJob`` after another.
///
/// Workers 1..<T are threads of the team's own. Worker 0 is whoever calls ``run(_:)``. As in
/// OpenMP, the thread that creates the team is bound like the others, to the place of worker 0,
/// and gets its former binding back when the team goes away; threads that it starts in between
/// inherit its binding. Release the teams that one thread created last-created first. A thread
/// other than the creator may call `run` too: it acts as worker 0 wherever it happens to be.
///
/// Between jobs the helpers spin for some microseconds before they sleep, so that a run which
/// follows soon after another starts in about a microsecond.
public final class WorkerTeam: Sendable {
  /// More threads than this are taken for a mistake.
  public static let maximumThreadCount = 4096

  /// How long a worker spins before it sleeps. Sleeping and waking costs 5 to 50 microseconds
  /// (virtual machines are at the upper end), so spinning as long costs at most about as much
  /// again as the best choice made with foresight.
  private static let spinNanoseconds: UInt64 = 60_000

  /// The number of workers, the caller of ``run(_:)`` included.
  public let threadCount: Int

  /// What each worker read back after it had bound itself; nil where it was not bound, or, with
  /// best effort, where its binding could not be read.
  public let bindings: [CPUSet?]

  private let rendezvous: TeamRendezvous
  private let helpers: [PosixThread]
  private let saved: SavedBinding?
  private let turn = Mutex<Void>(())
  /// The thread that acts as worker 0 in the present run; 0 between runs.
  private let leader = Atomic<pthread_t>(0)

  /// Starts a team and returns when all its workers are bound and ready.
  ///
  /// - Parameters:
  ///   - threads: the number of workers. Without binding it may exceed the number of PUs.
  ///   - binding: where the workers may run.
  ///   - topology: the machine; nil stands for ``MachineTopology/host()``.
  ///   - bestEffort: go on where a worker cannot be bound, or reads something else back.
  ///     ``bindings`` then tells what came of it. Of a binding that the machine or the cpuset does not
  ///     have, nothing is taken; see ``MachineTopology/usableBinding(_:workers:bestEffort:)``.
  /// - Throws: what ``MachineTopology/cpuSets(for:workers:)`` throws;
  ///   ``TopologyError/bindingNotHonoured(worker:asked:actual:)``; and
  ///   ``TopologyError/system(call:_:)`` where a thread cannot be started or bound. Nothing is left
  ///   behind then: no thread, no changed binding.
  public init(
    threads: Int, binding: ThreadBinding = .none, topology: MachineTopology? = nil,
    bestEffort: Bool = false
  ) throws(TopologyError) {
    let topology = if let topology { topology } else { try MachineTopology.host() }
    let usable = try topology.usableBinding(binding, workers: threads, bestEffort: bestEffort)
    let places = try topology.cpuSets(for: usable.binding, workers: threads)
    // Unbound helpers inherit what their creator may use.
    let inherited = try topology.hwloc.currentThreadBinding()
    let reached = places.reduce(CPUSet()) { $0.union($1 ?? inherited) }
    let rendezvous = TeamRendezvous(
      helperCount: threads - 1,
      spinNanoseconds: threads > reached.count ? 0 : Self.spinNanoseconds)
    let rollCall = RollCall(threadCount: threads)
    var helpers: [PosixThread] = []
    var saved: SavedBinding?
    do {
      for worker in 1..<threads {
        let placement = WorkerPlacement(
          worker: worker, place: places[worker], hwloc: topology.hwloc, bestEffort: bestEffort)
        helpers.append(
          try PosixThread(name: "attn-worker-\(worker)") {
            _ = attn_flush_denormals()
            rollCall.answer(placement)
            rendezvous.finish()
            var seen: UInt32 = 0
            while rendezvous.workOnNextJob(after: &seen, worker: worker) { rendezvous.finish() }
          })
      }
      if places[0] != nil { saved = try SavedBinding(hwloc: topology.hwloc) }
      rollCall.answer(
        WorkerPlacement(
          worker: 0, place: places[0], hwloc: topology.hwloc, bestEffort: bestEffort))
      rendezvous.waitForHelpers()
      bindings = try rollCall.bindings()
    } catch {
      rendezvous.publish(nil)
      for helper in helpers { helper.join() }
      saved?.restore()
      throw error
    }
    threadCount = threads
    self.rendezvous = rendezvous
    self.helpers = helpers
    self.saved = saved
  }

  deinit {
    rendezvous.publish(nil)
    for helper in helpers { helper.join() }
    saved?.restore()
  }

  /// Calls `job.work(worker: w)` once for every w in 0..<``threadCount``, all at the same time, the
  /// caller being worker 0, and returns when all calls have returned.
  ///
  /// While the job runs, denormal numbers, fp32 below 2^-126 and fp64 below 2^-1022, count as zeros
  /// on all its threads: they would take a hundred times as long as others. The caller's
  /// floating-point unit is afterwards as it was.
  ///
  /// Everything the caller wrote before is visible to the workers, and everything they wrote is
  /// visible to the caller afterwards. Nothing is allocated. Callers on several threads take turns.
  ///
  /// - Precondition: not called from the `work` of a job that this team is running. Nesting would
  ///   need workers that are busy; split the job into two, run one after the other.
  public func run(_ job: some TeamJob) {
    if leader.load(ordering: .relaxed) == pthread_self() || helpers.contains(where: \.isCurrent) {
      // Not precondition, whose message a release build drops.
      fatalError(
        "WorkerTeam.run was called by a job of the same team; run the jobs one after the other")
    }
    turn.withLock { _ in
      // Only the thread that stores its own name here ever finds it, so relaxed is enough.
      leader.store(pthread_self(), ordering: .relaxed)
      defer { leader.store(0, ordering: .relaxed) }
      let control = attn_flush_denormals()
      defer { attn_restore_denormals(control) }
      guard !helpers.isEmpty else { return job.work(worker: 0) }
      rendezvous.publish(job)
      job.work(worker: 0)
      rendezvous.waitForHelpers()
    }
  }

  /// Has all workers do nothing: a run that begins at once finds them awake, and whoever times it does not
  /// time how they wake.
  public func wake() { run(NothingToDo()) }

  private final class NothingToDo: TeamJob {
    func work(worker: Int) {}
  }
}
