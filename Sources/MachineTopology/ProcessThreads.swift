import Glibc
import SystemPackage

/// The threads of this process, one by one: their processor time and how long they had to wait for
/// a CPU.
///
/// The clock of the whole process, `CLOCK_PROCESS_CPUTIME_ID`, brings only the calling thread up to
/// date. A thread that is running on another CPU lags in it by up to a tick of the kernel (1 to 10
/// ms), so the processor time of a short piece of work misses most of what the others did. The
/// clock of a single thread is brought up to date whoever reads it.
public struct ProcessThreads: Sendable {
  private let identifiers: [pid_t]
  private let files: SystemFiles

  /// The threads that there are now. Take a new list after threads have come or gone; those that
  /// ended in between count nothing.
  public static func current(files: SystemFiles = .system) -> ProcessThreads {
    ProcessThreads(
      identifiers: files.names(in: "/proc/self/task").compactMap { pid_t($0) }.sorted(),
      files: files)
  }

  /// How many threads are in the list.
  public var count: Int { identifiers.count }

  /// Processor time of all of them so far, user and system; nil where the system has no clocks of
  /// single threads.
  public func processorTime() -> Duration? {
    var sum = Duration.zero
    for identifier in identifiers {
      var time = timespec()
      guard clock_gettime(Self.clock(of: identifier), &time) == 0 else { continue }
      sum += .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
    return sum > .zero ? sum : nil
  }

  /// How long they were ready to run and waited for a CPU, all together, from
  /// `/proc/self/task/*/schedstat`; nil where the kernel keeps no such account. A wait is entered
  /// when it ends.
  public func waitingTime() -> Duration? {
    var sum: Duration?
    for identifier in identifiers {
      let words = files.words(of: FilePath("/proc/self/task/\(identifier)/schedstat")) ?? []
      // Nanoseconds on a CPU, nanoseconds waiting for one, number of turns.
      guard words.count == 3, let waited = Int64(words[1]) else { continue }
      sum = (sum ?? .zero) + .nanoseconds(waited)
    }
    return sum
  }

  /// The identifier that Linux gives the processor time clock of a thread: the complement of its
  /// number, and below it the bits for one thread (4) and the scheduler's account (2). It is what
  /// `pthread_getcpuclockid` computes, which needs a handle where there is only a number.
  private static func clock(of identifier: pid_t) -> clockid_t { (~identifier << 3) | 6 }
}

/// How fast the CPUs run just now.
public enum ClockFrequency {
  /// The present frequencies of the given CPUs in Hz, those that are known: from
  /// `cpufreq/scaling_cur_freq`, or from `/proc/cpuinfo` where there is no cpufreq, as in virtual
  /// machines. Those often show a constant.
  public static func current(cpus: CPUSet, files: SystemFiles = .system) -> [Double] {
    let scaled = cpus.indices.compactMap { cpu in
      files.number(in: FilePath("/sys/devices/system/cpu/cpu\(cpu)/cpufreq/scaling_cur_freq"))
    }
    if !scaled.isEmpty { return scaled.map { Double($0) * 1e3 } }
    var frequencies: [Double] = []
    var isCounted = false
    for line in files.text(of: "/proc/cpuinfo")?.split(separator: "\n") ?? [] {
      let parts = line.split(separator: ":")
      guard parts.count == 2 else { continue }
      let value = parts[1].drop(while: \.isWhitespace)
      if parts[0].hasPrefix("processor") { isCounted = Int(value).map(cpus.contains) ?? false }
      if isCounted, parts[0].hasPrefix("cpu MHz"), let megahertz = Double(value) {
        frequencies.append(megahertz * 1e6)
      }
    }
    return frequencies
  }
}
