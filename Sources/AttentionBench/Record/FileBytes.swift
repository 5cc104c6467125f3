import Foundation
import SystemPackage

/// Whole files in and out.
enum FileBytes {
  /// All bytes of the file.
  static func read(_ path: String) throws(RecordError) -> [UInt8] {
    var bytes: [UInt8] = []
    try readChunks(of: path) { bytes += $0 }
    return bytes
  }

  /// Calls `body` with the bytes of the file, 64 KiB at a time.
  static func readChunks(
    of path: String, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(RecordError) {
    do {
      try Errno.rethrowing {
        let descriptor = try FileDescriptor.open(
          FilePath(path), .readOnly, options: [.closeOnExec])
        try descriptor.closeAfter {
          var chunk = [UInt8](repeating: 0, count: 1 << 16)
          while true {
            let count = try chunk.withUnsafeMutableBytes { try descriptor.read(into: $0) }
            guard count > 0 else { return }
            chunk.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
          }
        }
      }
    } catch {
      throw .system(operation: "read", path: path, errno: error)
    }
  }

  /// Replaces the file as a whole: readers see the old bytes or the new ones, never half of them.
  static func replace(_ path: String, with bytes: [UInt8]) throws(RecordError) {
    let temporary = "\(path).\(getpid()).tmp"
    do throws(Errno) {
      // A leftover of the same process number from an earlier boot is nobody's any more.
      _ = unlink(temporary)
      var sink = try FileSink(path: temporary, mustBeNew: true)
      try sink.writeAll(bytes)
      try sink.synchronize()
      guard rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
      synchronizeDirectory(of: path)
    } catch {
      _ = unlink(temporary)
      throw .system(operation: "write", path: path, errno: error)
    }
  }
  /// Puts the names in a file's directory on stable storage: a power cut may otherwise take a new
  /// file's name although its bytes were synchronised.
  ///
  /// What fails here is let pass: some network file systems do not synchronise directories, and
  /// the file itself is whole.
  static func synchronizeDirectory(of path: String) {
    let parent = FilePath(path).removingLastComponent()
    let directory = parent.isEmpty ? "." : parent
    guard let descriptor = try? FileDescriptor.open(directory, .readOnly, options: [.closeOnExec])
    else { return }
    _ = fsync(descriptor.rawValue)
    try? descriptor.close()
  }

  /// Removes what `replace` leaves beside a file when it is killed half-way. Only for whoever is
  /// alone in the directory.
  static func removeTemporaries(of path: String) {
    let file = FilePath(path)
    let directory = file.removingLastComponent().string
    let prefix = (file.lastComponent?.string ?? "") + "."
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    for name in names where name.hasPrefix(prefix) && name.hasSuffix(".tmp") {
      unlink("\(directory)/\(name)")
    }
  }
}
