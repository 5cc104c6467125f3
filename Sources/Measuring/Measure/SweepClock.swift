import Foundation
import Records
import Statistics
import Units

/// What a sweep takes times with; tests bring their own and wait for nothing.
public protocol SweepClock: AnyObject {
  /// Nanoseconds since some fixed moment; never runs backwards.
  func now() -> UInt64
}

/// The system's monotonic clock.
public final class MonotonicClock: SweepClock {
  /// The clock of this machine.
  public init() {}

  /// `CLOCK_MONOTONIC`.
  public func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
