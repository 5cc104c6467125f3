import MachineTopology
import Testing

@Suite("Load, steal, quota and governor")
struct MachineLoadTests {
  private static func load(
    stat: String, loadavg: String = "0.10 0.16 0.07 2/86 4132\n", cpus: CPUSet? = nil
  ) throws -> MachineLoad {
    try withSystemFiles(["/proc/stat": stat, "/proc/loadavg": loadavg]) {
      MachineLoad.current(cpus: cpus, files: $0)
    }
  }

  private static let before = """
    cpu  300 10 100 500 20 5 5 60 7 7
    cpu0 200 10 100 100 20 5 5 10 7 7
    cpu1 100 0 0 400 0 0 0 50 0 0
    intr 1 2 3
    """
  private static let after = """
    cpu  350 10 100 500 20 5 5 110 7 7
    cpu0 250 10 100 100 20 5 5 10 7 7
    cpu1 100 0 0 400 0 0 0 100 0 0
    intr 1 2 3
    """

  @Test(
    arguments: [
      (nil, 1000, 60, 0.5), (CPUSet([0]), 450, 10, 0), (CPUSet([1]), 550, 50, 1),
      (CPUSet([0, 1]), 1000, 60, 0.5),
    ] as [(CPUSet?, Int, Int, Double)])
  func `steal is a share of the time of the CPUs in use`(
    cpus: CPUSet?, total: Int, steal: Int, share: Double
  ) throws {
    let before = try Self.load(stat: Self.before, cpus: cpus)
    let after = try Self.load(stat: Self.after, cpus: cpus)
    #expect(before.cpuTicks?.total == total)
    #expect(before.cpuTicks?.steal == steal)
    #expect((after - before).stealFraction == share)
  }

  @Test func `no time between snapshots gives no share`() throws {
    let load = try Self.load(stat: Self.before)
    #expect((load - load).stealFraction == nil)
  }

  @Test(arguments: ["", "cpu 1 2 3\n", "cpufreq x\n", "intr 1 2 3 4 5 6 7 8 9\n"])
  func `an account without steal time is nil`(stat: String) throws {
    #expect(try Self.load(stat: stat).cpuTicks == nil)
  }

  @Test func `CPUs that are not there have no account`() throws {
    #expect(try Self.load(stat: Self.before, cpus: CPUSet([7])).cpuTicks == nil)
  }

  @Test func `load averages are read`() throws {
    let averages = try #require(try Self.load(stat: "").averages)
    #expect(averages.oneMinute == 0.10)
    #expect(averages.fiveMinutes == 0.16)
    #expect(averages.fifteenMinutes == 0.07)
    #expect(try Self.load(stat: "", loadavg: "0.1 x").averages == nil)
  }

  @Test func `work shows in the process's CPU time`() {
    let before = MachineLoad.current()
    var state: UInt64 = 1
    var change = before - before
    #expect(change.process.cpuTime == .zero)
    repeat {
      for _ in 0..<10_000 { state = state &* 6_364_136_223_846_793_005 &+ 1 }
      change = MachineLoad.current() - before
    } while change.process.cpuTime < .milliseconds(2) && state != 0
    #expect(change.process.voluntarySwitches >= 0)
    #expect(change.process.involuntarySwitches >= 0)
  }

  @Test func `version 1 quotas are read, the smallest counts`() throws {
    let texts = ControlGroupFixture.v1.merging([
      "/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1\n",
      "/sys/fs/cgroup/cpu,cpuacct/job/step/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "150000\n",
      "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "80000\n",
      "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "50000\n",
    ]) { $1 }
    let quota = try #require(try withSystemFiles(texts) { CPUQuota.current(files: $0) })
    #expect(quota.quotaMicroseconds == 150_000)
    #expect(quota.periodMicroseconds == 100_000)
    #expect(quota.cpuCount == 1.5)
  }

  @Test(
    arguments: [
      ("50000 100000\n", 0.5), ("400000 100000\n", 4), ("max 100000\n", nil), ("\n", nil),
      ("100000 0\n", nil), ("100000\n", nil),
    ] as [(String, Double?)])
  func `version 2 quotas are read`(text: String, cpus: Double?) throws {
    let texts = ControlGroupFixture.v2.merging([
      "/sys/fs/cgroup/user.slice/job/cpu.max": text
    ]) { $1 }
    #expect(try withSystemFiles(texts) { CPUQuota.current(files: $0) }?.cpuCount == cpus)
  }

  @Test func `without cgroups there is no quota`() throws {
    #expect(try withSystemFiles([:]) { CPUQuota.current(files: $0) } == nil)
  }

  @Test func `the governors in use are listed once`() throws {
    func path(_ cpu: Int) -> String {
      "/sys/devices/system/cpu/cpu\(cpu)/cpufreq/scaling_governor"
    }
    try withSystemFiles([
      path(0): "powersave\n", path(1): "performance\n", path(2): "performance\n",
    ]) { files in
      #expect(FrequencyGovernor.current(cpus: CPUSet([1, 2]), files: files) == ["performance"])
      #expect(
        FrequencyGovernor.current(cpus: CPUSet(0..<3), files: files)
          == ["performance", "powersave"])
      #expect(FrequencyGovernor.current(cpus: CPUSet([5]), files: files).isEmpty)
    }
  }
}
