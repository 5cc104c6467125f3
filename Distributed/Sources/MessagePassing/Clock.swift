import Glibc

/// Seconds of the clock that no one sets, the same for all processes of a machine.
public func monotonicSeconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Lets other threads run for a moment: ranks may be more than there are cores.
func nap(microseconds: Int) {
  if microseconds == 0 {
    sched_yield()
    return
  }
  var time = timespec(tv_sec: 0, tv_nsec: microseconds * 1000)
  nanosleep(&time, nil)
}
