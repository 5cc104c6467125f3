import CHwloc
import Synchronization

/// A 32-bit word on which threads wait for a change: first spinning, because a hand-over between
/// running threads takes well under a microsecond, then asleep in the kernel (futex), because a
/// thread that spins on takes the core from others.
typealias FutexWord = Atomic<UInt32>

extension UnsafeMutablePointer<FutexWord> {
  /// Sleeps while the word is `value`. May return early: look again in a loop.
  func sleep(while value: UInt32) {
    _ = attn_futex_wait(self, value)
  }

  /// Wakes all threads that sleep on the word. It enters the kernel even if there are none.
  func wakeSleepers() {
    attn_futex_wake_all(self)
  }
}

/// Spins until `condition` holds or `nanoseconds` have passed.
///
/// - Returns: whether the condition held.
@inline(__always)
func spin(nanoseconds: UInt64, until condition: () -> Bool) -> Bool {
  if condition() { return true }
  guard nanoseconds > 0 else { return false }
  // Pauses last from 4 to 140 cycles, depending on the processor, so the clock is what bounds the
  // wait; it is read once in a batch because it costs as much as a few pauses.
  let deadline = monotonicNanoseconds() &+ nanoseconds
  repeat {
    for _ in 0..<32 {
      attn_cpu_relax()
      if condition() { return true }
    }
  } while monotonicNanoseconds() < deadline
  return false
}

private func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
}
