import Foundation
import SystemPackage

/// Whole files in and out.
enum FileBytes {
  /// All bytes of the file.
  static func read(_ path: String) throws(RecordError) -> [UInt8] {
    do {
      return try Errno.rethrowing {
        let descriptor = try FileDescriptor.open(
          FilePath(path), .readOnly, options: [.closeOnExec])
        return try descriptor.closeAfter {
          var bytes: [UInt8] = []
          var chunk = [UInt8](repeating: 0, count: 1 << 16)
          while true {
            let count = try chunk.withUnsafeMutableBytes { try descriptor.read(into: $0) }
            guard count > 0 else { return bytes }
            bytes += chunk[..<count]
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
    } catch {
      _ = unlink(temporary)
      throw .system(operation: "write", path: path, errno: error)
    }
  }
}
