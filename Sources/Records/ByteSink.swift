import Attention
import Foundation
import Statistics
import SystemPackage
import TensorFiles
import Units

/// Where an appender's bytes go. A file in a run; something that fails on purpose in a test.
public protocol ByteSink: ~Copyable {
  /// Writes from the start of `bytes` and returns how many it took.
  mutating func write(_ bytes: RawSpan) throws(Errno) -> Int
  /// Returns when everything written is on stable storage.
  mutating func synchronize() throws(Errno)
  /// Cuts what was written back to `length` bytes.
  mutating func truncate(to length: Int) throws(Errno)
}

extension ByteSink where Self: ~Copyable {
  /// Writes everything. `write(2)` takes it in one go unless the disk is about to be full, and
  /// asking for the rest is then what tells why.
  mutating func writeAll(_ text: [UInt8]) throws(Errno) {
    var written = 0
    while written < text.count {
      let count = try write(text.span.bytes.extracting(droppingFirst: written))
      guard count > 0 else { throw .ioError }
      written += count
    }
  }
}

/// A file that is only ever appended to; closes it at the end of its life.
public struct FileSink: ~Copyable, ByteSink {
  private let descriptor: FileDescriptor

  /// Opens `path` for appending and creates it if need be.
  ///
  /// - Parameter mustBeNew: refuses a file that exists already, in the same system call, so that
  ///   two runs cannot both believe that they have created it.
  public init(path: String, mustBeNew: Bool) throws(Errno) {
    var options: FileDescriptor.OpenOptions = [.append, .create, .closeOnExec]
    if mustBeNew { options.insert(.exclusiveCreate) }
    descriptor = try Errno.typed {
      try FileDescriptor.open(
        FilePath(path), .writeOnly, options: options,
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
    }
  }

  deinit {
    // Nothing is buffered here and every row is synchronised, so there is nothing left to lose.
    try? descriptor.close()
  }

  /// Takes the file for this process, until it ends or the sink goes away.
  ///
  /// - Returns: false when another process has it.
  func lock() throws(Errno) -> Bool {
    if flock(descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 { return true }
    let error = Errno(rawValue: errno)
    switch error {
    case .wouldBlock: return false
    // Some network file systems have no locks; a run there is not refused for it.
    case .notSupported, .noLocks, .invalidArgument: return true
    default: throw error
    }
  }

  /// Writes with one `write(2)`.
  public mutating func write(_ bytes: RawSpan) throws(Errno) -> Int {
    try bytes.withUnsafeBytes { bytes throws(Errno) in
      try Errno.typed { try descriptor.write(bytes) }
    }
  }

  /// Waits for `fsync(2)`. Pipes and devices, which cannot be synchronised, are let pass.
  public mutating func synchronize() throws(Errno) {
    guard fsync(descriptor.rawValue) != 0 else { return }
    let error = Errno(rawValue: errno)
    guard error == .invalidArgument || error == .notSupported else { throw error }
  }

  /// Cuts the file with `ftruncate(2)`.
  public mutating func truncate(to length: Int) throws(Errno) {
    try Errno.typed { try descriptor.resize(to: Int64(length)) }
  }
}
