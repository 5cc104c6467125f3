import Synchronization

/// The meeting point of a team: the leader (worker 0) hands a job to the helpers and waits until
/// all of them are done. Nothing here allocates after `init`.
///
/// **Protocol.** One leader at a time (``WorkerTeam`` sees to that), `helperCount` helpers.
///
///     leader  publish    P1  job = j; remaining = helperCount
///                        P2  generation += 1
///                        P3  if sleepers != 0 { wake all on generation }
///     helper  next       N1  spin until generation != seen; if the time is up:
///                        N2  sleepers += 1
///                        N3  while generation == seen { sleep on generation while seen }
///                        N4  sleepers -= 1
///             then           seen += 1; read job; work
///     helper  finish     F1  remaining -= 1
///                        F2  if that made it 0 and leaderSleeps { wake all on remaining }
///     leader  wait       W1  spin until remaining == 0; if the time is up:
///                        W2  leaderSleeps = 1
///                        W3  while (r = remaining) != 0 { sleep on remaining while r }
///                        W4  leaderSleeps = 0
///
/// **The job is seen whole.** P1 comes before the release in P2, which the helper acquires in N1
/// or N3. The helpers' results come before the release in F1, and the decrements of one word form
/// one release sequence, so the leader's acquire of 0 in W1 or W3 sees the results of all helpers.
///
/// **A helper is at most one generation behind.** The leader publishes generation g + 1 only after
/// `remaining` fell to 0, that is after every helper took g and passed F1. So `!=` suffices to
/// compare, the 32-bit counter may wrap, and no helper can miss or repeat a job.
///
/// **No wake-up is lost.** P2, P3's load, N2, N3's load are sequentially consistent, hence in one
/// total order. If P3 reads `sleepers` before N2 raised it, then P2 stands before N3's load, which
/// sees the new generation, and the helper does not sleep. Otherwise P3 wakes; a helper which is
/// asleep by then is woken, and one which is still on its way to sleep compares the word with
/// `seen` under the kernel's lock for that word, finds it changed by P2, and returns. The same
/// holds for F1, F2, W2, W3 with the roles exchanged: the decrement to 0 is the only change the
/// leader waits for, and the helper that makes it looks at `leaderSleeps` afterwards. A helper may
/// be late in F2 and wake a leader that waits for a later job: W3 then simply sleeps again.
///
/// **The end.** The leader publishes nil and joins the threads; only then is this object freed, so
/// a late F2 still finds it alive.
///
/// Unchecked, because `job` is a plain variable, ordered by `generation` as said above.
final class TeamRendezvous: @unchecked Sendable {
  /// Unretained: whoever publishes a job keeps it alive until all are done with it.
  private struct Publication: ~Copyable {
    unowned(unsafe) var job: (any TeamJob)?
  }

  private let helperCount: UInt32
  private let spinNanoseconds: UInt64

  private let generation = CacheLine(FutexWord(0))
  private let publication = CacheLine(Publication(job: nil))
  private let sleepers = CacheLine(FutexWord(0))
  private let remaining: CacheLine<FutexWord>
  private let leaderSleeps = CacheLine(FutexWord(0))

  /// The helpers count as busy until each has called ``finish()`` once: ``waitForHelpers()`` then
  /// waits for the team to be ready.
  ///
  /// - Parameter spinNanoseconds: how long a wait may spin before it sleeps; 0 where there are more
  ///   workers than PUs, because then spinning keeps the awaited worker from running.
  init(helperCount: Int, spinNanoseconds: UInt64) {
    self.helperCount = UInt32(helperCount)
    self.spinNanoseconds = spinNanoseconds
    remaining = CacheLine(FutexWord(UInt32(helperCount)))
  }

  // MARK: Leader

  /// Hands a job to all helpers; nil tells them to leave their threads.
  func publish(_ job: (any TeamJob)?) {
    publication.pointer.pointee.job = job
    remaining.pointer.pointee.store(helperCount, ordering: .relaxed)
    generation.pointer.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    if sleepers.pointer.pointee.load(ordering: .sequentiallyConsistent) != 0 {
      generation.pointer.wakeSleepers()
    }
  }

  /// Returns when every helper has finished.
  func waitForHelpers() {
    let word = remaining.pointer
    if spin(nanoseconds: spinNanoseconds, until: { word.pointee.load(ordering: .acquiring) == 0 }) {
      return
    }
    leaderSleeps.pointer.pointee.store(1, ordering: .sequentiallyConsistent)
    while case let left = word.pointee.load(ordering: .sequentiallyConsistent), left != 0 {
      word.sleep(while: left)
    }
    leaderSleeps.pointer.pointee.store(0, ordering: .relaxed)
  }

  // MARK: Helper

  /// Waits for the job after generation `seen`, does it, and moves `seen` on.
  ///
  /// - Returns: false when the team ends.
  func workOnNextJob(after seen: inout UInt32, worker: Int) -> Bool {
    waitForGeneration(after: seen)
    seen &+= 1
    guard let job = publication.pointer.pointee.job else { return false }
    job.work(worker: worker)
    return true
  }

  /// Says that this helper is done with the current job.
  func finish() {
    let left = remaining.pointer.pointee.wrappingSubtract(1, ordering: .sequentiallyConsistent)
      .newValue
    if left == 0, leaderSleeps.pointer.pointee.load(ordering: .sequentiallyConsistent) != 0 {
      remaining.pointer.wakeSleepers()
    }
  }

  private func waitForGeneration(after seen: UInt32) {
    let word = generation.pointer
    if spin(
      nanoseconds: spinNanoseconds, until: { word.pointee.load(ordering: .acquiring) != seen })
    {
      return
    }
    sleepers.pointer.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
    while word.pointee.load(ordering: .sequentiallyConsistent) == seen {
      word.sleep(while: seen)
    }
    sleepers.pointer.pointee.wrappingSubtract(1, ordering: .relaxed)
  }
}
