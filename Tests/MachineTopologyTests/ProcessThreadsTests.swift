import Glibc
import MachineTopology
import Testing

@Suite("Threads of this process, and the clock")
struct ProcessThreadsTests {
  /// Keeps every worker busy for 3 ms of its own processor time.
  private final class Busy: TeamJob {
    func work(worker: Int) {
      var now = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
      let end = now.tv_sec * 1_000_000_000 + now.tv_nsec + 3_000_000
      while now.tv_sec * 1_000_000_000 + now.tv_nsec < end {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now)
      }
    }
  }

  @Test func `work of other threads is in the sum at once`() throws {
    let team = try WorkerTeam(threads: 2)
    let threads = ProcessThreads.current()
    #expect(threads.count >= 2)
    let before = try #require(threads.processorTime())
    team.run(Busy())
    let after = try #require(threads.processorTime())
    #expect(after - before >= .milliseconds(6))
    #expect(try #require(threads.processorTime()) >= after)
  }

  @Test func `waiting is summed over the threads that have an account`() throws {
    let waited = try withSystemFiles([
      "/proc/self/task/71/schedstat": "10 2000000 3\n",
      "/proc/self/task/72/schedstat": "10 500000 3\n",
      "/proc/self/task/73/schedstat": "gone\n", "/proc/self/task/note": "x",
    ]) { files in
      let threads = ProcessThreads.current(files: files)
      #expect(threads.count == 3)
      return threads.waitingTime()
    }
    #expect(waited == .microseconds(2500))
  }

  @Test func `without an account nothing is known of waiting`() throws {
    let waited = try withSystemFiles(["/proc/self/task/71/comm": "x\n"]) {
      ProcessThreads.current(files: $0).waitingTime()
    }
    #expect(waited == nil)
  }

  @Test func `frequencies are those of the CPUs in use`() throws {
    let cpuinfo = """
      processor\t: 0
      cpu MHz\t\t: 2596.124
      flags\t\t: fpu

      processor\t: 1
      cpu MHz\t\t: 3100.5
      """
    try withSystemFiles(["/proc/cpuinfo": cpuinfo]) { files in
      #expect(ClockFrequency.current(cpus: CPUSet([1]), files: files) == [3.1005e9])
      #expect(ClockFrequency.current(cpus: CPUSet([0, 1]), files: files).count == 2)
      #expect(ClockFrequency.current(cpus: CPUSet([5]), files: files).isEmpty)
    }
    let scaled = "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq"
    try withSystemFiles(["/proc/cpuinfo": cpuinfo, scaled: "2100000\n"]) { files in
      #expect(ClockFrequency.current(cpus: CPUSet([0, 1]), files: files) == [2.1e9])
    }
    try withSystemFiles([:]) { files in
      #expect(ClockFrequency.current(cpus: CPUSet([0]), files: files).isEmpty)
    }
  }

  @Test func `busy ticks are those that are neither idle nor stolen`() throws {
    let load = try withSystemFiles(["/proc/stat": "cpu0 200 10 100 100 20 5 5 10 7 7\n"]) {
      MachineLoad.current(cpus: CPUSet([0]), files: $0)
    }
    #expect(load.cpuTicks?.busy == 320)
  }
}
