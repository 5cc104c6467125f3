import MachineTopology
import Testing

@Suite("Memory of the machine, its cgroups and the process")
struct MachineMemoryTests {
  private static let gibibyte = 1 << 30
  /// 24 GiB, of which 20 are available.
  private static let meminfo = [
    "/proc/meminfo": "MemTotal: 25165824 kB\nMemFree: 1 kB\nMemAvailable:   20971520 kB\n"
  ]

  private func memory(_ texts: [String: String]...) throws -> MachineMemory? {
    try withSystemFiles(texts.reduce(Self.meminfo) { $0.merging($1) { $1 } }) {
      MachineMemory.current(files: $0)
    }
  }

  @Test func `without cgroups the machine's figures count`() throws {
    let memory = try #require(try memory())
    #expect(memory.totalBytes == 24 * Self.gibibyte)
    #expect(memory.machineAvailableBytes == 20 * Self.gibibyte)
    #expect(memory.groupLimit == nil)
    #expect(memory.availableBytes == 20 * Self.gibibyte)
    #expect(memory.usableTotalBytes == 24 * Self.gibibyte)
  }

  @Test func `version 1 gives its limit, usage and what it could give back`() throws {
    let memory = try #require(
      try memory(
        ControlGroupFixture.v1,
        [
          "/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes": "4294967296\n",
          "/sys/fs/cgroup/memory/job/step/memory.usage_in_bytes": "3221225472\n",
          "/sys/fs/cgroup/memory/job/step/memory.stat":
            "inactive_file 1\ntotal_inactive_file 1073741824\n",
        ]))
    let limit = try #require(memory.groupLimit)
    #expect(limit.limitBytes == 4 * Self.gibibyte)
    #expect(limit.usageBytes == 3 * Self.gibibyte)
    #expect(limit.reclaimableBytes == Self.gibibyte)
    #expect(memory.availableBytes == 2 * Self.gibibyte)
    #expect(memory.usableTotalBytes == 4 * Self.gibibyte)
  }

  @Test func `version 1 says "no limit" with a huge number`() throws {
    let unlimited = "9223372036854771712\n"
    let memory = try memory(
      ControlGroupFixture.v1,
      [
        "/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes": unlimited,
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": unlimited,
      ])
    #expect(memory?.groupLimit == nil)
  }

  @Test func `version 1 in a container is found below the mount`() throws {
    let memory = try memory(
      ControlGroupFixture.v1Container,
      ["/sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824"])
    #expect(memory?.groupLimit?.limitBytes == Self.gibibyte)
    #expect(memory?.availableBytes == Self.gibibyte)
  }

  @Test func `version 2 gives its limit, usage and what it could give back`() throws {
    let memory = try #require(
      try memory(
        ControlGroupFixture.v2,
        [
          "/sys/fs/cgroup/user.slice/job/memory.max": "4294967296\n",
          "/sys/fs/cgroup/user.slice/job/memory.current": "3221225472\n",
          "/sys/fs/cgroup/user.slice/job/memory.stat": "anon 5\ninactive_file 1073741824\n",
        ]))
    #expect(memory.groupLimit?.limitBytes == 4 * Self.gibibyte)
    #expect(memory.availableBytes == 2 * Self.gibibyte)
  }

  @Test func `of nested limits the one that leaves least counts`() throws {
    let memory = try memory(
      ControlGroupFixture.v2,
      [
        "/sys/fs/cgroup/user.slice/job/memory.max": "max\n",
        "/sys/fs/cgroup/user.slice/job/memory.current": "0\n",
        // Larger than the other, but others have filled it.
        "/sys/fs/cgroup/user.slice/memory.max": "8589934592\n",
        "/sys/fs/cgroup/user.slice/memory.current": "8053063680\n",
        "/sys/fs/cgroup/memory.max": "2147483648\n",
        "/sys/fs/cgroup/memory.current": "0\n",
      ])
    #expect(memory?.groupLimit?.limitBytes == 8 * Self.gibibyte)
    #expect(memory?.availableBytes == Self.gibibyte / 2)
  }

  @Test(arguments: ["/../elsewhere", "/not/visible/here"])
  func `a path from another namespace falls back to the root of the mount`(path: String) throws {
    let memory = try memory(
      ControlGroupFixture.v2,
      [
        "/proc/self/cgroup": "0::\(path)\n", "/sys/fs/cgroup/memory.max": "1073741824\n",
      ])
    #expect(memory?.groupLimit?.limitBytes == Self.gibibyte)
  }

  @Test func `usage above the limit leaves nothing`() throws {
    let memory = try memory(
      ControlGroupFixture.v2,
      [
        "/sys/fs/cgroup/user.slice/job/memory.max": "1000\n",
        "/sys/fs/cgroup/user.slice/job/memory.current": "5000\n",
      ])
    #expect(memory?.availableBytes == 0)
  }

  @Test func `the machine counts where it has less than the cgroup allows`() throws {
    let memory = try memory(
      ControlGroupFixture.v2, ["/sys/fs/cgroup/user.slice/job/memory.max": "64424509440\n"])
    #expect(memory?.availableBytes == 20 * Self.gibibyte)
    #expect(memory?.usableTotalBytes == 24 * Self.gibibyte)
  }

  @Test(arguments: ["", "MemTotal: 5 kB\n", "MemTotal: x kB\nMemAvailable: 5 kB\n"])
  func `an unreadable account is nil, not a guess`(meminfo: String) throws {
    #expect(try memory(["/proc/meminfo": meminfo]) == nil)
    #expect(try withSystemFiles([:]) { MachineMemory.current(files: $0) } == nil)
  }

  @Test func `the process's figures are read, and the peak is reset`() throws {
    try withSystemFiles([
      "/proc/self/status": "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n",
      "/proc/self/clear_refs": "",
    ]) { files in
      let memory = try #require(ProcessMemory.current(files: files))
      #expect(memory.residentBytes == 1 << 20)
      #expect(memory.peakResidentBytes == 2 << 20)
      #expect(ProcessMemory.resetPeak(files: files))
    }
    try withSystemFiles([:]) { files in
      #expect(ProcessMemory.current(files: files) == nil)
      #expect(!ProcessMemory.resetPeak(files: files))
    }
  }

  @Test func `this machine's figures are plausible`() throws {
    let memory = try #require(MachineMemory.current())
    #expect(0 < memory.availableBytes && memory.availableBytes <= memory.totalBytes)
    let process = try #require(ProcessMemory.current())
    #expect(process.residentBytes > 1 << 20)
    #expect(process.residentBytes < memory.totalBytes)
  }
}
