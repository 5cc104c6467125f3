import Attention
import CZlib
import Foundation
import Statistics
import SystemPackage
import Units

/// What a file holds, in a few digits: two files with the same fingerprint hold the same bytes, but
/// for a chance of 1 in 4 billion.
///
/// The size and zlib's CRC-32, which `gzip -lv` and `python3 -c 'import zlib'` compute as well. It
/// tells whether a file has changed by accident, which is all that a resume needs to know; nobody
/// forges his own tensors. A cryptographic hash would bring a library that takes longer to compile
/// than this package.
public struct FileFingerprint: Codable, Equatable, Sendable, CustomStringConvertible {
  /// The file's size.
  public var bytes: Int
  /// The CRC-32 of its bytes in 8 hexadecimal digits.
  public var crc32: String

  /// A fingerprint as given.
  public init(bytes: Int, crc32: String) {
    self.bytes = bytes
    self.crc32 = crc32
  }

  /// Reads a file.
  ///
  /// - Throws: `RecordError.system` when it cannot be read.
  public init(of path: String) throws(RecordError) {
    var (bytes, sum) = (0, CZlib.crc32(0, nil, 0))
    try FileBytes.readChunks(of: path) { chunk in
      bytes += chunk.count
      sum = CZlib.crc32(sum, chunk.bindMemory(to: UInt8.self).baseAddress, UInt32(chunk.count))
    }
    self.init(bytes: bytes, crc32: String(format: "%08x", UInt32(truncatingIfNeeded: sum)))
  }

  /// `65536 bytes, CRC-32 0a1b2c3d`.
  public var description: String { "\(bytes) bytes, CRC-32 \(crc32)" }
}
