import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The steps of a transaction, and how far each output has come, so that they can be undone.
struct OutputSteps {
  private enum Progress {
    /// Complete, beside its target.
    case staged
    /// The old file is getting a second name.
    case keeping
    /// At its target.
    case published(replaced: Bool)
  }

  private struct Output {
    let path: String
    let target: FilePath
    let temporary: FilePath
    /// The second name of what stood at the target.
    let old: FilePath
    let identity: OutputDestination.Identity
    var progress = Progress.staged
  }

  private let system: any FileSystem
  private var outputs: [Output] = []
  /// Temporary files that are not complete.
  private var unfinished: [FilePath] = []
  /// The directories that were made.
  private(set) var directories: [FilePath] = []
  /// The streams that have got something.
  private var sent: [String] = []

  init(on system: any FileSystem) { self.system = system }

  /// `mkdir -p`.
  mutating func createDirectories(_ path: String) throws(OutputError) {
    var partial = FilePath(path).root.map { FilePath(root: $0) } ?? FilePath("")
    for component in FilePath(path).components {
      partial.append(component)
      do throws(Errno) {
        try system.createDirectory(partial)
        directories.append(partial)
      } catch {
        // Of what exists only its being a directory matters; a read-only disk may say so first.
        guard let status = try? Stat(partial) else { throw OutputError(path, .system(error)) }
        guard status.type == .directory else { throw OutputError(path, .system(.notDirectory)) }
      }
    }
  }

  /// Writes a file beside its target, down to the disk.
  mutating func prepare(
    _ file: OutputFile, beside target: FilePath, replacing old: Stat?
  ) throws(OutputError) {
    let temporary = HiddenFile.name(beside: target, .partial)
    let descriptor: FileDescriptor
    do throws(Errno) {
      // Nobody else may read what replaces a file that nobody else could read.
      descriptor = try system.open(
        temporary, [.create, .exclusiveCreate, .closeOnExec],
        old == nil ? Self.usualPermissions : .ownerReadWrite)
    } catch {
      switch error {
      case .permissionDenied, .notPermitted, .readOnlyFileSystem:
        let directory = target.removingLastComponent()
        throw OutputError(file.path, .closedDirectory(directory.string, error))
      default: throw OutputError(file.path, .system(error))
      }
    }
    unfinished.append(temporary)
    let status = try OutputError.naming(file.path) { () throws(Errno) in
      return try closing(descriptor) { () throws(Errno) in
        if let old { try system.copyAttributes(of: old, to: descriptor) }
        try file.content(OutputSink(descriptor, on: system))
        try system.synchronize(descriptor)
        return try Stat(descriptor)
      }
    }
    unfinished.removeLast()
    outputs.append(
      Output(
        path: file.path, target: target, temporary: temporary,
        old: HiddenFile.name(beside: target, .old), identity: .node(status.deviceID, status.inode))
    )
  }

  /// Writes to a device or a pipe.
  mutating func send(_ file: OutputFile, to path: FilePath) throws(OutputError) {
    try OutputError.naming(file.path) { () throws(Errno) in
      let options: FileDescriptor.OpenOptions = [.closeOnExec, .init(rawValue: O_NOCTTY)]
      let descriptor = try system.open(path, options, [])
      try closing(descriptor) { () throws(Errno) in try send(file, into: descriptor) }
    }
  }

  /// Writes to a descriptor and leaves it open.
  mutating func send(_ file: OutputFile, to descriptor: FileDescriptor) throws(OutputError) {
    try OutputError.naming(file.path) { () throws(Errno) in try send(file, into: descriptor) }
  }

  private mutating func send(_ file: OutputFile, into descriptor: FileDescriptor) throws(Errno) {
    let sink = OutputSink(descriptor, on: system)
    defer { if sink.taken.bytes > 0 { sent.append(file.path) } }
    try file.content(sink)
    try system.synchronize(descriptor)
  }

  /// Puts every file in its place.
  mutating func publish() throws(OutputError) {
    var published: [OutputDestination.Identity: String] = [:]
    for index in outputs.indices {
      let output = outputs[index]
      let old = try OutputError.naming(output.path) { () throws(Errno) in
        try Stat.ifPresent(output.target)
      }
      // Where upper and lower case are one, two names may turn out to be one file only now.
      if let old, let other = published[.node(old.deviceID, old.inode)] {
        throw OutputError(output.path, .sameFile(as: other))
      }
      try OutputError.naming(output.path) { () throws(Errno) in try publish(index, over: old) }
      published[output.identity] = output.path
    }
    try synchronizeDirectories()
  }

  private mutating func publish(_ index: Int, over old: Stat?) throws(Errno) {
    let output = outputs[index]
    if let old {
      // Something else stands there than before the work began.
      guard old.type == .regular else { throw .fileExists }
      outputs[index].progress = .keeping
      try keep(output.target, as: output.old)
    }
    try system.move(output.temporary, to: output.target)
    outputs[index].progress = .published(replaced: old != nil)
  }

  /// Removes the second names of the old files.
  ///
  /// - Returns: a sentence for each that could not be removed.
  func finish() -> [String] {
    outputs.compactMap { output in
      guard case .published(replaced: true) = output.progress, !remove(output.old) else {
        return nil
      }
      return "\(output.path) is written; what stood there before is in \(output.old), "
        + "which could not be removed"
    }
  }

  /// Puts everything back.
  ///
  /// - Returns: a clause for each thing that is not as it was.
  mutating func undo() -> [String] {
    var changes = sent.map { "\($0) has been written to" }
    func drop(_ path: FilePath) {
      if !remove(path) { changes.append("\(path) could not be removed") }
    }
    unfinished.forEach(drop)
    for output in outputs.reversed() {
      switch output.progress {
      case .staged:
        drop(output.temporary)
      case .keeping:
        drop(output.temporary)
        drop(output.old)
      case .published(replaced: false):
        if !remove(output.target) {
          changes.append("\(output.path) is there and could not be removed")
        }
      case .published(replaced: true):
        if !twice({ () throws(Errno) in try system.move(output.old, to: output.target) }) {
          changes.append(
            "\(output.path) holds the new content, what stood there before is in \(output.old)")
        }
      }
    }
    // What has been put back is as durable as it was wherever the disk still answers.
    try? synchronizeDirectories()
    for directory in directories.reversed() {
      if !twice({ () throws(Errno) in try system.removeDirectory(directory) }) {
        changes.append("the directory \(directory) is there and could not be removed")
      }
    }
    return changes
  }

  /// Gives an old file a second name; where the file system has none, copies it.
  private func keep(_ target: FilePath, as old: FilePath) throws(Errno) {
    do throws(Errno) {
      try system.addName(old, to: target)
    } catch .notPermitted, .notSupported, .noFunction, .tooManyLinks, .improperLink {
      try copy(target, to: old)
    }
  }

  private func copy(_ target: FilePath, to old: FilePath) throws(Errno) {
    let source = try Errno.typed {
      try FileDescriptor.open(target, .readOnly, options: .closeOnExec)
    }
    defer { try? source.close() }
    let descriptor = try system.open(
      old, [.create, .exclusiveCreate, .closeOnExec], .ownerReadWrite)
    try closing(descriptor) { () throws(Errno) in
      try system.copyAttributes(of: try Stat(source), to: descriptor)
      let sink = OutputSink(descriptor, on: system)
      var chunk = [UInt8](repeating: 0, count: 1 << 18)
      while true {
        let count = try Errno.typed {
          try chunk.withUnsafeMutableBytes { try source.read(into: $0) }
        }
        guard count > 0 else { break }
        try sink.write(Array(chunk[..<count]))
      }
      try system.synchronize(descriptor)
    }
  }

  /// A power cut may otherwise take a name although the bytes behind it were synchronised.
  private func synchronizeDirectories() throws(OutputError) {
    var done: Set<FilePath> = []
    for output in outputs {
      let directory = output.target.removingLastComponent()
      guard done.insert(directory).inserted else { continue }
      do throws(Errno) {
        try system.synchronizeDirectory(directory)
      } catch {
        throw OutputError(output.path, .system(error))
      }
    }
  }

  /// Calls `body` and closes the file; a failure of `body` counts for more than one of closing.
  private func closing<Result>(
    _ descriptor: FileDescriptor, _ body: () throws(Errno) -> Result
  ) throws(Errno) -> Result {
    let result: Result
    do throws(Errno) {
      result = try body()
    } catch {
      try? system.close(descriptor)
      throw error
    }
    try system.close(descriptor)
    return result
  }

  private func remove(_ path: FilePath) -> Bool {
    twice { () throws(Errno) in
      do throws(Errno) { try system.remove(path) } catch .noSuchFileOrDirectory {}
    }
  }

  /// Cleaning up may be refused once and work then.
  private func twice(_ body: () throws(Errno) -> Void) -> Bool {
    for _ in 0..<2 {
      do throws(Errno) {
        try body()
        return true
      } catch {}
    }
    return false
  }

  private static let usualPermissions: FilePermissions = [
    .ownerReadWrite, .groupReadWrite, .otherReadWrite,
  ]
}
