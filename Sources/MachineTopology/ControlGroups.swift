import SystemPackage

/// The control groups (cgroups) that this process is in.
///
/// A controller, such as `memory`, lives either in a hierarchy of its own (cgroup v1) or in the
/// unified one (v2); machines in transition have both.
struct ControlGroups: Sendable {
  enum Version: Sendable {
    case v1, v2
  }

  private let files: SystemFiles

  init(files: SystemFiles) {
    self.files = files
  }

  /// The directories of the groups that limit this process, its own first, then each ancestor up to
  /// the root of the mount. An ancestor's limit holds for all its descendants together.
  ///
  /// - Returns: nil if the controller is not mounted.
  func directories(of controller: String) -> (version: Version, paths: [FilePath])? {
    let memberships = (files.text(of: "/proc/self/cgroup") ?? "")
      .split(separator: "\n").compactMap(Membership.init)
    let mounts = (files.text(of: "/proc/self/mountinfo") ?? "")
      .split(separator: "\n").compactMap(Mount.init)

    if let membership = memberships.first(where: { $0.controllers.contains(controller) }),
      let mount = mounts.first(where: { $0.version == .v1 && $0.options.contains(controller) })
    {
      return (.v1, ancestry(of: membership, below: mount))
    }
    if let membership = memberships.first(where: \.isUnified),
      let mount = mounts.first(where: { $0.version == .v2 })
    {
      return (.v2, ancestry(of: membership, below: mount))
    }
    return nil
  }

  private func ancestry(of membership: Membership, below mount: Mount) -> [FilePath] {
    // A container often sees its own group mounted as the root, while /proc still tells the path
    // as the host sees it: cut what the mount has cut already.
    var group = membership.path
    if !group.removePrefix(mount.root) { group = membership.path }
    var directory = mount.point.appending(group.components)
    // A path that is not there, or leads out of the mount, belongs to another namespace.
    if group.components.contains(where: { $0.kind == .parentDirectory })
      || !files.exists(directory)
    {
      directory = mount.point
    }
    var paths = [directory]
    while directory != mount.point, directory.removeLastComponent() { paths.append(directory) }
    return paths
  }
}

/// One line of `/proc/self/cgroup`: `4:memory:/user.slice` or, unified, `0::/user.slice`.
private struct Membership {
  let controllers: [String]
  let path: FilePath
  let isUnified: Bool

  init?(_ line: Substring) {
    let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
    guard fields.count == 3 else { return nil }
    controllers = fields[1].split(separator: ",").map(String.init)
    path = FilePath(String(fields[2]))
    isUnified = fields[0] == "0" && fields[1].isEmpty
  }
}

/// One cgroup line of `/proc/self/mountinfo`:
/// `35 31 0:32 /group /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`.
private struct Mount {
  let version: ControlGroups.Version
  /// The group that is seen as the root of the mount.
  let root: FilePath
  let point: FilePath
  let options: [String]

  init?(_ line: Substring) {
    let fields = line.split(separator: " ")
    // The number of optional fields before the lone dash varies.
    guard fields.count > 5, let dash = fields.dropFirst(6).firstIndex(of: "-"),
      fields.count > dash + 3
    else { return nil }
    switch fields[dash + 1] {
    case "cgroup": version = .v1
    case "cgroup2": version = .v2
    default: return nil
    }
    root = FilePath(String(fields[3]))
    point = FilePath(String(fields[4]))
    options = fields[dash + 3].split(separator: ",").map(String.init)
  }
}
