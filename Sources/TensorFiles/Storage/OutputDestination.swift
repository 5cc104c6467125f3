import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where the path of an output leads: links are followed, for an output is written through them.
package struct OutputDestination {
  enum Place {
    /// A regular file, or a name where there is none yet. The directory is given without links.
    case file(FilePath, replacing: Stat?)
    /// A device or a pipe: it is written to, and never replaced.
    case stream(FilePath)
    /// A descriptor of this process, such as `/dev/stdout`. Where it leads to a file, that is
    /// written where the descriptor stands, behind what was there.
    case descriptor(FileDescriptor)
  }

  /// What is equal for two spellings of one output.
  enum Identity: Hashable {
    case node(DeviceID, Inode)
    /// Of what does not exist yet: its directory and its name.
    case name(DeviceID, Inode, FilePath.Component)
  }

  /// As the caller names it.
  let path: String
  let place: Place
  let identity: Identity

  /// As many links as Linux follows.
  private static let linkLimit = 40

  /// Follows `path` to its end.
  package init(_ path: String) throws(OutputError) {
    self.path = path
    // FilePath drops the slash, and with it that a directory is meant.
    let end = try OutputError.naming(path) { () throws(Errno) in
      path.hasSuffix("/") ? nil : try Self.follow(FilePath(path))
    }
    guard let end else { throw OutputError(path, .directory) }
    (place, identity) = end
  }

  /// The destinations of outputs that must not be one file.
  static func distinct(_ paths: [String]) throws(OutputError) -> [OutputDestination] {
    var taken: [Identity: String] = [:]
    return try paths.map { path throws(OutputError) in
      let destination = try OutputDestination(path)
      if let other = taken.updateValue(path, forKey: destination.identity) {
        throw OutputError(path, .sameFile(as: other))
      }
      return destination
    }
  }

  /// Refuses outputs that would replace what the same command reads, by whatever spelling or link.
  ///
  /// Whatever cannot be found out here is for those to say who read or write the file.
  static func refuse(_ paths: [String], reading inputs: [String]) throws(OutputError) {
    var read: [Identity: String] = [:]
    for input in inputs {
      guard let status = try? Stat(FilePath(input)), status.type == .regular else { continue }
      read[.node(status.deviceID, status.inode)] = input
    }
    for path in paths where !read.isEmpty {
      guard let destination = try? OutputDestination(path) else { continue }
      if let input = read[destination.identity] { throw OutputError(path, .input(input)) }
    }
  }

  /// Whether what is written there is the standard output of this process.
  package var isStandardOutput: Bool {
    if case .descriptor(.standardOutput) = place { true } else { false }
  }

  /// Whether what is written there can be read again by its path.
  package var isFile: Bool {
    if case .file = place { true } else { false }
  }

  /// Nil for a directory.
  private static func follow(_ path: FilePath) throws(Errno) -> (Place, Identity)? {
    guard !path.isEmpty else { throw .noSuchFileOrDirectory }
    var path = path
    for _ in 0...linkLimit {
      guard let name = path.lastComponent, name.kind == .regular else { return nil }
      let directory = try realPath(path.removingLastComponent())
      if directory == FilePath("/proc/\(getpid())/fd"), let number = CInt(name.string) {
        return try descriptor(FileDescriptor(rawValue: number))
      }
      let target = directory.appending(name)
      guard let status = try Stat.ifPresent(target) else {
        let parent = try Stat(directory)
        return (.file(target, replacing: nil), .name(parent.deviceID, parent.inode, name))
      }
      let identity = Identity.node(status.deviceID, status.inode)
      switch status.type {
      case .symbolicLink: path = directory.pushing(try contents(ofLink: target))
      case .directory: return nil
      case .regular:
        try allowWriting(target)
        return (.file(target, replacing: status), identity)
      default:
        try allowWriting(target)
        return (.stream(target), identity)
      }
    }
    throw .tooManySymbolicLinkLevels
  }

  private static func descriptor(_ file: FileDescriptor) throws(Errno) -> (Place, Identity) {
    let status = try Stat(file)
    let flags = fcntl(file.rawValue, F_GETFL)
    guard flags >= 0, flags & O_ACCMODE != O_RDONLY else { throw .badFileDescriptor }
    return (.descriptor(file), .node(status.deviceID, status.inode))
  }

  /// A file that its owner has made read-only is not to be replaced, although its directory allows
  /// it.
  private static func allowWriting(_ path: FilePath) throws(Errno) {
    guard path.withPlatformString({ access($0, W_OK) }) == 0 else { throw Errno(rawValue: errno) }
  }

  private static func realPath(_ directory: FilePath) throws(Errno) -> FilePath {
    let path = directory.isEmpty ? "." : directory
    guard let real = path.withPlatformString({ realpath($0, nil) }) else {
      throw Errno(rawValue: errno)
    }
    defer { free(real) }
    return FilePath(platformString: real)
  }

  private static func contents(ofLink path: FilePath) throws(Errno) -> FilePath {
    var text = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
    let count = path.withPlatformString { readlink($0, &text, text.count - 1) }
    guard count >= 0 else { throw Errno(rawValue: errno) }
    return FilePath(platformString: text)
  }
}

extension Stat {
  /// The status of what stands at `path` itself; nil where nothing does.
  static func ifPresent(_ path: FilePath) throws(Errno) -> Stat? {
    do throws(Errno) {
      return try Stat(path, followTargetSymlink: false)
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }
}
