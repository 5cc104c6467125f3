import SystemPackage

/// The outputs of one command: all of them are written, or none.
///
/// Everything is first written beside its target and flushed to the disk. Then each file takes its
/// target's place by `rename(2)`, while the old one keeps a second name until all have done so.
/// Whatever fails before that is undone. A process killed in between leaves at each path the old file
/// or the new one, whole, and beside it hidden files: `.partial`, which nobody needs, and `.old`, what
/// stood there before.
///
/// Devices and pipes are written to when all files are complete, for nothing takes that back.
public struct OutputTransaction {
  private let files: [OutputFile]
  private let directory: String?
  private let system: any FileSystem

  /// - Parameter directory: is made, with its parents, where it does not exist.
  public init(_ files: [OutputFile], creating directory: String? = nil) {
    self.init(files, creating: directory, on: HostFileSystem())
  }

  package init(
    _ files: [OutputFile], creating directory: String? = nil, on system: any FileSystem
  ) {
    self.files = files
    self.directory = directory
    self.system = system
  }

  /// Writes all outputs.
  ///
  /// - Returns: what is to be known although all are written, one sentence each: an old file whose
  ///   second name could not be removed.
  /// - Throws: naming the output that cannot be written; what stood at each path is there again then, unless
  ///   the error says otherwise.
  @discardableResult
  public func commit() throws(OutputError) -> [String] {
    var steps = OutputSteps(on: system)
    do throws(OutputError) {
      if let directory { try steps.createDirectories(directory) }
      let outputs = zip(files, try OutputDestination.distinct(files.map(\.path)))
      for (file, destination) in outputs {
        guard case .file(let target, let old) = destination.place else { continue }
        try steps.prepare(file, beside: target, replacing: old)
      }
      for (file, destination) in outputs {
        switch destination.place {
        case .file: continue
        case .stream(let path): try steps.send(file, to: path)
        case .descriptor(let descriptor): try steps.send(file, to: descriptor)
        }
      }
      try steps.publish()
    } catch {
      var error = error
      error.changes = steps.undo()
      throw error
    }
    return steps.finish()
  }

  /// Finds out whether outputs can be written, before minutes are spent on what they will hold.
  ///
  /// - Parameter inputs: files that the command reads and that none of its outputs may replace. Left out
  ///   are those that an output may stand for, such as the past keys that present ones replace.
  /// - Throws: also where two outputs are one file.
  public static func check(
    _ paths: [String], reading inputs: [String] = []
  ) throws(OutputError) {
    try check(paths, reading: inputs, on: HostFileSystem())
  }

  package static func check(
    _ paths: [String], reading inputs: [String] = [], on system: any FileSystem
  ) throws(OutputError) {
    try OutputDestination.refuse(paths, reading: inputs)
    for destination in try OutputDestination.distinct(paths) {
      guard case .file(let target, _) = destination.place else { continue }
      try probe(target, for: destination.path, on: system)
    }
  }

  /// Refuses outputs that would replace what the same command reads; looks no further.
  package static func refuse(
    _ paths: [String], reading inputs: [String]
  ) throws(OutputError) {
    try OutputDestination.refuse(paths, reading: inputs)
  }

  /// Finds out whether files can be written into `directory`, which need not exist yet.
  ///
  /// - Parameters:
  ///   - names: of the files.
  ///   - inputs: as of `check(_:reading:on:)`.
  package static func check(
    directory: String, files names: [String] = [], reading inputs: [String] = [],
    on system: any FileSystem = HostFileSystem()
  ) throws(OutputError) {
    try OutputDestination.refuse(names.map { "\(directory)/\($0)" }, reading: inputs)
    var existing = FilePath(directory)
    do throws(Errno) {
      while !existing.isEmpty, try Stat.ifPresent(existing) == nil {
        existing = existing.removingLastComponent()
      }
      guard try Stat(existing.isEmpty ? "." : existing).type == .directory else {
        throw .notDirectory
      }
    } catch {
      throw OutputError(directory, .system(error))
    }
    try probe(existing.appending("probe"), for: directory, on: system)
  }

  /// Makes a file beside `target` and removes it: nothing else finds every reason why not.
  private static func probe(
    _ target: FilePath, for path: String, on system: any FileSystem
  ) throws(OutputError) {
    var steps = OutputSteps(on: system)
    do throws(OutputError) {
      try steps.prepare(OutputFile(path, []), beside: target, replacing: nil)
    } catch {
      var error = error
      error.changes = steps.undo()
      throw error
    }
    _ = steps.undo()
  }

  /// Makes a directory and its parents.
  ///
  /// - Returns: those that were not there.
  package static func createDirectories(
    _ path: String, on system: any FileSystem = HostFileSystem()
  ) throws(OutputError) -> [FilePath] {
    var steps = OutputSteps(on: system)
    do throws(OutputError) {
      try steps.createDirectories(path)
    } catch {
      var error = error
      error.changes = steps.undo()
      throw error
    }
    return steps.directories
  }

  /// Removes what a killed process has left beside `path`. Only for whoever is alone there.
  package static func removeLeftovers(of path: String) {
    HiddenFile.removeAll(beside: FilePath(path))
  }
}
