import Foundation
import MachineTopology
import SystemPackage

/// Calls `body` with a made-up `/proc` and `/sys`, which are removed afterwards.
func withSystemFiles<Result>(
  _ texts: [String: String], _ body: (SystemFiles) throws -> Result
) throws -> Result {
  let root = FileManager.default.temporaryDirectory
    .appendingPathComponent("machine-topology-\(UUID().uuidString)", isDirectory: true)
  defer { try? FileManager.default.removeItem(at: root) }
  for (path, text) in texts {
    let file = root.appendingPathComponent(path)
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
  }
  return try body(SystemFiles(root: FilePath(root.path)))
}

/// What machines with the one or the other kind of control groups show, less the limits.
enum ControlGroupFixture {
  /// cgroup v1 with `cpu` and `cpuacct` in one hierarchy, as systemd mounts them.
  static let v1 = [
    "/proc/self/cgroup": """
    9:name=systemd:/job/step
    4:memory:/job/step
    1:cpu,cpuacct:/job/step
    0::/
    """,
    "/proc/self/mountinfo": """
    23 1 0:21 / /proc rw,nosuid - proc proc rw
    34 31 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:12 - cgroup cgroup rw,cpu,cpuacct
    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:14 - cgroup cgroup rw,memory
    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
    """,
  ]

  /// cgroup v1 in a container: the mount shows the own group as its root.
  static let v1Container = [
    "/proc/self/cgroup": "4:memory:/docker/abc\n1:cpu:/docker/abc\n",
    "/proc/self/mountinfo": """
    35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
    34 31 0:31 /docker/abc /sys/fs/cgroup/cpu ro,relatime - cgroup cgroup rw,cpu
    """,
  ]

  static let v2 = [
    "/proc/self/cgroup": "0::/user.slice/job\n",
    "/proc/self/mountinfo":
      "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
  ]
}
