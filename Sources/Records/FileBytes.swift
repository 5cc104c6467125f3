import Attention
import Foundation
import Statistics
import SystemPackage
import TensorFiles
import Units

/// Whole files in and out.
package enum FileBytes {
  /// All bytes of the file.
  package static func read(_ path: String) throws(RecordError) -> [UInt8] {
    var bytes: [UInt8] = []
    try readChunks(of: path) { bytes += $0 }
    return bytes
  }

  /// Calls `body` with the bytes of the file, 64 KiB at a time.
  static func readChunks(
    of path: String, _ body: (UnsafeRawBufferPointer) -> Void
  ) throws(RecordError) {
    do {
      try Errno.typed {
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
  package static func replace(_ path: String, with bytes: [UInt8]) throws(RecordError) {
    do throws(OutputError) {
      try OutputTransaction([OutputFile(path, bytes)]).commit()
    } catch {
      throw .output(error)
    }
  }
}
