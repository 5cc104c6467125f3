import SystemPackage
import TensorFiles

/// The host's file system with calls that fail: what a full disk, a vanished network or a limit does
/// at any moment.
final class FailingFileSystem: FileSystem {
  private let host = HostFileSystem()
  private let error: Errno
  private let fails: (Int) -> Bool
  private let mostBytes: Int
  /// The calls made, in order.
  private(set) var calls: [String] = []

  /// - Parameters:
  ///   - error: what failing calls fail with.
  ///   - mostBytes: that one call of `write` takes.
  ///   - fails: whether the call of this index does.
  init(with error: Errno = .ioError, mostBytes: Int = .max, _ fails: @escaping (Int) -> Bool) {
    self.error = error
    self.mostBytes = mostBytes
    self.fails = fails
  }

  private func count(_ call: String) throws(Errno) {
    calls.append(call)
    if fails(calls.count - 1) { throw error }
  }

  func open(
    _ path: FilePath, _ options: FileDescriptor.OpenOptions, _ permissions: FilePermissions
  ) throws(Errno) -> FileDescriptor {
    try count("open")
    return try host.open(path, options, permissions)
  }

  func copyAttributes(of status: Stat, to file: FileDescriptor) throws(Errno) {
    try count("copyAttributes")
    try host.copyAttributes(of: status, to: file)
  }

  func write(_ bytes: UnsafeRawBufferPointer, to file: FileDescriptor) throws(Errno) -> Int {
    try count("write")
    return try host.write(UnsafeRawBufferPointer(rebasing: bytes.prefix(mostBytes)), to: file)
  }

  func synchronize(_ file: FileDescriptor) throws(Errno) {
    try count("synchronize")
    try host.synchronize(file)
  }

  func synchronizeDirectory(_ path: FilePath) throws(Errno) {
    try count("synchronizeDirectory")
    try host.synchronizeDirectory(path)
  }

  /// The descriptor is gone even where closing fails, as on Linux.
  func close(_ file: FileDescriptor) throws(Errno) {
    try host.close(file)
    try count("close")
  }

  func addName(_ other: FilePath, to path: FilePath) throws(Errno) {
    try count("addName")
    try host.addName(other, to: path)
  }

  func move(_ path: FilePath, to other: FilePath) throws(Errno) {
    try count("move")
    try host.move(path, to: other)
  }

  func remove(_ path: FilePath) throws(Errno) {
    try count("remove")
    try host.remove(path)
  }

  func createDirectory(_ path: FilePath) throws(Errno) {
    try count("createDirectory")
    try host.createDirectory(path)
  }

  func removeDirectory(_ path: FilePath) throws(Errno) {
    try count("removeDirectory")
    try host.removeDirectory(path)
  }
}
